//! A tenant that minds its own business, and is asked how long that takes: a record at a time through a pipeline of its own, waiting for
//! what comes of each. Its records are numbered, and each must come once and in its turn.
//!
//! Must never: judge a time.

use crate::shared::Guests;
use anyhow::{Result, ensure};
use bulkhead_testbed::{Read, Tenant};
use std::time::{Duration, Instant};

/// How long one probe may take before the neighbour counts as held up.
const PROBE_MAX: Duration = Duration::from_secs(30);

/// See the file's documentation.
pub(crate) struct Neighbour {
    pub(crate) tenant: Tenant,
    /// The place in its output up to which it has read.
    from: i64,
    sent: usize,
}

impl Neighbour {
    /// Starts the pipeline `probe` of a tenant that has the guests.
    pub(crate) fn new(tenant: Tenant) -> Result<Self> {
        tenant.run_guest("probe", "passthrough", "")?;
        Ok(Self { tenant, from: 0, sent: 0 })
    }

    /// Sends a record and waits for what comes of it.
    pub(crate) fn probe(&mut self) -> Result<Duration> {
        let (at, value) = (Instant::now(), self.sent.to_string());
        self.tenant.put("probe", &[&value])?;
        self.sent += 1;
        while at.elapsed() < PROBE_MAX {
            let (records, next) = self.tenant.read("probe-out", 0, self.from, Duration::from_secs(5))?;
            self.from = next;
            if !records.is_empty() {
                let came: Vec<String> = records.iter().map(Read::text).collect();
                ensure!(came == [value.as_str()], "the neighbour sent {value}, and {came:?} came");
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

    /// Sees that all its records have come once and in order, that none became a dead letter, and that its pipeline has nothing to say.
    pub(crate) fn judge(&self) -> Result<()> {
        let all: Vec<String> = self.tenant.read_all("probe-out")?.iter().map(Read::text).collect();
        ensure!(all == (0..self.sent).map(|n| n.to_string()).collect::<Vec<_>>(), "the neighbour has {all:?}");
        ensure!(self.tenant.read_all("probe-dead")?.is_empty(), "the neighbour has dead letters");
        let status = self.tenant.status("probe")?;
        ensure!(status.phase.as_deref() == Some("running") && status.code.is_none(), "the neighbour: {status:?}");
        Ok(())
    }
}
