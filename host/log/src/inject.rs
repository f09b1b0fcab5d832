//! A log whose commits end as a test says, with the effect on the log beneath that such an end has.
//!
//! Must never: run outside of tests; nothing in the host makes one.

use crate::{
    Changes, CommitOutcome, Fenced, GroupPositions, GroupTopics, Held, Log, LogError, PositionsAt, Reader, ReaderSpec,
    TopicInfo, TopicSpec, Writer,
};
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::{GroupId, PhysicalTopic, TransactionalId};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How a commit is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// As it really does.
    Real,
    /// Aborted, with this one named.
    Aborted {
        /// The owner named, if any.
        owner: Option<u32>,
    },
    /// Aborted, because these groups lost what they wanted to commit.
    FencedGroups(Vec<usize>),
    /// Aborted, and the writer is good for nothing but [`Writer::recover`].
    FencedWriter,
    /// It took place, but the writer does not know.
    UnknownCommitted,
    /// It did not take place, and the writer does not know.
    UnknownAborted,
}

/// The fates of the commits to come, in order; then all are [`Fate::Real`]. Shared by all writers of one [`Injecting`].
#[derive(Debug, Clone, Default)]
pub struct Plan(Arc<Mutex<VecDeque<Fate>>>);

impl Plan {
    /// Adds a fate at the end.
    pub fn push(&self, fate: Fate) {
        self.0.lock().push_back(fate);
    }

    /// How many have not yet come true.
    pub fn left(&self) -> usize {
        self.0.lock().len()
    }

    fn next(&self) -> Fate {
        self.0.lock().pop_front().unwrap_or(Fate::Real)
    }
}

/// A log with injected faults.
pub struct Injecting {
    log: Arc<dyn Log>,
    plan: Plan,
}

impl Injecting {
    /// Gives the commits on `log`, by whichever writer, these fates in order.
    pub fn new(log: Arc<dyn Log>, fates: impl IntoIterator<Item = Fate>) -> Self {
        Self { log, plan: Plan(Arc::new(Mutex::new(fates.into_iter().collect()))) }
    }

    /// What is still to come, which may be added to at any time.
    pub fn plan(&self) -> Plan {
        self.plan.clone()
    }
}

struct InjectingWriter {
    writer: Box<dyn Writer>,
    plan: Plan,
    /// After an injected end that only [`Writer::recover`] helps.
    ended: Option<LogError>,
}

impl InjectingWriter {
    fn abort_beneath(&mut self, outcome: CommitOutcome) -> CommitOutcome {
        match self.writer.abort() {
            Ok(()) => outcome,
            Err(error) => CommitOutcome::Unknown(error),
        }
    }

    fn end(&mut self, code: Code) -> LogError {
        let error = injected(code);
        self.ended = Some(error.clone());
        error
    }

    fn check(&self) -> Result<(), LogError> {
        self.ended.clone().map_or(Ok(()), Err)
    }
}

fn injected(code: Code) -> LogError {
    LogError::new(code, "injected by a test")
}

impl Writer for InjectingWriter {
    fn begin(&mut self) -> Result<(), LogError> {
        self.check()?;
        self.writer.begin()
    }

    fn produce(&mut self, owner: u32, held: &Arc<Held>) -> Result<(), CommitOutcome> {
        self.check().map_err(CommitOutcome::Unknown)?;
        self.writer.produce(owner, held)
    }

    fn commit(&mut self, positions: &[GroupPositions], timeout: Duration) -> CommitOutcome {
        if let Err(error) = self.check() {
            return CommitOutcome::Unknown(error);
        }
        match self.plan.next() {
            Fate::Real => self.writer.commit(positions, timeout),
            Fate::Aborted { owner } => {
                self.abort_beneath(CommitOutcome::Aborted { owner, error: injected(Code::OutputRefused) })
            }
            Fate::FencedGroups(groups) => self.abort_beneath(CommitOutcome::Fenced(Fenced::Groups(groups))),
            Fate::FencedWriter => {
                self.end(Code::Fenced);
                self.abort_beneath(CommitOutcome::Fenced(Fenced::Writer))
            }
            Fate::UnknownCommitted => match self.writer.commit(positions, timeout) {
                CommitOutcome::Committed => CommitOutcome::Unknown(self.end(Code::CommitUnknown)),
                other => other,
            },
            Fate::UnknownAborted => {
                let error = self.end(Code::CommitUnknown);
                self.abort_beneath(CommitOutcome::Unknown(error))
            }
        }
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.check()?;
        self.writer.abort()
    }

    fn recover(&mut self) -> Result<(), LogError> {
        self.ended = None;
        self.writer.recover()
    }
}

impl Log for Injecting {
    fn create_topic(&self, topic: &PhysicalTopic, spec: &TopicSpec) -> Result<(), LogError> {
        self.log.create_topic(topic, spec)
    }

    fn delete_topic(&self, topic: &PhysicalTopic) -> Result<(), LogError> {
        self.log.delete_topic(topic)
    }

    fn delete_records(&self, topic: &PhysicalTopic, before: &[(i32, i64)]) -> Result<(), LogError> {
        self.log.delete_records(topic, before)
    }

    fn describe(&self, topic: &PhysicalTopic) -> Result<Option<TopicInfo>, LogError> {
        self.log.describe(topic)
    }

    fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        self.log.topics(prefix)
    }

    fn stored_bytes(&self, prefix: &str) -> Result<Option<u64>, LogError> {
        self.log.stored_bytes(prefix)
    }

    fn ends(&self, topics: &[PhysicalTopic]) -> Result<Vec<Vec<i64>>, LogError> {
        self.log.ends(topics)
    }

    fn tell(&self, topic: &PhysicalTopic, changes: &Arc<Changes>) -> bool {
        self.log.tell(topic, changes)
    }

    fn written(&self, topic: &PhysicalTopic, partition: i32) -> Result<i64, LogError> {
        self.log.written(topic, partition)
    }

    fn committed(&self, group: &GroupId, topics: &[PhysicalTopic]) -> Result<Vec<Vec<Option<i64>>>, LogError> {
        self.log.committed(group, topics)
    }

    fn positions(&self, groups: &[GroupTopics]) -> Result<Vec<Option<PositionsAt>>, LogError> {
        self.log.positions(groups)
    }

    fn delete_group(&self, group: &GroupId) -> Result<(), LogError> {
        self.log.delete_group(group)
    }

    fn groups(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        self.log.groups(prefix)
    }

    fn seals(&self) -> bool {
        self.log.seals()
    }

    fn scrub(&self) -> Result<&'static [&'static str], LogError> {
        self.log.scrub()
    }

    fn append(&self, topic: &PhysicalTopic, batch: &RecordBatch, outputs: &Outputs) -> Result<(), LogError> {
        self.log.append(topic, batch, outputs)
    }

    fn read(
        &self,
        topic: &PhysicalTopic,
        partition: i32,
        from: Start,
        limits: &BatchLimits,
        wait: Duration,
    ) -> Result<(RecordBatch, i64), LogError> {
        self.log.read(topic, partition, from, limits, wait)
    }

    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>, LogError> {
        self.log.reader(spec)
    }

    fn writer(&self, id: &TransactionalId) -> Result<Box<dyn Writer>, LogError> {
        let writer = self.log.writer(id)?;
        Ok(Box::new(InjectingWriter { writer, plan: self.plan.clone(), ended: None }))
    }
}
