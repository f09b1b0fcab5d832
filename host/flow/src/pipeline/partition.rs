//! One owned partition: restores its stages' state, then takes its batches in order, runs the graph, hands the outcome to the lane; and
//! between two batches, tells the time to stages that act on it.
//!
//! Where stages have state, a batch of which some records turned out dead or ask for a retry is run again without these, so that the
//! state that commits is as if they had never been. Each such run is of fewer records, so there is an end.
//! It runs as a task of its tenant on the executor. There is one for each assignment of a partition, so order within the partition
//! needs no other care; dropping the task ends the guest's run at once.
//! Must never: begin a batch before the state is whole and the batch before it is in the lane, or give up a record for a host fault.

use super::state::{Cost, Finished, Hold, Incarnation};
use super::ticks::{Ticking, Ticks};
use crate::config::{self, DEAD_IN_A_ROW, FlowConfig};
use crate::dead_letter::{self, Evidence};
use crate::graph::{Dead, Graph, GraphRun, Retry, Written};
use crate::stage_call::{rejected, retry_pause};
use crate::state::partition::{PartitionState, StateTools};
use crate::tenant::Charge;
use crate::topics::{Held as Blocked, Topics};
use crate::usage;
use crate::uses::{StageUses, Use};
use crate::work::{Work, payload_bytes};
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::fault::{Fault, HostFault};
use bulkhead_core::scope::PhysicalTopic;
use bulkhead_log::{Block, Fetched, Held, LogError, Source};
use bulkhead_vault::PipelineKeys;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;

/// What every partition of an incarnation shares.
pub(crate) struct Run {
    pub(crate) assignment: Arc<PipelineAssignment>,
    pub(crate) graph: Graph,
    pub(crate) dead_letters: Arc<[Option<PhysicalTopic>]>,
    /// Where it says what it has used.
    pub(crate) usage: Arc<[Option<PhysicalTopic>]>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) config: Arc<FlowConfig>,
    /// `None` where no stage has state.
    pub(crate) state: Option<StateTools>,
    /// What dead letters are sealed with; `None` where they are left plain, or the log seals what it keeps.
    pub(crate) seal: Option<Arc<PipelineKeys>>,
    /// By stage: the grants whose use is counted.
    pub(crate) uses: Vec<StageUses>,
}

/// One assignment of a partition.
pub(crate) struct Partition {
    pub(crate) run: Arc<Run>,
    pub(crate) incarnation: Arc<Incarnation>,
    pub(crate) source: Source,
    pub(crate) epoch: u64,
    /// Where the next batch begins.
    pub(crate) position: i64,
    pub(crate) state: PartitionState,
    pub(crate) ticks: Ticks,
    /// Fuel of ticks and runs that came to nothing, told with the next work that does.
    pub(crate) spent: Work,
    /// Dead letters since the last record that passed.
    pub(crate) dead_in_a_row: u32,
    /// Dead letters since the last pause.
    pub(crate) dead_since_pause: u32,
    /// Pauses since then.
    pub(crate) pauses: u32,
}

impl Partition {
    /// Handles batches until there are no more.
    pub(crate) async fn serve(mut self, mut batches: UnboundedReceiver<(Fetched, Hold)>) {
        let _watch = FailOnPanic(self.incarnation.clone());
        if let Err(error) = self.work(&mut batches).await {
            self.incarnation.fail(error);
        }
    }

    /// Commits the position as it is, as if a batch of nothing had ended: the log counts from then how long nobody has used it.
    pub(crate) fn keep_position(&self) {
        Finished::position(&self.incarnation, self.source, self.epoch, self.position).send();
    }

    async fn work(&mut self, batches: &mut UnboundedReceiver<(Fetched, Hold)>) -> Result<(), LogError> {
        self.restore().await?;
        loop {
            let room = self.incarnation.pipeline.clone();
            if let Some((at, ticking, now)) = self.ticks.due() {
                room.room_for_outputs(self.run.config.buffer_bytes).await;
                self.tick(at, ticking, now).await?;
            }
            let arrived = match self.ticks.next() {
                None => batches.recv().await,
                Some(due) => match tokio::time::timeout_at(due, batches.recv()).await {
                    Ok(arrived) => arrived,
                    Err(_) => continue,
                },
            };
            let Some((fetched, hold)) = arrived else { return Ok(()) };
            room.room_for_outputs(self.run.config.buffer_bytes).await;
            self.batch(fetched, hold).await?;
        }
    }

    async fn restore(&mut self) -> Result<(), LogError> {
        if self.state.is_none() {
            return Ok(());
        }
        let started = Instant::now();
        let restored = self.state.restore().await?;
        let (records, bytes, took) = (restored.records, restored.bytes, started.elapsed());
        let (pipeline, partition) = (&self.incarnation.pipeline.key.pipeline, self.source.partition);
        tracing::info!(%pipeline, partition, records, bytes, ?took, "state restored");
        Ok(())
    }

    /// Tells a stage the time. Where that fails no record is to blame: it is told again later, and batches go on meanwhile.
    async fn tick(&mut self, at: usize, ticking: Ticking, now: i64) -> Result<(), LogError> {
        let (topic, partition) = (ticking.topic, self.source.partition);
        let mut moment = RecordBatch { topic, partition, ..RecordBatch::default() };
        moment.push(self.position, now, None, None, []);
        let moment = Arc::new(moment);
        self.admit_tenant().await;
        let before = self.spent.fuel();
        let ticked = self.run.graph.tick(ticking.stage, &moment, &self.state, &mut self.spent).await;
        self.charge_fuel(before, ticked.as_ref().ok());
        let ticked = match ticked {
            Ok(run) => {
                let mut run = self.admitted(run).await?;
                match run.dead.pop_first() {
                    None => Ok(run),
                    Some((_, dead)) => {
                        run.lose(&mut self.spent);
                        Err(dead.fault.into())
                    }
                }
            }
            Err(fault) => Err(fault),
        };
        let recovered = self.ticks.ended(at, ticked.is_ok(), self.run.config.backoff_max);
        match ticked {
            Err(fault) => {
                self.state.discard();
                self.say_fault(fault);
            }
            Ok(run) => {
                if recovered {
                    self.incarnation.pipeline.say(Phase::Running, None);
                }
                self.finish(&moment, run, 0, self.position, None).await?;
            }
        }
        Ok(())
    }

    /// Handles one batch, in several parts where a stage asks for a retry.
    async fn batch(&mut self, fetched: Fetched, hold: Hold) -> Result<(), LogError> {
        let mut batch = Arc::new(fetched.batch);
        let mut hold = Some(hold);
        // Read once, however often it runs.
        let mut bytes_in = payload_bytes(&batch, batch.len());
        // How often the record at the front has asked for a retry.
        let mut tries = 0;
        loop {
            self.admit_tenant().await;
            self.charge(Charge { bytes_in: std::mem::take(&mut bytes_in), ..Charge::default() });
            let started = Instant::now();
            let mut run = self.run_rows(&batch).await?;
            self.incarnation.pipeline.metrics.batch(started.elapsed());
            let Some(retry) = run.retry.take() else {
                return self.part(&batch, run, batch.len(), fetched.next, hold.take()).await;
            };
            let until = retry.row as usize;
            if until > 0 {
                self.part(&batch, run, until, batch.offsets[until], None).await?;
                batch = Arc::new(batch.select(until..batch.len()));
                tries = 0;
            } else {
                run.lose(&mut self.spent);
            }
            tries += 1;
            let retries = self.run.graph.stages[retry.stage].running.limits.retries;
            if tries <= retries {
                tokio::time::sleep(retry_pause(tries - 1)).await;
                continue;
            }
            let given_up = given_up(&retry, retries, &batch);
            let Some(next) = batch.offsets.get(1).copied() else {
                return self.part(&batch, given_up, 1, fetched.next, hold.take()).await;
            };
            self.part(&batch, given_up, 1, next, None).await?;
            batch = Arc::new(batch.select(1..batch.len()));
            tries = 0;
        }
    }

    /// Waits until its tenant owes nothing of its rates.
    async fn admit_tenant(&self) {
        let pipeline = &self.incarnation.pipeline;
        pipeline.tenant.admit(|rate, waited| pipeline.waited(rate, waited)).await;
    }

    /// Charges what a run has burnt: what came of it, and what was spent in vain since there was `before` of that.
    fn charge_fuel(&self, before: u64, run: Option<&GraphRun>) {
        let burnt = run.map_or(0, |run| run.work.fuel()) + self.spent.fuel().saturating_sub(before);
        self.charge(Charge { fuel: burnt, ..Charge::default() });
    }

    fn charge(&self, charge: Charge) {
        self.incarnation.pipeline.tenant.charge(charge);
    }

    /// Sends rows 0 to `rows` of a batch to the lane, and slows down where nothing passes any more.
    async fn part(
        &mut self,
        batch: &Arc<RecordBatch>,
        run: GraphRun,
        rows: usize,
        next: i64,
        hold: Option<Hold>,
    ) -> Result<(), LogError> {
        let slow_down = self.count_dead(&run, rows);
        self.finish(batch, run, rows, next, hold).await?;
        self.slow_down(slow_down).await;
        Ok(())
    }

    /// Runs the graph and checks what came of it; with state, again without the rows that spoil it.
    async fn run_rows(&mut self, batch: &Arc<RecordBatch>) -> Result<GraphRun, LogError> {
        let run = self.run_graph(batch).await?;
        let mut run = self.admitted(run).await?;
        if self.state.is_none() {
            return Ok(run);
        }
        let mut rows: Vec<u32> = (0..batch.len() as u32).collect();
        let mut verdicts = GraphRun::default();
        while !run.dead.is_empty() || run.retry.is_some() {
            verdicts.take_over(run, &rows);
            rows.retain(|row| verdicts.passes(*row));
            let rest = Arc::new(batch.select(rows.iter().map(|row| *row as usize)));
            run = self.run_graph(&rest).await?;
            run = self.admitted(run).await?;
        }
        run.work.settle(|_| true, |_| true);
        verdicts.work.add(run.work);
        verdicts.written = run.written;
        Ok(verdicts)
    }

    /// Runs the graph; host faults are tried again with growing pauses, a stage that does not start is said.
    async fn run_graph(&mut self, batch: &Arc<RecordBatch>) -> Result<GraphRun, LogError> {
        let mut failures = 0;
        loop {
            if batch.is_empty() {
                self.state.discard();
                return Ok(GraphRun::default());
            }
            let before = self.spent.fuel();
            let run = self.run.graph.run(batch, &self.state, &mut self.spent).await;
            self.charge_fuel(before, run.as_ref().ok());
            match run {
                Ok(run) => {
                    if failures > 0 {
                        self.incarnation.pipeline.say(Phase::Running, None);
                    }
                    return Ok(run);
                }
                Err(fault) => self.say_fault(fault),
            }
            self.pause(failures).await;
            failures += 1;
        }
    }

    /// Says why nothing could be done for now.
    fn say_fault(&self, fault: Fault) {
        let state = &self.incarnation.pipeline;
        match fault {
            Fault::Guest(fault) => {
                state.metrics.guest_fault(fault.kind);
                state.say(Phase::Backoff, Some((fault.kind.code(), fault.to_string())));
            }
            Fault::Host(HostFault { code, message }) => {
                state.metrics.host_fault(code);
                tracing::error!(tenant = %state.key.tenant, pipeline = %state.key.pipeline, %code, message, "host fault on the record path");
                let words = match code {
                    Code::BucketUnavailable => "a bucket does not answer; what needs it waits and is run again",
                    _ => "a fault of the host; it is being tried again",
                };
                let words = words.to_owned();
                state.say(Phase::Backoff, Some((code, words)));
            }
        }
    }

    /// The run, once it may enter a lane.
    async fn admitted(&mut self, mut run: GraphRun) -> Result<GraphRun, LogError> {
        match self.admit(&mut run).await {
            Ok(()) => Ok(run),
            Err(error) => {
                run.lose(&mut self.spent);
                Err(error)
            }
        }
    }

    /// Waits until the batch may enter a lane.
    async fn admit(&self, run: &mut GraphRun) -> Result<(), LogError> {
        let mut failures = 0;
        loop {
            let state = &self.incarnation.pipeline;
            let usage = self.run.usage.iter().flatten().map(|topic| (topic, usage::PARTITION));
            let hidden: Vec<_> = self.state.target().into_iter().chain(usage).collect();
            match self.run.topics.check(run, &hidden).await {
                Ok(Ok(())) => {
                    if failures > 0 {
                        state.say(Phase::Running, None);
                    }
                    return Ok(());
                }
                Ok(Err(Blocked::Gone)) => {
                    return Err(LogError::new(Code::TopicGone, "a topic that this pipeline writes is gone"));
                }
                Ok(Err(Blocked::Leaderless)) => {
                    let message = "a partition that this pipeline writes to has no leader; waiting for one".to_owned();
                    state.say(Phase::Backoff, Some((Code::PartitionLeaderless, message)));
                }
                Err(error) => {
                    state.metrics.host_fault(error.code);
                    state.say(Phase::Backoff, Some((error.code, "the log does not answer; waiting for it".to_owned())));
                }
            }
            self.pause(failures).await;
            failures += 1;
        }
    }

    async fn pause(&self, failures: u32) {
        let config = &self.run.config;
        tokio::time::sleep(config::backoff(config.backoff_min, config.backoff_max, failures)).await;
    }

    /// Notes whether anything passes at all. Returns whether the partition should slow down.
    fn count_dead(&mut self, run: &GraphRun, rows: usize) -> bool {
        if rows == 0 {
            return false;
        }
        if run.dead.len() < rows {
            if self.pauses > 0 {
                self.incarnation.pipeline.say(Phase::Running, None);
            }
            (self.dead_in_a_row, self.dead_since_pause, self.pauses) = (0, 0, 0);
            return false;
        }
        self.dead_in_a_row = self.dead_in_a_row.saturating_add(rows as u32);
        self.dead_since_pause = self.dead_since_pause.saturating_add(rows as u32);
        // Records are counted, not batches: those that waited during a pause may be cut into many small ones.
        let enough = if self.pauses == 0 { DEAD_IN_A_ROW } else { self.run.assignment.spec.batch.records };
        self.dead_since_pause >= enough
    }

    /// A stage that fails always is worth no more than a full batch now and then: the partition still moves on.
    async fn slow_down(&mut self, needed: bool) {
        if needed {
            let message = format!("the last {} records all became dead letters; slowing down", self.dead_in_a_row);
            self.incarnation.pipeline.say(Phase::Backoff, Some((Code::PipelineBackoff, message)));
            self.pause(self.pauses).await;
            self.pauses += 1;
            self.dead_since_pause = 0;
        }
    }

    /// Sends rows 0 to `rows` of a batch to the lane, with their dead letters.
    async fn finish(
        &mut self,
        batch: &Arc<RecordBatch>,
        mut run: GraphRun,
        rows: usize,
        next: i64,
        hold: Option<Hold>,
    ) -> Result<(), LogError> {
        run.settle(rows);
        let mut cost = Cost::default();
        cost.totals.records_in = rows as u64;
        cost.totals.bytes_in = payload_bytes(batch, rows);
        cost.totals.dead_letters = run.dead.len() as u64;
        cost.uses = self.reads(rows);
        for dead in run.dead.values() {
            cost.uses.push((self.run.uses[dead.stage].letters.clone(), 1));
        }
        let dead_letters = if run.dead.is_empty() { None } else { Some(self.dead_letters(batch, &run).await?) };
        let mut work = run.work;
        let mut all = Vec::with_capacity(run.written.len() + 1);
        for written in run.written {
            let (records, bytes) = to_topics(&written);
            cost.totals.records_out += records;
            work.wrote(written.stage, bytes);
            cost.uses.extend(writes(&written, &self.run.uses[written.stage]));
            cost.totals.bytes_out += bytes;
            cost.output_bytes += written.outputs.bytes() as u64;
            if !Arc::ptr_eq(&written.batch, batch) {
                // Made in between, and kept for what its outputs inherit.
                cost.output_bytes += written.batch.bytes() as u64;
            }
            let blocks = vec![Block { outputs: written.outputs, targets: written.targets, partition: None }];
            all.push(Arc::new(Held { batch: written.batch, blocks }));
        }
        if let Some(outputs) = dead_letters {
            cost.output_bytes += outputs.bytes() as u64;
            let blocks = vec![Block { outputs, targets: self.run.dead_letters.clone(), partition: None }];
            all.push(Arc::new(Held { batch: batch.clone(), blocks }));
        }
        let changes = self.state.accept().map_err(|fault| LogError::new(fault.code, fault.message))?;
        if let Some((held, entries)) = changes {
            let used =
                entries.into_iter().filter_map(|(stage, entries)| Some((self.run.uses[stage].state.clone()?, entries)));
            cost.uses.extend(used);
            cost.output_bytes += held.blocks.iter().map(|block| block.outputs.bytes() as u64).sum::<u64>();
            all.push(Arc::new(held));
        }
        let moves = std::mem::replace(&mut self.position, next) != next;
        if !moves && all.is_empty() {
            self.spent.add(work);
            return Ok(());
        }
        self.charge(Charge { bytes_out: cost.totals.bytes_out, ..Charge::default() });
        work.add(std::mem::take(&mut self.spent));
        cost.totals.fuel = work.fuel();
        let count = |stage: usize| self.run.graph.stages[stage].running.count.clone();
        cost.stages = work.stages().map(|(stage, done)| (count(stage), done.totals())).collect();
        all.extend(self.usage(&work, &mut cost));
        let (incarnation, source, epoch) = (self.incarnation.clone(), self.source, self.epoch);
        let outputs = self.incarnation.pipeline.hold(cost.output_bytes);
        let holds = hold.into_iter().chain([outputs]).collect();
        self.incarnation.send(Finished { incarnation, source, epoch, next, moves, held: all, cost, holds });
        Ok(())
    }

    /// What says in the transaction what the batch has used. From here to the lane nothing may be awaited, or what is owed could be lost.
    fn usage(&self, work: &Work, cost: &mut Cost) -> Option<Arc<Held>> {
        let stages = &self.run.graph.stages;
        cost.usage = self.incarnation.pipeline.owed.tell(work, |stage| &stages[stage].running.name);
        if cost.usage.is_empty() {
            return None;
        }
        let held = usage::held(&self.run.assignment, &self.run.usage, cost.usage.clone());
        cost.output_bytes += held.blocks.iter().map(|block| block.outputs.bytes() as u64).sum::<u64>();
        Some(Arc::new(held))
    }

    /// The grants by which stages were given the first `rows` records.
    fn reads(&self, rows: usize) -> Vec<(Use, u64)> {
        let of_input = |stage: &StageUses| Some((stage.reads[usize::from(self.source.topic)].clone()?, rows as u64));
        self.run.uses.iter().filter_map(of_input).collect()
    }

    async fn dead_letters(&self, batch: &Arc<RecordBatch>, run: &GraphRun) -> Result<Outputs, LogError> {
        let assignment = &self.run.assignment;
        let topic = self.run.dead_letters[0].as_ref().expect("a pipeline has a dead-letter topic");
        let info = loop {
            match self.run.topics.get(topic).await {
                Ok(Some(info)) => break info,
                Ok(None) => {
                    return Err(LogError::new(Code::TopicGone, "the dead-letter topic of this pipeline is gone"));
                }
                Err(_) => self.pause(0).await,
            }
        };
        let mut outputs = Outputs::default();
        for (row, dead) in &run.dead {
            self.incarnation.pipeline.metrics.guest_fault(dead.fault.kind);
            let stage = &self.run.graph.stages[dead.stage].running;
            let evidence = Evidence {
                project: assignment.key.project.as_str(),
                pipeline: assignment.key.pipeline.as_str(),
                revision: assignment.revision,
                stage: stage.name.as_str(),
                module: &stage.digest,
                topic: &assignment.spec.inputs[usize::from(self.source.topic)].topic,
                seal: self.run.seal.as_deref().map(|keys| (keys, &assignment.spec.dead_letter)),
            };
            dead_letter::push(&mut outputs, batch, *row, dead, &evidence, info.max_record_bytes)
                .map_err(|error| LogError::new(error.code, error.message))?;
        }
        Ok(outputs)
    }
}

/// What came to nothing and was not told is owed by the pipeline.
impl Drop for Partition {
    fn drop(&mut self) {
        for (stage, done) in self.spent.stages() {
            let stage = &self.run.graph.stages[stage].running.name;
            self.incarnation.pipeline.owed.add(stage, done.used.given_up());
        }
    }
}

/// Ends the incarnation where the task that holds it panics: else the partition would stand still and nobody would know.
struct FailOnPanic(Arc<Incarnation>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(LogError::new(Code::Internal, "the task of a partition panicked"));
        }
    }
}

/// The outcome of a record that asked for a retry too often.
fn given_up(retry: &Retry, retries: u32, batch: &RecordBatch) -> GraphRun {
    let mut work = Work::default();
    work.call(retry.stage, Some(Arc::new(batch.select([0]))), None, Vec::new());
    let mut run = GraphRun { work, ..GraphRun::default() };
    let dead = Dead { stage: retry.stage, fault: rejected(&retry.reason, retries), fuel: None };
    run.dead.insert(0, dead);
    run
}

/// The grants by which a stage wrote, with how many records each.
fn writes(written: &Written, uses: &StageUses) -> Vec<(Use, u64)> {
    let mut counts = vec![0; uses.writes.len()];
    for to in written.outputs.to.iter().map(|to| usize::from(*to)).filter(|to| written.targets[*to].is_some()) {
        counts[to] += 1;
    }
    uses.writes.iter().zip(counts).filter_map(|(used, count)| Some((used.clone()?, count))).collect()
}

/// Outputs of a stage that go to topics, and the bytes of their keys, values and headers.
fn to_topics(written: &Written) -> (u64, u64) {
    let (outputs, batch) = (&written.outputs, &written.batch);
    let len = |cell: Option<&[u8]>| cell.map_or(0, <[u8]>::len);
    let (mut records, mut bytes) = (0, 0);
    for i in (0..outputs.len()).filter(|i| written.targets[usize::from(outputs.to[*i])].is_some()) {
        let headers: usize = outputs.headers(i, batch).map(|(name, value)| name.len() + len(value)).sum();
        records += 1;
        bytes += len(outputs.key(i, batch)) + len(outputs.values.get(i)) + headers;
    }
    (records, bytes as u64)
}
