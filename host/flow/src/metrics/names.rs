//! Which pipelines have series of their own: those that are awake, first come, first served, and those that rest while there is room.
//!
//! Must never: let a pipeline that rests keep one that is awake from series of its own.

use super::{PIPELINES_MAX, PipelineMetrics};
use bulkhead_core::assignment::PipelineKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<PipelineKey>,
    /// Those of them that rest, who has rested for longest first.
    resting: BTreeMap<u64, Weak<PipelineMetrics>>,
    rests: u64,
}

/// What a pipeline that asks for a name gets.
pub(super) enum Name {
    /// It is the pipeline's, until [`Names::forget`].
    Own,
    /// There is none, unless this one still has the rest of that number and gives up its series.
    After(u64, Weak<PipelineMetrics>),
    /// There is none.
    Shared,
}

impl Names {
    /// A name for a pipeline that wakes without one.
    pub(super) fn take(&mut self, key: &PipelineKey) -> Name {
        if self.taken.contains(key) || (self.taken.len() < PIPELINES_MAX && self.taken.insert(key.clone())) {
            return Name::Own;
        }
        self.resting.pop_first().map_or(Name::Shared, |(rest, who)| Name::After(rest, who))
    }

    /// A pipeline with a name of its own rests. The number of this rest.
    pub(super) fn rest(&mut self, who: &Arc<PipelineMetrics>) -> u64 {
        self.rests += 1;
        self.resting.insert(self.rests, Arc::downgrade(who));
        self.rests
    }

    /// It rests no more.
    pub(super) fn wake(&mut self, rest: u64) {
        self.resting.remove(&rest);
    }

    /// Another may have the place of this name.
    pub(super) fn forget(&mut self, key: &PipelineKey) {
        self.taken.remove(key);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }
}
