//! The parked pipelines, by number and by topic.
//!
//! Must never: hold a topic that no row names.

use crate::pipeline::{Ends, Pipeline};
use bulkhead_core::scope::PhysicalTopic;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is said of the end of a partition that nobody leads at the moment.
const UNKNOWN_END: i64 = -1;

/// A pipeline that is parked.
pub(crate) struct Row {
    pub(crate) pipeline: Arc<Pipeline>,
    /// Each input with the ends up to which all is committed.
    pub(crate) ends: Ends,
}

struct Parked {
    row: Row,
    since: Instant,
    /// When its positions are to be committed again.
    keep_at: Option<Instant>,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Rows {
    parked: HashMap<u64, Parked>,
    topics: HashMap<PhysicalTopic, Vec<u64>>,
    /// By when their positions are to be committed again.
    keep: BTreeSet<(Instant, u64)>,
    /// Topics of which nothing was asked since a row came that names them.
    new: Vec<PhysicalTopic>,
    hasher: RandomState,
}

impl Rows {
    pub(super) fn add(&mut self, row: Row, keep_every: Duration) {
        let (number, now) = (row.pipeline.number, Instant::now());
        for (topic, _) in &row.ends {
            let watchers = self.topics.entry(topic.clone()).or_default();
            watchers.push(number);
            self.new.push(topic.clone());
        }
        // Spread over a tenth of the time, or those that parked together would all wake together.
        let early = keep_every / 10_000 * (self.hasher.hash_one(number) % 1_000) as u32;
        let keep_at = (!keep_every.is_zero()).then(|| now + (keep_every - early));
        self.keep.extend(keep_at.map(|at| (at, number)));
        self.parked.insert(number, Parked { row, since: now, keep_at });
    }

    pub(super) fn remove(&mut self, number: u64) {
        let Some(parked) = self.parked.remove(&number) else { return };
        if let Some(at) = parked.keep_at {
            self.keep.remove(&(at, number));
        }
        for (topic, _) in &parked.row.ends {
            if let Some(watchers) = self.topics.get_mut(topic) {
                watchers.retain(|watcher| *watcher != number);
                if watchers.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
    }

    /// Topics that rows have brought since the last call and that are still watched.
    pub(super) fn take_new(&mut self) -> Vec<PhysicalTopic> {
        let mut new = std::mem::take(&mut self.new);
        new.retain(|topic| self.topics.contains_key(topic));
        new
    }

    pub(super) fn is_watched(&self, topic: &PhysicalTopic) -> bool {
        self.topics.contains_key(topic)
    }

    pub(super) fn topics(&self) -> Vec<PhysicalTopic> {
        self.topics.keys().cloned().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// Pipelines whose input `topic` no longer ends as it did, and that are parked since before `until`.
    pub(super) fn moved(&self, topic: &PhysicalTopic, ends: &[i64], until: Instant) -> Vec<Arc<Pipeline>> {
        let watchers = self.topics.get(topic).into_iter().flatten().filter_map(|number| self.parked.get(number));
        let moved = watchers.filter(|parked| {
            let mut own = parked.row.ends.iter().filter(|(name, _)| name == topic);
            parked.since <= until && own.any(|(_, committed)| differ(committed, ends))
        });
        moved.map(|parked| parked.row.pipeline.clone()).collect()
    }

    /// When the next is to commit its positions again.
    pub(super) fn keep_next(&self) -> Option<Instant> {
        self.keep.first().map(|(at, _)| *at)
    }

    /// Those that are to commit their positions again.
    pub(super) fn keep_due(&self, now: Instant) -> Vec<Arc<Pipeline>> {
        let due = self.keep.iter().take_while(|(at, _)| *at <= now);
        due.filter_map(|(_, number)| Some(self.parked.get(number)?.row.pipeline.clone())).collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Pipeline>> {
        self.parked.values().map(|parked| parked.row.pipeline.clone()).collect()
    }
}

/// A partition that nobody leads says nothing.
fn differ(committed: &[i64], ends: &[i64]) -> bool {
    committed.len() != ends.len() || committed.iter().zip(ends).any(|(was, is)| is != was && *is != UNKNOWN_END)
}
