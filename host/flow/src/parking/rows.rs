//! The parked pipelines, by number and by topic, and which of them this worker looks after.
//!
//! A row whose slot this worker owns is woken by whatever moves. The others only stand by: where one of theirs moves, their positions are
//! asked for until all is done again, or this worker has to help. So are those of a row that this worker has just come to own, of which
//! it does not know how far it is.
//! Must never: hold a topic that no row names.

use super::slots::Owned;
use super::standby::{Behind, UNKNOWN_END, Verdict};
use crate::config::FlowConfig;
use crate::pipeline::{Ends, Pipeline};
use bulkhead_core::scope::PhysicalTopic;
use bulkhead_log::{GroupTopics, PositionsAt};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A pipeline that is parked.
pub(crate) struct Row {
    pub(crate) pipeline: Arc<Pipeline>,
    /// Each input with the ends up to which all is committed; with none where that is not known.
    pub(crate) ends: Ends,
    /// It has something to do without a record, so somebody has to run it.
    pub(crate) restless: bool,
}

struct Parked {
    row: Row,
    since: Instant,
    /// When its positions are to be committed again.
    keep_at: Option<Instant>,
    /// This worker looks after it.
    owned: bool,
    /// Where more is to be known than that something moved.
    behind: Option<Behind>,
}

/// See the module's documentation.
pub(super) struct Rows {
    owned: Owned,
    parked: HashMap<u64, Parked>,
    topics: HashMap<PhysicalTopic, Vec<u64>>,
    /// By when their positions are to be committed again.
    keep: BTreeSet<(Instant, u64)>,
    /// Those that are behind.
    behind: BTreeSet<u64>,
    /// Topics of which nothing was asked since a row came that names them.
    new: Vec<PhysicalTopic>,
    /// See [`Rows::take_turned`].
    turned: Vec<u64>,
    hasher: RandomState,
}

/// Whom to wake, and why.
pub(super) enum Wake {
    /// This worker looks after it.
    Own(Arc<Pipeline>),
    /// Its owner needs help.
    Help(Arc<Pipeline>),
}

/// What is known anew of a row.
pub(super) struct Turned {
    pub(super) pipeline: Arc<Pipeline>,
    /// This worker looks after it.
    pub(super) owned: bool,
    /// All of it was done at the last look.
    pub(super) done: bool,
    /// It is to run at once, records or not.
    pub(super) runs: bool,
}

impl Rows {
    pub(super) fn new(owned: Owned) -> Self {
        Self {
            owned,
            parked: HashMap::new(),
            topics: HashMap::new(),
            keep: BTreeSet::new(),
            behind: BTreeSet::new(),
            new: Vec::new(),
            turned: Vec::new(),
            hasher: RandomState::new(),
        }
    }

    /// Whether this worker looks after it.
    pub(super) fn add(&mut self, row: Row, keep_every: Duration) -> bool {
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
        let owned = self.owns(row.pipeline.slot);
        // Whoever stands by is told what is known by now of the slots, which may be news since it looked.
        if self.knows_slots() && row.ends.iter().any(|(_, ends)| ends.is_empty()) {
            self.turned.push(number);
        }
        self.parked.insert(number, Parked { row, since: now, keep_at, owned, behind: None });
        owned
    }

    pub(super) fn remove(&mut self, number: u64) {
        let Some(parked) = self.parked.remove(&number) else { return };
        if let Some(at) = parked.keep_at {
            self.keep.remove(&(at, number));
        }
        self.behind.remove(&number);
        for (topic, _) in &parked.row.ends {
            if let Some(watchers) = self.topics.get_mut(topic) {
                watchers.retain(|watcher| *watcher != number);
                if watchers.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
    }

    pub(super) fn knows_slots(&self) -> bool {
        self.owned != Owned::Unknown
    }

    pub(super) fn owns(&self, slot: i32) -> bool {
        self.owned.has(slot)
    }

    /// These are the worker's slots from now on. Whether they are others than before.
    pub(super) fn own(&mut self, owned: Owned) -> bool {
        if self.owned == owned {
            return false;
        }
        let before = std::mem::replace(&mut self.owned, owned);
        for (number, parked) in &mut self.parked {
            let owns = self.owned.has(parked.row.pipeline.slot);
            // Who has waited to know is told in any case.
            if std::mem::replace(&mut parked.owned, owns) != owns || before == Owned::Unknown {
                self.turned.push(*number);
            }
        }
        true
    }

    /// Takes those of which this worker knows another thing than before: whether it looks after them, or how far they are.
    pub(super) fn take_turned(&mut self) -> Vec<Turned> {
        let turned = std::mem::take(&mut self.turned);
        let found = turned.iter().filter_map(|number| self.parked.get(number));
        let turned = found.map(|parked| Turned {
            pipeline: parked.row.pipeline.clone(),
            owned: parked.owned,
            done: parked.is_known(),
            runs: parked.owned && parked.row.restless,
        });
        turned.collect()
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

    /// Takes note of where the input `topic` ends now. Gives the pipelines that are to wake for it, which are parked since before `until`.
    pub(super) fn moved(&mut self, topic: &PhysicalTopic, ends: &[i64], until: Instant) -> Vec<Arc<Pipeline>> {
        let mut wake = Vec::new();
        let now = Instant::now();
        for number in self.topics.get(topic).into_iter().flatten() {
            let Some(parked) = self.parked.get_mut(number) else { continue };
            let known = parked.is_known();
            if parked.since > until || (known && !parked.moves(topic, ends)) {
                continue;
            }
            if parked.owned && known {
                wake.push(parked.row.pipeline.clone());
                continue;
            }
            let behind = parked.behind.get_or_insert_with(|| Behind::new(parked.row.ends.clone(), now));
            behind.ends.iter_mut().filter(|(name, _)| name == topic).for_each(|(_, known)| *known = ends.into());
            self.behind.insert(*number);
        }
        wake
    }

    pub(super) fn is_any_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Those whose positions are to be asked for.
    pub(super) fn behind(&self) -> (Vec<u64>, Vec<GroupTopics>) {
        let asked = self.behind.iter().filter_map(|number| {
            let row = &self.parked.get(number)?.row;
            Some((*number, (row.pipeline.group(), row.ends.iter().map(|(topic, _)| topic.clone()).collect())))
        });
        asked.unzip()
    }

    /// What comes of its positions: whom to wake, or whose report is another now.
    pub(super) fn judge(&mut self, number: u64, told: Option<&PositionsAt>, config: &FlowConfig) -> Option<Wake> {
        let parked = self.parked.get_mut(&number)?;
        let behind = parked.behind.as_mut()?;
        match behind.judge(told, config, Instant::now()) {
            Verdict::Done => {
                let done = parked.behind.take()?;
                parked.row.ends = done.ends;
                self.behind.remove(&number);
                if parked.owned {
                    self.turned.push(number);
                }
                None
            }
            _ if parked.owned => Some(Wake::Own(parked.row.pipeline.clone())),
            Verdict::Join => Some(Wake::Help(parked.row.pipeline.clone())),
            Verdict::Wait => None,
        }
    }

    /// When the next is to commit its positions again.
    pub(super) fn keep_next(&self) -> Option<Instant> {
        self.keep.first().map(|(at, _)| *at)
    }

    /// Those that are to commit their positions again. Who stands by leaves that to the owner, and would be due again after as long.
    pub(super) fn keep_due(&mut self, now: Instant, keep_every: Duration) -> Vec<Arc<Pipeline>> {
        let due: Vec<_> = self.keep.iter().take_while(|(at, _)| *at <= now).copied().collect();
        let mut own = Vec::new();
        for (at, number) in due {
            let Some(parked) = self.parked.get_mut(&number) else { continue };
            if parked.owned {
                own.push(parked.row.pipeline.clone());
                continue;
            }
            let next = now + keep_every;
            parked.keep_at = Some(next);
            self.keep.remove(&(at, number));
            self.keep.insert((next, number));
        }
        own
    }

    pub(super) fn all(&self) -> Vec<Arc<Pipeline>> {
        self.parked.values().map(|parked| parked.row.pipeline.clone()).collect()
    }
}

impl Parked {
    /// Whether it is known up to where all is done.
    fn is_known(&self) -> bool {
        self.behind.is_none() && self.row.ends.iter().all(|(_, ends)| !ends.is_empty())
    }

    /// Whether this input ends elsewhere than where all was done.
    fn moves(&self, topic: &PhysicalTopic, ends: &[i64]) -> bool {
        let mut own = self.row.ends.iter().filter(|(name, _)| name == topic);
        own.any(|(_, committed)| differ(committed, ends))
    }
}

/// A partition that nobody leads says nothing.
fn differ(committed: &[i64], ends: &[i64]) -> bool {
    committed.len() != ends.len() || committed.iter().zip(ends).any(|(was, is)| is != was && *is != UNKNOWN_END)
}
