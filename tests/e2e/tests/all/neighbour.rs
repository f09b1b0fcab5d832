//! A tenant that minds its own business, and is asked how long that takes: a record at a time through a pipeline of its own, waiting for
//! what comes of each.
//!
//! Must never: judge a time.

use crate::shared::Guests;
use anyhow::Result;
use bulkhead_testbed::Tenant;
use std::time::{Duration, Instant};

/// How long one probe may take before the neighbour counts as held up.
const PROBE_MAX: Duration = Duration::from_secs(30);

/// See the file's documentation.
pub(crate) struct Neighbour {
    pub(crate) tenant: Tenant,
    /// The place in its output up to which it has read.
    from: i64,
}

impl Neighbour {
    /// Starts the pipeline `probe` of a tenant that has the guests.
    pub(crate) fn new(tenant: Tenant) -> Result<Self> {
        tenant.run_guest("probe", "passthrough", "")?;
        Ok(Self { tenant, from: 0 })
    }

    /// Sends a record and waits for what comes of it.
    pub(crate) fn probe(&mut self) -> Result<Duration> {
        let at = Instant::now();
        self.tenant.put("probe", &["a record"])?;
        while at.elapsed() < PROBE_MAX {
            let (records, next) = self.tenant.read("probe-out", 0, self.from, Duration::from_secs(5))?;
            self.from = next;
            if !records.is_empty() {
                return Ok(at.elapsed());
            }
        }
        anyhow::bail!("the neighbour's record did not come through in {PROBE_MAX:?}")
    }

    /// The median and the slowest hundredth of so many, in milliseconds.
    pub(crate) fn probes(&mut self, count: usize) -> Result<(u128, u128)> {
        let mut took = (0..count).map(|_| self.probe()).collect::<Result<Vec<_>>>()?;
        took.sort_unstable();
        let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)].as_millis();
        Ok((at(50), at(99)))
    }
}
