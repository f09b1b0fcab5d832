//! A lane's thread: one transaction after another.
//!
//! Batches are produced as they arrive, into a transaction that closes after the commit interval. However it ends, each
//! batch of it is then one of three things: committed; dropped, because its incarnation ended or its partition went; or produced
//! again from memory in the next transaction, in the same order, with no second guest run.
//! Must never: settle a batch as committed on anything but the log's word.

use super::busy::{IDLE, Rates};
use super::{Lane, LaneKind, LaneTools, Lanes};
use crate::config::{ABORTS_BEFORE_RECOVERY, GROUPS_PER_TRANSACTION, TRANSACTION_BYTES, backoff};
use crate::pipeline::state::{Finished, Incarnation, PipelineState};
use bulkhead_core::code::Code;
use bulkhead_log::{CommitOutcome, Fenced, GroupPositions, LogError, Source, Writer};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Fences in a row by a group that still owns its partitions, after which its membership starts afresh.
const FENCES_BEFORE_RESTART: u32 = 10;

/// See the module's documentation.
pub(super) struct LaneThread {
    lane: Arc<Lane>,
    lanes: Arc<Lanes>,
    tools: LaneTools,
    writer: Option<Box<dyn Writer>>,
    /// Batches to be produced, before those in the inbox.
    pending: VecDeque<Finished>,
    rates: Rates,
    /// Aborts in a row that named nobody.
    aborts: u32,
    /// Fences in a row by groups.
    fences: u32,
    /// In quarantine: clean commits of each pipeline.
    clean: HashMap<usize, u32>,
    idle_since: Instant,
}

/// A transaction under way.
#[derive(Default)]
struct Open {
    batches: Vec<Finished>,
    /// Pipelines in it; the index is the `owner` that the log is told.
    owners: Vec<Arc<PipelineState>>,
    bytes: u64,
}

impl LaneThread {
    pub(super) fn new(lane: Arc<Lane>, lanes: Arc<Lanes>, tools: LaneTools) -> Self {
        Self {
            lane,
            lanes,
            tools,
            writer: None,
            pending: VecDeque::new(),
            rates: Rates::default(),
            aborts: 0,
            fences: 0,
            clean: HashMap::new(),
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

    /// Settles everything as not committed: the worker is ending.
    fn abandon(&mut self) {
        let arrived = self.lane.take(Instant::now()).unwrap_or_default();
        for finished in self.pending.drain(..).chain(arrived) {
            finished.incarnation.end();
            finished.settle(false);
        }
    }

    fn drop_ended(&mut self) {
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
            return Some((Open::default(), CommitOutcome::Unknown(error)));
        }
        let mut open = Open::default();
        if let Err(outcome) = self.fill(writer, &mut open) {
            let outcome = match writer.abort() {
                Ok(()) => outcome,
                Err(error) => CommitOutcome::Unknown(error),
            };
            return Some((open, outcome));
        }
        if open.batches.is_empty() {
            return match writer.abort() {
                Ok(()) => None,
                Err(error) => Some((open, CommitOutcome::Unknown(error))),
            };
        }
        let positions = positions(&open.batches);
        let metrics = &self.tools.metrics;
        metrics.lane_bytes.with_label_values(&[self.lane.name.as_str()]).set(open.bytes as i64);
        let started = Instant::now();
        let groups: Vec<_> = positions.iter().map(|(_, positions)| positions.clone()).collect();
        let outcome = writer.commit(&groups, self.tools.config.commit_timeout);
        metrics.commit_seconds.with_label_values(&[self.lane.name.as_str()]).observe(started.elapsed().as_secs_f64());
        if let CommitOutcome::Fenced(Fenced::Groups(groups)) = &outcome {
            self.fenced(groups.iter().filter_map(|i| positions.get(*i)).map(|(incarnation, _)| incarnation));
        }
        Some((open, outcome))
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

    /// Decides about every batch of a transaction that has ended.
    fn ended(&mut self, open: Open, outcome: CommitOutcome) {
        let label = match &outcome {
            CommitOutcome::Committed => "committed",
            CommitOutcome::Fenced(_) => "fenced",
            CommitOutcome::Aborted { .. } => "aborted",
            CommitOutcome::Unknown(_) => "unknown",
        };
        self.tools.metrics.commits.with_label_values(&[self.lane.name.as_str(), label]).inc();
        if outcome != CommitOutcome::Committed {
            tracing::warn!(lane = self.lane.name, ?outcome, batches = open.batches.len(), "transaction did not commit");
        }
        match outcome {
            CommitOutcome::Committed => self.committed(open),
            CommitOutcome::Fenced(Fenced::Groups(_)) => {
                self.restore(open.batches);
                self.wait(self.fences);
            }
            CommitOutcome::Fenced(Fenced::Writer) => {
                let message = format!("another worker runs as `{}`; this one ends", self.tools.worker.slot());
                self.lanes.fatal.lock().get_or_insert(LogError::new(Code::Fenced, message));
                self.restore(open.batches);
            }
            CommitOutcome::Aborted { owner: Some(owner), error } => {
                let culprit = open.owners.get(owner as usize).cloned();
                self.restore(open.batches);
                match culprit {
                    Some(pipeline) => self.blame(&pipeline, error),
                    None => self.aborted(&open.owners, error),
                }
            }
            CommitOutcome::Aborted { owner: None, error } => {
                self.restore(open.batches);
                self.aborted(&open.owners, error);
            }
            CommitOutcome::Unknown(error) => self.unknown(open, error),
        }
    }

    fn committed(&mut self, open: Open) {
        (self.aborts, self.fences) = (0, 0);
        for finished in open.batches {
            let bytes = finished.cost.totals.bytes_in + finished.cost.totals.bytes_out;
            self.rates.count(&finished.incarnation.pipeline, bytes);
            finished.settle(true);
        }
        match self.lane.kind {
            LaneKind::Quarantine => {
                for pipeline in open.owners {
                    let clean = self.clean.entry(Arc::as_ptr(&pipeline) as usize).or_insert(0);
                    *clean += 1;
                    if *clean >= self.tools.config.clean_commits {
                        let shared = self.lanes.shared(&pipeline.key);
                        self.move_pipeline(&pipeline, &shared);
                        self.clean.remove(&(Arc::as_ptr(&pipeline) as usize));
                    }
                }
            }
            LaneKind::Shared => {
                if let Some(pipeline) = self.rates.busiest(self.tools.config.busy_bytes_per_s)
                    && let Some(own) = self.lanes.take_own(&pipeline)
                {
                    self.move_pipeline(&pipeline, &own);
                }
            }
            LaneKind::Own => {}
        }
    }

    /// Puts batches back, to be produced again before all others.
    fn restore(&mut self, batches: Vec<Finished>) {
        for finished in batches.into_iter().rev() {
            self.pending.push_front(finished);
        }
    }

    /// A pipeline's output was the reason for an abort.
    fn blame(&mut self, pipeline: &Arc<PipelineState>, error: LogError) {
        self.clean.remove(&(Arc::as_ptr(pipeline) as usize));
        for finished in self.pending.iter().filter(|f| Arc::ptr_eq(&f.incarnation.pipeline, pipeline)) {
            for target in
                finished.held.iter().flat_map(|held| &held.blocks).flat_map(|block| block.targets.iter().flatten())
            {
                self.tools.topics.forget(target);
            }
        }
        if self.lane.kind == LaneKind::Quarantine {
            self.fail(pipeline, &error);
        } else {
            let quarantine = self.lanes.quarantine.clone();
            self.move_pipeline(pipeline, &quarantine);
        }
    }

    /// Ends the pipeline's incarnation; what it had is read again after a pause.
    fn fail(&mut self, pipeline: &Arc<PipelineState>, error: &LogError) {
        for finished in self.pending.iter().filter(|f| Arc::ptr_eq(&f.incarnation.pipeline, pipeline)) {
            finished.incarnation.fail(error.clone());
        }
    }

    /// An abort that names nobody: the broker's trouble, or somebody's that it did not tell.
    fn aborted(&mut self, owners: &[Arc<PipelineState>], error: LogError) {
        self.aborts += 1;
        if self.aborts.is_multiple_of(ABORTS_BEFORE_RECOVERY) {
            self.recover();
            if self.lane.kind == LaneKind::Quarantine {
                owners.iter().for_each(|pipeline| self.fail(pipeline, &error));
            } else if owners.len() > 1 {
                // One to a transaction, the innocent are soon back.
                let quarantine = self.lanes.quarantine.clone();
                owners.iter().for_each(|pipeline| self.move_pipeline(pipeline, &quarantine));
            }
        }
        self.wait(self.aborts);
    }

    /// Some groups were overtaken. Batches whose partition went are dropped when their turn comes; a group that still owns
    /// everything had stale metadata, which passes.
    fn fenced<'a>(&mut self, incarnations: impl Iterator<Item = &'a Arc<Incarnation>>) {
        self.fences += 1;
        if self.fences >= FENCES_BEFORE_RESTART {
            self.fences = 0;
            for incarnation in incarnations {
                incarnation.fail(LogError::new(Code::Fenced, "the group refuses this member's commits"));
            }
        }
    }

    /// Nobody knows how the transaction ended: settle that first.
    fn unknown(&mut self, open: Open, error: LogError) {
        tracing::warn!(lane = self.lane.name, code = %error.code, message = error.message, "asking the log how a transaction ended");
        self.recover();
        if self.lanes.fatal().is_some() || open.batches.is_empty() {
            self.restore(open.batches);
            return;
        }
        let mut failures = 0;
        loop {
            match self.took_place(&open.batches) {
                Ok(true) => return self.committed(open),
                Ok(false) => return self.restore(open.batches),
                Err(error) if self.lane.is_closing() => {
                    tracing::error!(lane = self.lane.name, %error, "closing with a transaction whose end is unknown");
                    return open.batches.into_iter().for_each(|finished| finished.settle(false));
                }
                Err(_) => self.wait(failures),
            }
            failures += 1;
        }
    }

    /// Whether the committed positions are those of the transaction. It is one transaction, so any group's answer is all groups'.
    fn took_place(&self, batches: &[Finished]) -> Result<bool, LogError> {
        let Some(last) = batches.last() else { return Ok(true) };
        let incarnation = &last.incarnation;
        let committed = self.tools.log.committed(incarnation.member.group(), incarnation.member.topics())?;
        let position = committed.get(usize::from(last.source.topic)).and_then(|partitions| {
            let partition = usize::try_from(last.source.partition).ok()?;
            *partitions.get(partition)?
        });
        Ok(position.is_some_and(|position| position >= last.next))
    }

    /// Starts the producer afresh, however long that takes.
    fn recover(&mut self) {
        let mut failures = 0;
        loop {
            let recovered = match self.writer.as_mut() {
                Some(writer) => writer.recover(),
                None => self
                    .tools
                    .log
                    .writer(&self.tools.worker.lane(&self.lane.name))
                    .map(|writer| self.writer = Some(writer)),
            };
            match recovered {
                Ok(()) => return,
                Err(error) if error.code == Code::Fenced => {
                    self.lanes.fatal.lock().get_or_insert(error);
                    return;
                }
                Err(error) => {
                    tracing::warn!(lane = self.lane.name, %error, "producer does not start");
                    if self.lane.is_closing() {
                        return;
                    }
                }
            }
            self.wait(failures);
            failures += 1;
        }
    }

    fn wait(&self, failures: u32) {
        let longest = if self.lane.is_closing() { Duration::from_millis(100) } else { Duration::from_secs(2) };
        std::thread::sleep(backoff(Duration::from_millis(20), longest, failures));
    }

    /// Moves a pipeline with all its batches to another lane. Its route is locked meanwhile, so nothing overtakes.
    fn move_pipeline(&mut self, pipeline: &Arc<PipelineState>, to: &Arc<Lane>) {
        let mut route = pipeline.lane.lock();
        if !Arc::ptr_eq(&route, &self.lane) {
            return;
        }
        tracing::info!(tenant = %pipeline.key.tenant, pipeline = %pipeline.key.pipeline, from = self.lane.name, to = to.name, "lane changed");
        self.pending.extend(std::mem::take(&mut self.lane.inbox.lock().batches));
        let (moving, staying) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|finished| Arc::ptr_eq(&finished.incarnation.pipeline, pipeline));
        self.pending = staying;
        let moving: VecDeque<Finished> = moving;
        to.inbox.lock().batches.extend(moving);
        to.arrived.notify_one();
        *route = to.clone();
    }
}

/// The last position of each partition, by incarnation.
fn positions(batches: &[Finished]) -> Vec<(Arc<Incarnation>, GroupPositions)> {
    let mut groups: Vec<(Arc<Incarnation>, HashMap<Source, (u64, i64)>)> = Vec::new();
    for finished in batches {
        let at = groups.iter().position(|(incarnation, _)| Arc::ptr_eq(incarnation, &finished.incarnation));
        let at = at.unwrap_or_else(|| {
            groups.push((finished.incarnation.clone(), HashMap::new()));
            groups.len() - 1
        });
        groups[at].1.insert(finished.source, (finished.epoch, finished.next));
    }
    let group = |(incarnation, positions): (Arc<Incarnation>, HashMap<Source, (u64, i64)>)| {
        let positions = positions.into_iter().map(|(source, (epoch, next))| (source, epoch, next)).collect();
        let member = incarnation.member.clone();
        (incarnation, GroupPositions { member, positions })
    };
    groups.into_iter().map(group).collect()
}
