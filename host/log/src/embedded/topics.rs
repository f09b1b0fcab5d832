//! Topics of the embedded log, as they are in memory: what readers and writers look at without asking the database.
//!
//! Must never: say that a partition goes further than what is durable.

use super::store::{Store, TopicRow};
use crate::wake::Wakers;
use crate::{Changes, LogError};
use bulkhead_core::code::Code;
use bulkhead_core::scope::PhysicalTopic;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) max_record_bytes: usize,
    pub(super) compacted: bool,
    pub(super) wakers: Wakers,
    /// Who asked to be told of the next change, and by which name.
    told: Mutex<Vec<(Weak<Changes>, PhysicalTopic)>>,
    ends: Vec<AtomicI64>,
    gone: AtomicBool,
}

impl Topic {
    pub(super) fn new(row: TopicRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            max_record_bytes: row.max_record_bytes,
            compacted: row.compacted,
            wakers: Wakers::default(),
            told: Mutex::default(),
            ends: row.ends.into_iter().map(AtomicI64::new).collect(),
            gone: AtomicBool::new(false),
        }
    }

    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.ends.len()).expect("made from an i32")
    }

    /// The offset after the last record.
    pub(super) fn end(&self, partition: i32) -> i64 {
        self.ends[partition as usize].load(Ordering::Acquire)
    }

    /// Shows readers what was made durable.
    pub(super) fn advance(&self, partition: i32, end: i64) {
        self.ends[partition as usize].store(end, Ordering::Release);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
        self.notify();
    }

    /// Tells whoever waits for a change.
    pub(super) fn notify(&self) {
        self.wakers.wake();
        for (changes, name) in std::mem::take(&mut *self.told.lock()) {
            if let Some(changes) = changes.upgrade() {
                changes.push(name);
            }
        }
    }

    /// The next change is told.
    pub(super) fn tell(&self, name: &PhysicalTopic, changes: &Arc<Changes>) {
        let mut told = self.told.lock();
        let same = |(other, _): &(Weak<Changes>, PhysicalTopic)| Weak::as_ptr(other) == Arc::as_ptr(changes);
        if !told.iter().any(same) {
            told.push((Arc::downgrade(changes), name.clone()));
        }
        drop(told);
        if self.is_gone() {
            self.notify();
        }
    }

    pub(super) fn ends(&self) -> Vec<i64> {
        (0..self.partitions()).map(|p| self.end(p)).collect()
    }
}

/// All topics by name.
#[derive(Debug)]
pub(super) struct Topics(RwLock<BTreeMap<String, Arc<Topic>>>);

impl Topics {
    pub(super) fn load(store: &Store) -> Result<Self, LogError> {
        let rows = store.topics()?.into_iter();
        Ok(Self(RwLock::new(rows.map(|row| (row.name.clone(), Arc::new(Topic::new(row)))).collect())))
    }

    pub(super) fn find(&self, name: &PhysicalTopic) -> Option<Arc<Topic>> {
        self.0.read().get(name.as_str()).cloned()
    }

    /// # Errors
    /// [`Code::TopicGone`].
    pub(super) fn get(&self, name: &PhysicalTopic) -> Result<Arc<Topic>, LogError> {
        self.find(name).ok_or_else(|| gone(name.as_str()))
    }

    pub(super) fn insert(&self, topic: Topic) {
        self.0.write().insert(topic.name.clone(), Arc::new(topic));
    }

    pub(super) fn remove(&self, name: &str) {
        if let Some(topic) = self.0.write().remove(name) {
            topic.set_gone();
        }
    }

    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let topics = self.0.read();
        topics
            .range(prefix.to_owned()..)
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(prefix))
            .cloned()
            .collect()
    }
}

/// The error of a topic that is not there.
pub(super) fn gone(name: &str) -> LogError {
    LogError::new(Code::TopicGone, format!("there is no topic {name}"))
}
