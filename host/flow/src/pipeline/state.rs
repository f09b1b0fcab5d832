//! What is known of a running pipeline, shared by its source thread, its partitions, the lanes and whoever asks.
//!
//! [`PipelineState`] lasts as long as the pipeline is assigned. An [`Incarnation`] is one membership in its consumer group: it ends at a
//! failure, a pause or a new revision, and everything that was not committed ends with it.
//! Must never: let a batch of an ended incarnation commit: a later batch would then commit over a gap.

use crate::lane::Lane;
use crate::metrics::PipelineMetrics;
use crate::tenant::{Rate, TOLD_EVERY, Tenant, Waits};
use crate::usage::Owed;
use crate::uses::{Use, Uses};
use bulkhead_core::assignment::{Phase, PipelineKey, PipelineReport, StageTotals, Totals};
use bulkhead_core::code::Code;
use bulkhead_core::name::{StageName, TopicName};
use bulkhead_core::usage::StageUsage;
use bulkhead_log::{Held, LogError, Membership, Source};
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// See the module's documentation.
pub(crate) struct PipelineState {
    pub(crate) key: PipelineKey,
    /// [`bulkhead_core::assignment::PipelineAssignment::incarnation`].
    pub(crate) incarnation: String,
    pub(crate) metrics: Arc<PipelineMetrics>,
    /// What its tenant may use here, with all its other pipelines.
    pub(crate) tenant: Arc<Tenant>,
    /// For what it waited of late.
    waits: Waits,
    /// The lane that its batches go to. Sending is done under this lock, so that a move keeps their order.
    pub(crate) lane: Mutex<Arc<Lane>>,
    /// Bytes of batches and outputs that are held for it.
    buffered: AtomicU64,
    /// Batches that wait in lanes.
    in_lanes: AtomicU64,
    /// Bytes of state in the partitions that this worker owns.
    state_bytes: AtomicU64,
    /// Linear memory of idle instances.
    guest_memory: AtomicU64,
    room: (Mutex<()>, Condvar),
    status: Mutex<Status>,
    totals: Mutex<Totals>,
    stages: Mutex<BTreeMap<StageName, StageCount>>,
    /// What its stages use of their grants.
    pub(crate) uses: Uses,
    /// What it wasted and has not told.
    pub(crate) owed: Owed,
}

/// What a stage has done for batches that have committed.
pub(crate) type StageCount = Arc<Mutex<StageTotals>>;

/// How a pipeline fares, for its report.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    pub(crate) code: Option<Code>,
    pub(crate) message: Option<String>,
    pub(crate) revision: u64,
    /// How often it was told to begin anew; what is initialised is so since then.
    pub(crate) starts: u64,
    pub(crate) initialised: BTreeMap<TopicName, BTreeSet<i32>>,
    /// Unknown until the ends of what is owned have been asked for.
    pub(crate) lag: Option<i64>,
    pub(crate) partitions: u32,
    /// It runs, and waits without a thread for something to do.
    pub(crate) parked: bool,
    /// It is parked here because another worker looks after it.
    pub(crate) standby: bool,
}

impl PipelineState {
    pub(crate) fn new(
        key: PipelineKey,
        incarnation: String,
        metrics: Arc<PipelineMetrics>,
        (tenant, lane): (Arc<Tenant>, Arc<Lane>),
    ) -> Self {
        let lane = Mutex::new(lane);
        let status = Status {
            phase: Phase::Starting,
            code: None,
            message: None,
            revision: 0,
            starts: 0,
            initialised: BTreeMap::new(),
            lag: None,
            partitions: 0,
            parked: false,
            standby: false,
        };
        Self {
            key,
            incarnation,
            metrics,
            tenant,
            waits: Waits::default(),
            lane,
            buffered: AtomicU64::new(0),
            in_lanes: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            guest_memory: AtomicU64::new(0),
            room: Default::default(),
            status: Mutex::new(status),
            totals: Mutex::default(),
            stages: Mutex::default(),
            uses: Uses::default(),
            owed: Owed::default(),
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// The count of a stage, which goes on through every incarnation.
    pub(crate) fn stage_count(&self, stage: &StageName) -> StageCount {
        self.stages.lock().entry(stage.clone()).or_default().clone()
    }

    pub(crate) fn totals(&self) -> Totals {
        *self.totals.lock()
    }

    /// How it fares, as far as is known.
    pub(crate) fn report(&self) -> PipelineReport {
        let status = self.status();
        PipelineReport {
            key: self.key.clone(),
            incarnation: self.incarnation.clone(),
            starts: status.starts,
            revision: status.revision,
            phase: status.phase,
            parked: status.parked,
            standby: status.standby,
            code: status.code,
            message: status.message,
            lag: status.lag,
            partitions: status.partitions,
            totals: self.totals(),
            state_bytes: self.state_bytes.load(Ordering::Acquire),
            memory_bytes: self.buffered() + self.guest_memory.load(Ordering::Relaxed),
            stages: self.stages.lock().iter().map(|(name, count)| (name.clone(), *count.lock())).collect(),
            // Who is at rest waits for nothing, and its last report stands for long.
            slowed: (!status.parked).then(|| self.waits.slowed(status.partitions, &self.tenant.limits())).flatten(),
            initialised: status.initialised,
            uses: self.uses.report(),
        }
    }

    /// A partition has waited for a limit of the tenant.
    pub(crate) fn waited(&self, rate: Rate, waited: Duration) {
        self.waits.add(rate, waited);
        self.metrics.limited(rate, waited);
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock());
    }

    /// Takes over what is to run. Where the pipeline begins anew, the positions that it had are void.
    pub(crate) fn take_order(&self, revision: u64, starts: u64) {
        let mut status = self.status.lock();
        status.revision = revision;
        if status.starts != starts {
            status.starts = starts;
            status.initialised.clear();
        }
    }

    /// Says what the pipeline is doing, and why where it is not running.
    pub(crate) fn say(&self, phase: Phase, why: Option<(Code, String)>) {
        let mut status = self.status.lock();
        if status.phase != phase || status.code != why.as_ref().map(|(code, _)| *code) {
            let PipelineKey { tenant, project, pipeline } = &self.key;
            match &why {
                None => tracing::info!(%tenant, %project, %pipeline, ?phase, "phase changed"),
                Some((code, reason)) => {
                    tracing::warn!(%tenant, %project, %pipeline, ?phase, %code, reason, "phase changed");
                }
            }
        }
        status.phase = phase;
        (status.code, status.message) = why.unzip();
    }

    /// A partition's state is of another size.
    pub(crate) fn state_bytes(&self, before: u64, after: u64) {
        self.state_bytes.fetch_add(after.wrapping_sub(before), Ordering::AcqRel);
        self.metrics.state(after as i64 - before as i64);
    }

    /// Idle instances have this much linear memory.
    pub(crate) fn guest_memory(&self, bytes: u64) {
        self.guest_memory.store(bytes, Ordering::Relaxed);
        self.metrics.guest_memory(bytes);
    }

    /// Counts bytes as held until the value is dropped.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64) -> Hold {
        self.buffered.fetch_add(bytes, Ordering::AcqRel);
        self.tenant.memory.hold(bytes);
        self.metrics.buffered(bytes as i64);
        Hold { pipeline: self.clone(), bytes }
    }

    fn release(&self, bytes: u64) {
        self.buffered.fetch_sub(bytes, Ordering::AcqRel);
        self.metrics.buffered(-(bytes as i64));
        self.room.1.notify_all();
        self.tenant.memory.release(bytes);
    }

    /// Waits until a guest may run: a batch of a few bytes can become outputs of many, so the queue's bound alone does not bound
    /// memory; nor does that of one pipeline, where its tenant has many. Where nothing of the pipeline waits in lanes, nothing would be
    /// given back, so then it may run anyway.
    pub(crate) async fn room_for_outputs(&self, limit: u64) {
        let memory = &self.tenant.memory;
        loop {
            let mut released = pin!(memory.released.notified());
            released.as_mut().enable();
            let full = memory.is_full();
            if full {
                self.tenant.room.drop_idle();
            }
            if (self.buffered() < limit && !full) || self.in_lanes.load(Ordering::Acquire) == 0 {
                return;
            }
            let since = Instant::now();
            // Woken now and then, since instances that end tell nobody, and so that the wait is told while it lasts.
            let _woken = tokio::time::timeout(TOLD_EVERY, released).await;
            if full {
                self.waited(Rate::Memory, since.elapsed());
            }
        }
    }

    /// Whether one more batch may be fetched: one always, more while neither the pipeline nor its tenant holds too much.
    pub(crate) fn may_fetch(&self, limit: u64) -> bool {
        let held = self.buffered();
        held == 0 || (held < limit && !self.tenant.memory.is_full())
    }

    /// Whether nothing of it is on its way: no batch is held, none waits in a lane.
    pub(crate) fn is_still(&self) -> bool {
        self.buffered() == 0 && self.in_lanes.load(Ordering::Acquire) == 0
    }

    /// Bytes of state in the partitions that this worker owns.
    pub(crate) fn held_state(&self) -> u64 {
        self.state_bytes.load(Ordering::Acquire)
    }

    /// Waits until less than `limit` is held, or the time is over.
    pub(crate) fn wait_for_room(&self, limit: u64, timeout: Duration) {
        let mut guard = self.room.0.lock();
        if !self.may_fetch(limit) {
            // A release between the check and the wait costs one timeout, which is short.
            let _timed_out = self.room.1.wait_for(&mut guard, timeout);
        }
    }

    pub(crate) fn buffered(&self) -> u64 {
        self.buffered.load(Ordering::Acquire)
    }

    fn committed(&self, cost: &Cost) {
        let mut totals = self.totals.lock();
        *totals += cost.totals;
        self.metrics.committed(&cost.totals);
        self.metrics.wasted(cost.usage.iter().map(|stage| &stage.used.wasted));
        cost.stages.iter().for_each(|(count, done)| *count.lock() += *done);
        cost.uses.iter().for_each(|(used, more)| used.lock().add(*more));
    }
}

/// Bytes held for a pipeline, until it is dropped.
pub(crate) struct Hold {
    pipeline: Arc<PipelineState>,
    bytes: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.pipeline.release(self.bytes);
    }
}

/// One membership in the pipeline's consumer group.
pub(crate) struct Incarnation {
    pub(crate) pipeline: Arc<PipelineState>,
    pub(crate) member: Arc<dyn Membership>,
    /// Set once; from then on nothing of it commits.
    ended: AtomicBool,
    trouble: Mutex<Option<LogError>>,
    in_lanes: Mutex<HashMap<(Source, u64), InLanes>>,
    settled: Condvar,
}

/// Batches of one assignment of a partition that wait for their commit.
#[derive(Default, Clone, Copy)]
struct InLanes {
    batches: u32,
    /// Position up to which all is committed.
    committed: Option<i64>,
}

impl Incarnation {
    pub(crate) fn new(pipeline: Arc<PipelineState>, member: Arc<dyn Membership>) -> Self {
        Self {
            pipeline,
            member,
            ended: AtomicBool::new(false),
            trouble: Mutex::default(),
            in_lanes: Mutex::default(),
            settled: Condvar::new(),
        }
    }

    /// Ends it because of a failure; the source thread starts another after a pause. The first reason counts.
    pub(crate) fn fail(&self, error: LogError) {
        self.trouble.lock().get_or_insert(error);
        self.end();
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn trouble(&self) -> Option<LogError> {
        self.trouble.lock().clone()
    }

    /// Whether a batch of this assignment may still commit.
    pub(crate) fn may_commit(&self, source: Source, epoch: u64) -> bool {
        !self.ended.load(Ordering::Acquire) && self.member.owns(source, epoch)
    }

    /// Sends a finished batch to the pipeline's lane.
    pub(crate) fn send(self: &Arc<Self>, finished: Finished) {
        self.in_lanes.lock().entry((finished.source, finished.epoch)).or_default().batches += 1;
        self.pipeline.in_lanes.fetch_add(1, Ordering::AcqRel);
        let lane = self.pipeline.lane.lock();
        lane.send(finished);
    }

    /// Batches of these sources that wait in lanes.
    pub(crate) fn waiting(&self, sources: &[Source]) -> u32 {
        let lanes = self.in_lanes.lock();
        lanes.iter().filter(|((source, _), _)| sources.contains(source)).map(|(_, waiting)| waiting.batches).sum()
    }

    /// Forgets assignments of these sources of which nothing waits in lanes.
    pub(crate) fn forget(&self, sources: &[Source]) {
        self.in_lanes.lock().retain(|(source, _), waiting| waiting.batches > 0 || !sources.contains(source));
    }

    /// Waits until no batch waits in lanes. Returns whether that is so.
    pub(crate) fn wait_settled(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut lanes = self.in_lanes.lock();
        while lanes.values().any(|waiting| waiting.batches > 0) {
            if self.settled.wait_until(&mut lanes, until).timed_out() {
                return false;
            }
        }
        true
    }

    /// The committed position of each source that has committed in this incarnation.
    pub(crate) fn positions(&self) -> Vec<(Source, i64)> {
        let lanes = self.in_lanes.lock();
        lanes.iter().filter_map(|((source, _), waiting)| Some((*source, waiting.committed?))).collect()
    }
}

/// A batch whose outputs wait for their commit.
pub(crate) struct Finished {
    pub(crate) incarnation: Arc<Incarnation>,
    pub(crate) source: Source,
    pub(crate) epoch: u64,
    /// The position to commit.
    pub(crate) next: i64,
    /// Whether that is another than before. What a tick put out moves nothing, so the position does not tell whether it is committed.
    pub(crate) moves: bool,
    pub(crate) held: Vec<Arc<Held>>,
    pub(crate) cost: Cost,
    /// What is given back when it is settled: its outputs, and with its last part the batch.
    pub(crate) holds: Vec<Hold>,
}

/// What a batch has used and done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cost {
    pub(crate) totals: Totals,
    /// What each stage did, and where it is counted.
    pub(crate) stages: Vec<(StageCount, StageTotals)>,
    /// Which grants it used, and how often.
    pub(crate) uses: Vec<(Use, u64)>,
    /// What its transaction says that each stage has used, with what was owed.
    pub(crate) usage: Vec<StageUsage>,
    /// Bytes of its outputs in memory.
    pub(crate) output_bytes: u64,
}

impl Finished {
    /// A position as it is, as if a batch of nothing had ended.
    pub(crate) fn position(incarnation: &Arc<Incarnation>, source: Source, epoch: u64, next: i64) -> Self {
        let (incarnation, cost) = (incarnation.clone(), Cost::default());
        Self { incarnation, source, epoch, next, moves: false, held: Vec::new(), cost, holds: Vec::new() }
    }

    /// Sends it to its pipeline's lane.
    pub(crate) fn send(self) {
        self.incarnation.clone().send(self);
    }

    pub(crate) fn may_commit(&self) -> bool {
        self.incarnation.may_commit(self.source, self.epoch)
    }

    /// The batch will never be committed, so nothing after it may be either.
    pub(crate) fn give_up(self) {
        self.incarnation.end();
        self.settle(false);
    }

    /// The batch is committed, or never will be: gives back what it held.
    pub(crate) fn settle(self, committed: bool) {
        let pipeline = &self.incarnation.pipeline;
        match committed {
            true => pipeline.committed(&self.cost),
            false => pipeline.owed.give_up(&self.cost.usage),
        }
        self.let_go(committed);
    }

    /// Nobody knows whether the batch is committed: nothing of it is counted, as committed or as wasted.
    pub(crate) fn forget(self) {
        self.let_go(false);
    }

    fn let_go(self, committed: bool) {
        // The position first: where nothing of the pipeline is on its way, its positions are final.
        if let Some(waiting) = self.incarnation.in_lanes.lock().get_mut(&(self.source, self.epoch)) {
            waiting.batches -= 1;
            if committed {
                waiting.committed = Some(self.next);
            }
        }
        self.incarnation.pipeline.in_lanes.fetch_sub(1, Ordering::AcqRel);
        drop(self.holds);
        self.incarnation.settled.notify_all();
    }
}
