//! Which pipelines are busy enough for a lane of their own.
//!
//! Must never: move a pipeline that is alone on its lane, or more than one to an own lane.

use super::{Lane, LaneKind, Lanes};
use crate::pipeline::state::PipelineState;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long a rate is measured before it counts.
const WINDOW: Duration = Duration::from_secs(2);
/// How long an own lane stays its pipeline's without work.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// Bytes by pipeline within a window.
pub(super) struct Rates {
    since: Instant,
    /// By address, which the weak reference keeps from being used again. A pipeline that ends must not live on in here.
    bytes: HashMap<usize, (Weak<PipelineState>, u64)>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { since: Instant::now(), bytes: HashMap::new() }
    }
}

impl Rates {
    /// Counts a commit.
    pub(super) fn count(&mut self, pipeline: &Arc<PipelineState>, bytes: u64) {
        let entry = self.bytes.entry(Arc::as_ptr(pipeline) as usize);
        entry.or_insert_with(|| (Arc::downgrade(pipeline), 0)).1 += bytes;
    }

    /// At the end of a window, the busiest pipeline if it is busy and has company.
    pub(super) fn busiest(&mut self, bytes_per_s: u64) -> Option<Arc<PipelineState>> {
        let elapsed = self.since.elapsed();
        if elapsed < WINDOW {
            return None;
        }
        let window = std::mem::take(self).bytes;
        if window.len() < 2 {
            return None;
        }
        let (pipeline, bytes) = window.into_values().max_by_key(|(_, bytes)| *bytes)?;
        let busy = bytes as f64 / elapsed.as_secs_f64() > bytes_per_s as f64;
        if busy { pipeline.upgrade() } else { None }
    }
}

impl Lanes {
    /// An own lane for this pipeline, if there is a free one.
    pub(super) fn take_own(&self, pipeline: &Arc<PipelineState>) -> Option<Arc<Lane>> {
        self.own.iter().find_map(|lane| {
            let mut tenant = lane.tenant.lock();
            let free = tenant.upgrade().is_none();
            free.then(|| {
                *tenant = Arc::downgrade(pipeline);
                lane.clone()
            })
        })
    }

    /// The pipeline that an idle own lane gives back.
    pub(super) fn leave_own(lane: &Lane) -> Option<Arc<PipelineState>> {
        if lane.kind != LaneKind::Own {
            return None;
        }
        std::mem::take(&mut *lane.tenant.lock()).upgrade()
    }
}
