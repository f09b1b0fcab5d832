//! A group's member as cases use it: what it owns, what it has read, what it would commit.

use super::names::{PATIENCE, text};
use crate::{Event, GroupPositions, Log, LogError, Reader, ReaderSpec, Source};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(100);

pub(super) struct Member {
    pub(super) reader: Box<dyn Reader>,
    /// What it owns: epoch, and the position to commit.
    pub(super) owned: BTreeMap<Source, (u64, i64)>,
    /// Values read since they were last taken, in order.
    pub(super) read: BTreeMap<Source, Vec<String>>,
}

/// Partition `partition` of the first input.
pub(super) fn source(partition: i32) -> Source {
    Source { topic: 0, partition }
}

impl Member {
    pub(super) fn join(log: &dyn Log, spec: ReaderSpec) -> Self {
        Self { reader: log.reader(spec).expect("a reader"), owned: BTreeMap::new(), read: BTreeMap::new() }
    }

    /// Polls once. Revokes are left to the caller; everything else is noted down.
    pub(super) fn try_poll(&mut self, timeout: Duration) -> Result<Event, LogError> {
        let event = self.reader.poll(timeout)?;
        match &event {
            Event::Assigned(assigned) => {
                for a in assigned {
                    assert!(!self.owned.contains_key(&a.source), "{:?} was assigned twice", a.source);
                    self.owned.insert(a.source, (a.epoch, a.position));
                }
            }
            Event::Batch(fetched) => {
                let (epoch, position) =
                    self.owned.get_mut(&fetched.source).expect("only owned partitions give batches");
                assert_eq!(fetched.epoch, *epoch, "a batch carries its partition's epoch");
                assert_eq!(fetched.batch.topic, fetched.source.topic);
                assert_eq!(fetched.batch.partition, fetched.source.partition);
                assert!(fetched.batch.offsets.is_sorted_by(|a, b| a < b), "offsets rise");
                assert!(fetched.batch.offsets.first().is_none_or(|first| *first >= *position), "nothing is read twice");
                assert!(fetched.batch.offsets.last().is_none_or(|last| *last < fetched.next));
                *position = fetched.next;
                let values = self.read.entry(fetched.source).or_default();
                values
                    .extend((0..fetched.batch.len()).map(|row| text(fetched.batch.values.get(row).unwrap_or(b"null"))));
            }
            Event::Revoke { .. } | Event::Idle => {}
        }
        Ok(event)
    }

    pub(super) fn poll(&mut self) -> Event {
        self.try_poll(POLL).expect("poll")
    }

    /// Polls until `done`; a revoke is an error.
    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Member) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < until,
                "no {what} within {PATIENCE:?}; owns {:?}, read {:?}",
                self.owned,
                self.read
            );
            let event = self.poll();
            assert!(!matches!(event, Event::Revoke { .. }), "an unexpected {event:?}");
        }
    }

    /// Polls until it owns this many partitions.
    pub(super) fn owning(mut self, count: usize) -> Self {
        self.until("assignment", |member| member.owned.len() >= count);
        self
    }

    /// Polls until this many values were read in all.
    pub(super) fn read_values(&mut self, count: usize) {
        self.until("records", |member| member.count() >= count);
    }

    pub(super) fn count(&self) -> usize {
        self.read.values().map(Vec::len).sum()
    }

    /// Lets go of what a revoke named.
    pub(super) fn let_go(&mut self, sources: &[Source]) {
        self.owned.retain(|source, _| !sources.contains(source));
        self.reader.acknowledge(sources).expect("acknowledged");
    }

    /// Polls for a while; nothing may be read.
    pub(super) fn stays_silent(&mut self, watch: Duration) {
        let until = Instant::now() + watch;
        let before = self.count();
        while Instant::now() < until {
            self.poll();
        }
        assert_eq!(self.count(), before, "nothing was to be read: {:?}", self.read);
    }

    /// The positions to commit for all that was read.
    pub(super) fn positions(&self) -> GroupPositions {
        let positions = self.owned.iter().map(|(source, (epoch, position))| (*source, *epoch, *position)).collect();
        GroupPositions { member: self.reader.membership(), positions }
    }

    pub(super) fn close(self) {
        self.reader.close();
    }
}
