//! A lane's thread: one transaction after another.
//!
//! Batches are produced as they arrive, into a transaction that closes after the commit interval. What its end means is decided in
//! [`super::outcome`].
//! Must never: produce a batch before another of its pipeline that came earlier.

use super::busy::{IDLE, Rates};
use super::outcome::Patient;
use super::{Lane, LaneKind, LaneTools, Lanes};
use crate::config::{GROUPS_PER_TRANSACTION, TRANSACTION_BYTES};
use crate::pipeline::state::{Finished, Incarnation, PipelineState};
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::code::Code;
use bulkhead_log::{CommitOutcome, Fenced, GroupPositions, LogError, Source, TRANSACTION_TIMEOUT, Writer};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See the module's documentation.
pub(super) struct LaneThread {
    pub(super) lane: Arc<Lane>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) tools: LaneTools,
    pub(super) writer: Option<Box<dyn Writer>>,
    /// Batches to be produced, before those in the inbox.
    pub(super) pending: VecDeque<Finished>,
    pub(super) rates: Rates,
    /// Aborts in a row that named nobody.
    pub(super) aborts: u32,
    /// In quarantine: those who are there.
    pub(super) patients: HashMap<PipelineKey, Patient>,
    idle_since: Instant,
    /// Whether the log may have given up a transaction of this producer for its age, which looks like a fence.
    pub(super) overdue: bool,
}

/// A transaction under way.
#[derive(Default)]
pub(super) struct Open {
    pub(super) batches: Vec<Finished>,
    /// Pipelines in it; the index is the `owner` that the log is told.
    pub(super) owners: Vec<Arc<PipelineState>>,
    bytes: u64,
    /// When it began; `None` where it never did.
    began: Option<Instant>,
}

impl Open {
    /// Whether the log may have given it up for its age.
    pub(super) fn is_overdue(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= TRANSACTION_TIMEOUT)
    }
}

impl LaneThread {
    pub(super) fn new(lane: Arc<Lane>, lanes: Arc<Lanes>, tools: LaneTools) -> Self {
        Self {
            lane,
            lanes,
            tools,
            writer: None,
            pending: VecDeque::new(),
            overdue: false,
            rates: Rates::default(),
            aborts: 0,
            patients: HashMap::new(),
            idle_since: Instant::now(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            if self.pending.is_empty() {
                match self.lane.take(Instant::now() + Duration::from_secs(1)) {
                    None => return,
                    Some(batches) => self.pending = batches,
                }
            }
            self.drop_ended();
            if self.pending.is_empty() {
                self.idle();
                continue;
            }
            self.idle_since = Instant::now();
            let ended = match self.writer() {
                Ok(mut writer) => {
                    let ended = self.transaction(writer.as_mut());
                    self.writer = Some(writer);
                    ended
                }
                Err(error) => Some((Open::default(), CommitOutcome::Aborted { owner: None, error })),
            };
            if let Some((open, outcome)) = ended {
                self.ended(open, outcome);
            }
            if self.lanes.fatal().is_some() {
                self.abandon();
                return;
            }
            self.tools
                .metrics
                .lane_batches
                .with_label_values(&[self.lane.name.as_str()])
                .set(self.pending.len() as i64);
        }
    }

    fn idle(&mut self) {
        if self.idle_since.elapsed() > IDLE
            && let Some(pipeline) = Lanes::leave_own(&self.lane)
        {
            let shared = self.lanes.shared(&pipeline.key);
            self.move_pipeline(&pipeline, &shared);
        }
    }

    fn abandon(&mut self) {
        self.pending.drain(..).for_each(Finished::give_up);
        self.lane.abandon();
    }

    /// Settles what can no longer commit.
    pub(super) fn drop_ended(&mut self) {
        let all = std::mem::take(&mut self.pending);
        for finished in all {
            if finished.may_commit() {
                self.pending.push_back(finished);
            } else {
                finished.settle(false);
            }
        }
    }

    fn writer(&mut self) -> Result<Box<dyn Writer>, LogError> {
        match self.writer.take() {
            Some(writer) => Ok(writer),
            None => self.tools.log.writer(&self.tools.worker.lane(&self.lane.name)),
        }
    }

    /// One transaction. `None` where nothing was left to commit.
    fn transaction(&mut self, writer: &mut dyn Writer) -> Option<(Open, CommitOutcome)> {
        if let Err(error) = writer.begin() {
            // To recover would fence the successor in turn.
            let fenced = error.code == Code::Fenced;
            let outcome = if fenced { CommitOutcome::Fenced(Fenced::Writer) } else { CommitOutcome::Unknown(error) };
            return Some((Open::default(), outcome));
        }
        if self.lane.kind == LaneKind::Quarantine {
            self.gather();
        }
        let mut open = Open { began: Some(Instant::now()), ..Open::default() };
        if let Err(outcome) = self.fill(writer, &mut open) {
            // Nobody has tried to commit it, so it is not committed even where the abort fails; such a writer says so when it is to begin
            // the next.
            if let Err(error) = writer.abort() {
                tracing::warn!(lane = self.lane.name, %error, "the abort failed too");
            }
            return Some((open, outcome));
        }
        if open.batches.is_empty() {
            return match writer.abort() {
                Ok(()) => None,
                Err(error) => Some((open, CommitOutcome::Unknown(error))),
            };
        }
        let positions = positions(open.batches.iter());
        let metrics = &self.tools.metrics;
        metrics.lane_bytes.with_label_values(&[self.lane.name.as_str()]).set(open.bytes as i64);
        let started = Instant::now();
        let groups: Vec<_> = positions.iter().map(|(_, positions)| positions.clone()).collect();
        let outcome = writer.commit(&groups, self.tools.config.commit_timeout);
        let took = started.elapsed();
        metrics.commit_seconds.with_label_values(&[self.lane.name.as_str()]).observe(took.as_secs_f64());
        tracing::debug!(lane = self.lane.name, batches = open.batches.len(), bytes = open.bytes, ?took, "commit ended");
        Some((open, outcome))
    }

    /// Brings the front's pipeline together, since a transaction here holds one pipeline.
    fn gather(&mut self) {
        let Some(front) = self.pending.front().map(|finished| finished.incarnation.pipeline.clone()) else { return };
        let (mut mine, others): (VecDeque<_>, VecDeque<_>) =
            self.pending.drain(..).partition(|finished| Arc::ptr_eq(&finished.incarnation.pipeline, &front));
        mine.extend(others);
        self.pending = mine;
    }

    /// Produces batches until the commit interval is over.
    fn fill(&mut self, writer: &mut dyn Writer, open: &mut Open) -> Result<(), CommitOutcome> {
        let until = Instant::now() + self.tools.config.commit_interval;
        let owners_max = if self.lane.kind == LaneKind::Quarantine { 1 } else { GROUPS_PER_TRANSACTION };
        while open.bytes < TRANSACTION_BYTES {
            let Some(finished) = self.pending.pop_front() else {
                match self.lane.take(until) {
                    Some(arrived) if !arrived.is_empty() => self.pending = arrived,
                    _ => return Ok(()),
                }
                continue;
            };
            if !finished.may_commit() {
                finished.settle(false);
                continue;
            }
            let pipeline = &finished.incarnation.pipeline;
            let owner = match open.owners.iter().position(|owner| Arc::ptr_eq(owner, pipeline)) {
                Some(owner) => owner,
                None if open.owners.len() == owners_max => {
                    self.pending.push_front(finished);
                    return Ok(());
                }
                None => {
                    open.owners.push(pipeline.clone());
                    open.owners.len() - 1
                }
            };
            open.bytes += finished.cost.output_bytes;
            let produced = finished.held.iter().try_for_each(|held| writer.produce(owner as u32, held));
            open.batches.push(finished);
            produced?;
            if Instant::now() >= until {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Epoch and position of each partition.
type Positions = HashMap<Source, (u64, i64)>;

/// The last position of each partition, by incarnation.
pub(super) fn positions<'a>(batches: impl Iterator<Item = &'a Finished>) -> Vec<(Arc<Incarnation>, GroupPositions)> {
    let mut groups: Vec<(Arc<Incarnation>, Positions)> = Vec::new();
    for finished in batches {
        let at = groups.iter().position(|(incarnation, _)| Arc::ptr_eq(incarnation, &finished.incarnation));
        let at = at.unwrap_or_else(|| {
            groups.push((finished.incarnation.clone(), HashMap::new()));
            groups.len() - 1
        });
        groups[at].1.insert(finished.source, (finished.epoch, finished.next));
    }
    let group = |(incarnation, positions): (Arc<Incarnation>, Positions)| {
        let positions = positions.into_iter().map(|(source, (epoch, next))| (source, epoch, next)).collect();
        let member = incarnation.member.clone();
        (incarnation, GroupPositions { member, positions })
    };
    groups.into_iter().map(group).collect()
}
