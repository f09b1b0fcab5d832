//! A member of a consumer group of the embedded log.
//!
//! Must never: give a batch of a partition that it was told to let go of.

use super::assign::TopicPartition;
use super::fetch::Cursor;
use super::group::{Change, Group};
use super::store::set_position;
use super::topics::{Topic, gone};
use super::{Shared, start};
use crate::wake::Waker;
use crate::{Assigned, Event, Fetched, LogError, Membership, Reader, ReaderSpec, Source};
use bulkhead_core::code::Code;
use bulkhead_core::scope::{GroupId, PhysicalTopic};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a writer needs of a member.
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) group: Arc<Group>,
    name: GroupId,
    names: Vec<PhysicalTopic>,
    topics: Vec<Arc<Topic>>,
}

impl Member {
    pub(super) fn partition(&self, source: Source) -> Option<TopicPartition> {
        self.topics.get(usize::from(source.topic)).map(|topic| (topic.id, source.partition))
    }

    pub(super) fn is_gone(&self, source: Source) -> bool {
        self.topics.get(usize::from(source.topic)).is_none_or(|topic| topic.is_gone())
    }
}

impl Membership for Member {
    fn group(&self) -> &GroupId {
        &self.name
    }

    fn topics(&self) -> &[PhysicalTopic] {
        &self.names
    }

    fn owns(&self, source: Source, epoch: u64) -> bool {
        self.partition(source).is_some_and(|partition| self.group.hold().owns(self.id, partition, epoch))
    }

    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}

/// A group's reader.
pub(super) struct EmbeddedReader {
    shared: Arc<Shared>,
    spec: ReaderSpec,
    member: Arc<Member>,
    waker: Arc<Waker>,
    changes: VecDeque<Change>,
    owned: Vec<Owned>,
    /// Where the next look for a batch begins, so that each partition has its turn.
    turn: usize,
}

struct Owned {
    source: Source,
    epoch: u64,
    paused: bool,
    cursor: Cursor,
}

impl EmbeddedReader {
    pub(super) fn join(shared: Arc<Shared>, spec: ReaderSpec) -> Result<Self, LogError> {
        let topics = spec.inputs.iter().map(|input| shared.topics.get(&input.topic)).collect::<Result<Vec<_>, _>>()?;
        let waker = Arc::new(Waker::default());
        topics.iter().for_each(|topic| topic.wakers.add(&waker));
        let (group, id) = shared.groups.join(spec.group.as_str(), topics.clone(), &waker);
        let names = spec.inputs.iter().map(|input| input.topic.clone()).collect();
        let member = Arc::new(Member { id, group, name: spec.group.clone(), names, topics });
        Ok(Self { shared, spec, member, waker, changes: VecDeque::new(), owned: Vec::new(), turn: 0 })
    }

    fn source(&self, (id, partition): TopicPartition) -> Source {
        let topic = self.member.topics.iter().position(|topic| topic.id == id).expect("only wished topics are granted");
        Source { topic: u16::try_from(topic).expect("few inputs"), partition }
    }

    /// What changed in the group. A change that fails stays, so that the next poll tries it again.
    fn changed(&mut self) -> Result<Option<Event>, LogError> {
        self.changes.extend(self.member.group.take_changes(self.member.id));
        let mut granted = Vec::new();
        let mut revoked = Vec::new();
        while let Some(change) = self.changes.front().copied() {
            match change {
                Change::Granted(partition, epoch) if revoked.is_empty() => {
                    let source = self.source(partition);
                    match self.grant(source, epoch) {
                        Ok(assigned) => granted.push(assigned),
                        Err(error) if granted.is_empty() => return Err(error),
                        Err(_) => break,
                    }
                }
                Change::Revoked(partition) if granted.is_empty() => revoked.push(self.source(partition)),
                _ => break,
            }
            self.changes.pop_front();
        }
        self.owned.retain(|owned| !revoked.contains(&owned.source));
        Ok(match (granted.is_empty(), revoked.is_empty()) {
            (false, _) => Some(Event::Assigned(granted)),
            (_, false) => Some(Event::Revoke { sources: revoked, lost: false }),
            _ => None,
        })
    }

    fn grant(&mut self, source: Source, epoch: u64) -> Result<Assigned, LogError> {
        let position = self.initial_position(source)?;
        self.owned.push(Owned { source, epoch, paused: false, cursor: Cursor::at(position) });
        Ok(Assigned { source, epoch, position })
    }

    fn initial_position(&self, source: Source) -> Result<i64, LogError> {
        let input = &self.spec.inputs[usize::from(source.topic)];
        let topic = &self.member.topics[usize::from(source.topic)];
        let group = self.spec.group.as_str();
        let lost = |what: String| {
            let place = format!("partition {} of topic {} for group {group}", source.partition, topic.name);
            Err(LogError::new(Code::OffsetLost, format!("{place}: {what}")))
        };
        match self.shared.store.position(group, topic.id, source.partition)? {
            Some(position) => {
                let end = topic.end(source.partition);
                let first = self.shared.store.oldest(topic.id, source.partition)?.unwrap_or(end);
                if position < first || position > end {
                    return lost(format!("position {position} is outside of what is kept, {first} to {end}"));
                }
                Ok(position)
            }
            None if input.initialised.contains(&source.partition) => lost("its committed position is gone".to_owned()),
            None => {
                let position = start::resolve(&self.shared, topic, source.partition, input.start)?;
                let mut write = self.shared.store.writing();
                write.transaction(|tx| set_position(tx, group, topic.id, source.partition, position))?;
                Ok(position)
            }
        }
    }

    /// A batch that is ready, or else when the first may be.
    fn ready(&mut self) -> Result<(Option<Event>, Option<Instant>), LogError> {
        let linger = Duration::from_millis(self.spec.batch.linger_ms);
        let mut soonest = None;
        let mut held: usize = self.owned.iter().map(|owned| owned.cursor.bytes()).sum();
        for step in 0..self.owned.len() {
            let i = (self.turn + step) % self.owned.len();
            let owned = &mut self.owned[i];
            if owned.paused {
                continue;
            }
            let topic = &self.member.topics[usize::from(owned.source.topic)];
            let crowded = held as u64 >= self.spec.queue_bytes;
            let before = owned.cursor.bytes();
            owned.cursor.fill(&self.shared, topic, owned.source.partition, &self.spec.batch, !crowded)?;
            held += owned.cursor.bytes().saturating_sub(before);
            let Some(since) = owned.cursor.since else { continue };
            if owned.cursor.full || crowded || since.elapsed() >= linger {
                self.turn = i + 1;
                return Ok((Some(Event::Batch(owned.give())), None));
            }
            soonest = Some(soonest.map_or(since + linger, |at: Instant| at.min(since + linger)));
        }
        Ok((None, soonest))
    }

    fn each(&mut self, sources: &[Source], act: impl Fn(&mut Owned)) {
        self.owned.iter_mut().filter(|owned| sources.contains(&owned.source)).for_each(act);
    }
}

impl Owned {
    fn give(&mut self) -> Fetched {
        let (mut batch, next) = self.cursor.take();
        batch.topic = self.source.topic;
        batch.partition = self.source.partition;
        Fetched { source: self.source, epoch: self.epoch, batch, next }
    }
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, timeout: Duration) -> Result<Event, LogError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(topic) = self.member.topics.iter().find(|topic| topic.is_gone()) {
                return Err(gone(&topic.name));
            }
            if let Some(event) = self.changed()? {
                return Ok(event);
            }
            let (event, soonest) = self.ready()?;
            if let Some(event) = event {
                return Ok(event);
            }
            if Instant::now() >= deadline {
                return Ok(Event::Idle);
            }
            self.waker.wait_until(soonest.map_or(deadline, |at| at.min(deadline)));
        }
    }

    fn acknowledge(&mut self, revoked: &[Source]) -> Result<(), LogError> {
        let member = &self.member;
        member.group.acknowledge(member.id, revoked.iter().filter_map(|source| member.partition(*source)));
        Ok(())
    }

    fn pause(&mut self, sources: &[Source]) -> Result<(), LogError> {
        self.each(sources, |owned| {
            owned.paused = true;
            // What it holds must not count against the others.
            owned.cursor.rewind();
        });
        Ok(())
    }

    fn resume(&mut self, sources: &[Source]) -> Result<(), LogError> {
        self.each(sources, |owned| owned.paused = false);
        Ok(())
    }

    fn seek(&mut self, source: Source, offset: i64) -> Result<(), LogError> {
        self.each(&[source], |owned| owned.cursor = Cursor::at(offset));
        Ok(())
    }

    fn membership(&self) -> Arc<dyn Membership> {
        Arc::clone(&self.member) as Arc<dyn Membership>
    }

    fn close(self: Box<Self>) {}
}

impl Drop for EmbeddedReader {
    fn drop(&mut self) {
        self.shared.groups.leave(&self.member.group, self.member.id);
    }
}
