//! One stage, one batch: calls the guest, and finds and sets aside the records that it cannot handle.
//!
//! When a call fails, all its outputs are lost with it. The row that the guest had marked is run alone, on a fresh instance with
//! seeded randomness and a virtual clock: failing there is the verdict, and that run the evidence. The rows before it and the rows
//! after it are run again without it, so that each row runs at most twice whatever the number of bad ones. A guest that never marks
//! is bisected. A row that passes alone may suffer from those before it, so it is made the first of a batch of its own; failing there
//! too, it is tried again a bounded number of times, then called state-dependent. A batch that only took too long is halved, because the
//! deadline is the batch's.
//!
//! A stage's state is lent to each call. What a call wrote is kept where the call ended well, for the calls after it on the same batch; a failed
//! one leaves no trace, and neither does a row run alone, which sees the state as it stood before the part that failed.
//! Must never: dead-letter a row for a host fault, or return the outputs of a row that it reports dead.

use crate::config::{self, INSTANCE_IDLE};
use crate::pipeline::state::{PipelineState, StageCount};
use crate::state::stage::StageState;
use crate::tenant::{Full, Idle, Place, Placed, Rate};
use crate::work::Spent;
use bulkhead_core::columns::{Action, Outcome, Outputs, RecordBatch};
use bulkhead_core::fault::{Fault, GuestFault, GuestFaultKind};
use bulkhead_core::limits::StageLimits;
use bulkhead_core::manifest::StageSpec;
use bulkhead_core::name::{ModuleDigest, StageName};
use bulkhead_engine::{Confirmed, Failure, Instance, Mode, Processed, Stage, Ticked};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Rows that the stage refused of which one call finds the fuel.
const REJECTED_WEIGHED_MAX: usize = 8;

/// A stage that is ready to run, with the instances that are warm.
pub(crate) struct RunningStage {
    pub(crate) name: StageName,
    pub(crate) digest: ModuleDigest,
    pub(crate) stage: Stage,
    pub(crate) limits: StageLimits,
    /// What it has done for batches that have committed, for reports.
    pub(crate) count: StageCount,
    pub(crate) recycle_bytes: usize,
    reaches_buckets: bool,
    /// Instances that wait for their next batch.
    idle: Arc<Idle>,
    /// Whose it is, where there are limits to how many instances there may be.
    pipeline: Option<Arc<PipelineState>>,
}

/// A row that the stage could not handle.
#[derive(Debug, Clone)]
pub(crate) struct DeadRow {
    /// Row of the batch given to [`RunningStage::call`].
    pub(crate) row: u32,
    /// Why.
    pub(crate) fault: GuestFault,
    /// Fuel of the run that is the evidence; `None` where there was none.
    pub(crate) fuel: Option<u64>,
}

/// A part of the batch that ran in one call.
pub(crate) struct Piece {
    /// What the guest was given.
    pub(crate) batch: Arc<RecordBatch>,
    /// Row of the whole batch for each row of `batch`; `None` where they are the same.
    pub(crate) rows: Option<Vec<u32>>,
    /// What it made of it, without rows that are dead.
    pub(crate) outputs: Outputs,
}

impl Piece {
    /// The row of the whole batch.
    pub(crate) fn row(&self, i: u32) -> u32 {
        self.rows.as_ref().map_or(i, |rows| rows[i as usize])
    }
}

/// What came of a batch.
#[derive(Default)]
pub(crate) struct Called {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) dead: Vec<DeadRow>,
    /// First row that the stage wants to try again, and why.
    pub(crate) retry: Option<(u32, String)>,
}

/// A stage's store, where it has one.
type State<'a> = Option<&'a Arc<StageState>>;

/// Rows still to run.
struct Todo {
    batch: Arc<RecordBatch>,
    rows: Option<Vec<u32>>,
}

impl Todo {
    fn row(&self, i: usize) -> u32 {
        self.rows.as_ref().map_or(i as u32, |rows| rows[i])
    }

    /// Two parts, the second beginning with row `at`.
    fn split(&self, at: usize) -> Vec<Todo> {
        vec![self.part(0..at), self.part(at..self.batch.len())]
    }

    fn part(&self, range: std::ops::Range<usize>) -> Todo {
        let rows = range.clone().map(|i| self.row(i)).collect();
        Todo { batch: Arc::new(self.batch.select(range)), rows: Some(rows) }
    }
}

impl RunningStage {
    /// A stage of the manifest, with no instance yet.
    pub(crate) fn new(spec: &StageSpec, stage: Stage, recycle_bytes: usize, count: StageCount) -> Self {
        let (name, digest, limits) = (spec.name.clone(), spec.module, spec.limits);
        let reaches_buckets = !spec.buckets.is_empty();
        Self {
            name,
            digest,
            stage,
            limits,
            recycle_bytes,
            reaches_buckets,
            count,
            idle: Arc::default(),
            pipeline: None,
        }
    }

    /// The same among a tenant's other stages, with which it shares the room for instances.
    pub(crate) fn of(self, pipeline: &Arc<PipelineState>) -> Self {
        pipeline.tenant.room.join(&self.idle);
        Self { pipeline: Some(pipeline.clone()), ..self }
    }

    /// Runs a batch. Fuel of all runs is added to `spent`, whatever comes of them.
    ///
    /// # Errors
    /// Where no row is to blame: a host fault, or a stage that does not start.
    pub(crate) async fn call(
        &self,
        batch: Arc<RecordBatch>,
        state: State<'_>,
        spent: &mut Spent,
    ) -> Result<Called, Fault> {
        let mut called = Called::default();
        let mut attempts: HashMap<u32, u32> = HashMap::new();
        let mut todo = VecDeque::from([Todo { batch, rows: None }]);
        while let Some(next) = todo.pop_front() {
            match self.run_once(&next.batch, state, spent).await {
                Ok(outcome) => {
                    let weighed = self.weigh_rejected(&next, &outcome, state, spent).await;
                    if called.accept(next, outcome, &weighed) {
                        // The rest is run again after the back-off, so there is no use for it now.
                        break;
                    }
                }
                Err(failure) => {
                    let fault = guest(failure.fault)?;
                    let failed = (next, failure.record, fault);
                    let parts = self.isolate((&mut called, spent), &mut attempts, failed, state).await?;
                    parts.into_iter().rev().for_each(|part| todo.push_front(part));
                }
            }
        }
        Ok(called)
    }

    /// Decides about a batch whose call failed, and says what is to run instead, in order.
    async fn isolate(
        &self,
        (called, spent): (&mut Called, &mut Spent),
        attempts: &mut HashMap<u32, u32>,
        (failed, marked, fault): (Todo, Option<u32>, GuestFault),
        state: State<'_>,
    ) -> Result<Vec<Todo>, Fault> {
        let length = failed.batch.len();
        let suspect = match marked {
            Some(row) if (row as usize) < length => row as usize,
            _ if length == 1 => 0,
            _ => return Ok(failed.split(length / 2)),
        };
        let row = failed.row(suspect);
        let alone = failed.batch.select([suspect]);
        let verdict = match self.confirm(&alone, state, spent).await {
            Err(confirmed) => Some(DeadRow { row, fuel: Some(confirmed.fuel), fault: guest(confirmed.fault)? }),
            Ok(_) if fault.kind == GuestFaultKind::Deadline && length > 1 => return Ok(failed.split(length / 2)),
            Ok(_) if suspect > 0 => return Ok(failed.split(suspect)),
            Ok(passed) => {
                let tries = attempts.entry(row).or_insert(0);
                *tries += 1;
                let message = format!("passes alone, failed in its batch: {fault}");
                let state_dependent =
                    || GuestFault { kind: GuestFaultKind::StateDependent, message, backtrace: fault.backtrace.clone() };
                (*tries > self.limits.retries).then(|| DeadRow {
                    row,
                    fuel: Some(passed.fuel),
                    fault: state_dependent(),
                })
            }
        };
        let Some(dead) = verdict else { return Ok(vec![failed]) };
        called.dead.push(dead);
        Ok([0..suspect, suspect + 1..length]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| failed.part(part))
            .collect())
    }

    /// Lets go of instances that had nothing to do for a while, and says how many bytes the others hold. All guests of a worker share
    /// one pool of places: a pipeline at rest must not keep one from others.
    pub(crate) fn trim(&self) -> usize {
        self.idle.trim(INSTANCE_IDLE)
    }

    /// Runs one record alone, reproducibly but for the state, which it sees as it stands and leaves as it is.
    pub(crate) async fn confirm(
        &self,
        alone: &RecordBatch,
        state: State<'_>,
        spent: &mut Spent,
    ) -> Result<Processed, Failure> {
        if let Some(state) = state {
            state.discard_call();
        }
        let _place = self.place().await;
        let Confirmed { init_fuel, run } = self.stage.confirm(alone, state.map(|state| state.clone() as _)).await;
        if let Some(state) = state {
            state.discard_call();
        }
        let fuel = init_fuel + run.as_ref().map_or_else(|failure| failure.fuel, |done| done.fuel);
        told("confirm", alone, fuel);
        spent.wasted.confirm += fuel;
        run
    }

    /// Finds the fuel of rows that the stage refused by itself, by running them alone: evidence for whoever looks into one. Only the
    /// first few of a batch, since a stage may refuse every row; one that it then does not refuse has none. Nor has one of a stage with
    /// state, which is no longer what that row saw, or with buckets, to which it would write again.
    async fn weigh_rejected(
        &self,
        ran: &Todo,
        outcome: &Outcome,
        state: State<'_>,
        spent: &mut Spent,
    ) -> HashMap<u32, u64> {
        let mut fuel = HashMap::new();
        if state.is_some() || self.reaches_buckets {
            return fuel;
        }
        let rejected = outcome.exceptions.iter().filter(|exception| exception.action == Action::DeadLetter);
        for exception in rejected.take(REJECTED_WEIGHED_MAX) {
            let alone = ran.batch.select([exception.index as usize]);
            if let Ok(passed) = self.confirm(&alone, None, spent).await
                && passed.outcome.exceptions.iter().any(|again| again.action == Action::DeadLetter)
            {
                fuel.insert(exception.index, passed.fuel);
            }
        }
        fuel
    }

    async fn run_once(
        &self,
        batch: &Arc<RecordBatch>,
        state: State<'_>,
        spent: &mut Spent,
    ) -> Result<Outcome, Failure> {
        let mut placed = self.warm(spent).await?;
        let processed = self.process(&mut placed.instance, batch, state, spent).await?;
        self.give_back(placed, state);
        Ok(processed.outcome)
    }

    /// Tells the stage the time, for one partition of its input `topic`; what it writes to its state is kept where that ends well.
    pub(crate) async fn tick(
        &self,
        (topic, partition, now): (u16, i32, i64),
        state: State<'_>,
        spent: &mut Spent,
    ) -> Result<Outputs, Failure> {
        let mut placed = self.warm(spent).await?;
        lend(&mut placed.instance, state);
        let ticked = placed.instance.tick_in_time(topic, partition, now).await;
        spent.count(ticked.as_ref().map(|done| done.fuel));
        let Ticked { outputs, .. } = ticked?;
        self.give_back(placed, state);
        Ok(outputs)
    }

    /// An instance that waits for work, or else a new one.
    async fn warm(&self, spent: &mut Spent) -> Result<Placed, Failure> {
        match self.idle.pop() {
            Some(placed) => Ok(placed),
            None => self.start(Mode::Live, spent).await,
        }
    }

    /// Room for an instance, once there is.
    async fn place(&self) -> Option<Place> {
        let pipeline = self.pipeline.as_ref()?;
        let waited = |full, waited| {
            let rate = match full {
                Full::Instances => Rate::Instances,
                Full::Memory => Rate::GuestMemory,
            };
            pipeline.waited(rate, waited);
        };
        Some(pipeline.tenant.room.enter(self.limits.memory_bytes, waited).await)
    }

    /// After a call that ended well.
    fn give_back(&self, placed: Placed, state: State<'_>) {
        if let Some(state) = state {
            state.keep_call();
        }
        if placed.instance.memory_bytes() <= self.recycle_bytes {
            self.idle.push(placed);
        }
    }

    /// A new instance.
    async fn start(&self, mode: Mode, spent: &mut Spent) -> Result<Placed, Failure> {
        let place = self.place().await;
        let started = self.stage.start_in_time(mode).await;
        spent.wasted.start += started.as_ref().map_or_else(|failure| failure.fuel, Instance::init_fuel);
        Ok(Placed { instance: started?, _place: place })
    }

    async fn process(
        &self,
        instance: &mut Instance,
        batch: &Arc<RecordBatch>,
        state: State<'_>,
        spent: &mut Spent,
    ) -> Result<Processed, Failure> {
        lend(instance, state);
        let processed = instance.process_in_time(batch).await;
        let fuel = processed.as_ref().map_or_else(|failure| failure.fuel, |done| done.fuel);
        told(if processed.is_ok() { "ended" } else { "failed" }, batch, fuel);
        spent.count(processed.as_ref().map(|done| done.fuel));
        processed
    }
}

impl Spent {
    /// Counts a call by how it ended.
    fn count(&mut self, call: Result<u64, &Failure>) {
        match call {
            Ok(fuel) => self.used += fuel,
            Err(failure) => self.wasted.failed += failure.fuel,
        }
    }
}

/// For who wants to compare what is billed with what the engine counted.
fn told(kind: &str, batch: &RecordBatch, fuel: u64) {
    let (partition, first, last) = (batch.partition, batch.offsets.first(), batch.offsets.last());
    tracing::trace!(kind, partition, first, last, fuel, "called");
}

/// Gives the guest its keys and values for the next call, of which earlier calls that failed left no trace.
fn lend(instance: &mut Instance, state: State<'_>) {
    if let Some(state) = state {
        state.discard_call();
        instance.with_state(state.clone());
    }
}

/// A guest's fault, or the host's as an error. A stage that does not start has no row to blame, so it is no row's fault either.
fn guest(fault: Fault) -> Result<GuestFault, Fault> {
    match fault {
        Fault::Guest(fault) if fault.kind == GuestFaultKind::Init => Err(Fault::Guest(fault)),
        Fault::Guest(fault) => Ok(fault),
        Fault::Host(fault) => Err(Fault::Host(fault)),
    }
}

impl Called {
    /// Takes over an outcome. Returns whether a row asked to be tried again, which ends the batch there.
    fn accept(&mut self, ran: Todo, outcome: Outcome, weighed: &HashMap<u32, u64>) -> bool {
        let mut outputs = outcome.outputs;
        let mut spoilt = Vec::new();
        let mut retry: Option<(u32, String)> = None;
        for exception in outcome.exceptions {
            spoilt.push(exception.index);
            match exception.action {
                Action::Retry if retry.as_ref().is_none_or(|(row, _)| exception.index < *row) => {
                    retry = Some((exception.index, exception.reason));
                }
                Action::Retry => {}
                Action::DeadLetter => self.dead.push(DeadRow {
                    row: ran.row(exception.index as usize),
                    fault: GuestFault::new(GuestFaultKind::Rejected, exception.reason),
                    fuel: weighed.get(&exception.index).copied(),
                }),
            }
        }
        let until = retry.as_ref().map_or(u32::MAX, |(row, _)| *row);
        if !spoilt.is_empty() {
            spoilt.sort_unstable();
            outputs.retain(|source| source < until && spoilt.binary_search(&source).is_err());
        }
        if let Some((row, reason)) = retry {
            let row = ran.row(row as usize);
            self.dead.retain(|dead| dead.row < row);
            self.retry = Some((row, reason));
        }
        self.pieces.push(Piece { batch: ran.batch, rows: ran.rows, outputs });
        self.retry.is_some()
    }
}

/// A retry that came too often is a rejection.
pub(crate) fn rejected(reason: &str, retries: u32) -> GuestFault {
    GuestFault::new(GuestFaultKind::Rejected, format!("asked for a retry more than {retries} times: {reason}"))
}

/// The pause before a stage's retry number `attempt`.
pub(crate) fn retry_pause(attempt: u32) -> Duration {
    config::backoff(Duration::from_millis(100), Duration::from_secs(5), attempt)
}
