//! The source thread of a pipeline: joins its group, gives batches to partitions, answers revokes, pauses and resumes.
//!
//! It is the only one who touches the reader. An incarnation begins with loading the modules and joining the group, and ends
//! at a new order, a failure or a stop, or where there is nothing to do ([`parking`](super::park)): then the thread ends with it. A revoke is
//! acknowledged once nothing of the partition is in a guest or a lane.
//! Must never: block for long, or its group would think it dead.

mod join;

pub use join::stage_config;

use super::park::Quiet;
use super::partition::{Partition, Run};
use super::state::{Hold, Incarnation, PipelineState};
use super::ticks::Ticks;
use super::{Ends, Order, Orders, Pipeline};
use crate::config::backoff;
use crate::flow::Tools;
use crate::parking::Turn;
use crate::replay::sift;
use crate::sink::Sink;
use crate::state::partition::PartitionState;
use crate::tenant::Consumer;
use crate::work::Work;
use async_task::Task;
use bulkhead_core::assignment::Phase;
use bulkhead_core::code::Code;
use bulkhead_log::{Assigned, Event, Fetched, LogError, Reader, Source};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// How long a poll may wait where nothing else is to be done.
const POLL: Duration = Duration::from_millis(100);
/// The same while a revoke or a pause waits to be undone.
const POLL_SOON: Duration = Duration::from_millis(5);
/// How long the thread waits for room before it pauses partitions, which costs a fetch again.
const ROOM_WAIT: Duration = Duration::from_millis(200);
/// How often the lag and idle instances are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often one that is set aside looks whether it may come back.
const ASIDE_LOOK: Duration = Duration::from_millis(250);
/// The same as [`LOOK_EVERY`] while others wait for this one to say that it has started.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// Longest wait after a poll that failed: a member must go on polling.
const POLL_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub(crate) struct SourceThread {
    pipeline: Arc<Pipeline>,
    pub(super) state: Arc<PipelineState>,
    orders: Arc<Orders>,
    pub(super) tools: Arc<Tools>,
}

/// Why a membership ended well.
enum Left {
    /// There is a new order.
    Ordered,
    /// There is nothing to do beyond these ends.
    Parked(Ends),
}

/// One membership, while it lasts.
pub(super) struct Live {
    reader: Box<dyn Reader>,
    pub(super) incarnation: Arc<Incarnation>,
    pub(super) run: Arc<Run>,
    pub(super) partitions: HashMap<Source, Owned>,
    /// Revokes that wait for lanes.
    pub(super) leaving: Vec<Source>,
    runtime: Handle,
    pub(super) paused: bool,
    full_since: Option<Instant>,
    looked_at: Instant,
    /// The question for the ends of the inputs, while it is open.
    asked: Option<JoinHandle<Result<Vec<Vec<i64>>, LogError>>>,
    /// Polls in a row that failed.
    pub(super) poll_failures: u32,
    /// The last look around found the log away.
    pub(super) log_away: bool,
    _consumer: Consumer,
    pub(super) sinks: Vec<Sink>,
    pub(super) quiet: Quiet,
}

/// A partition that this worker owns.
pub(super) struct Owned {
    batches: UnboundedSender<(Fetched, Hold)>,
    task: Task<()>,
    pub(super) epoch: u64,
    pub(super) position: i64,
}

impl SourceThread {
    pub(crate) fn new(pipeline: Arc<Pipeline>, tools: Arc<Tools>) -> Self {
        let (state, orders) = (pipeline.state.clone(), pipeline.orders.clone());
        Self { pipeline, state, orders, tools }
    }

    /// Runs until the order is to stop, or there is nothing to do.
    pub(crate) fn run(self, turn: Turn) {
        let mut failures = 0;
        let mut turn = Some(turn);
        // Who wakes goes on running, for all that others see.
        let mut woken = false;
        self.state.update(|status| (woken, status.parked, status.standby) = (status.parked, false, false));
        // Once it has joined, it goes on until there is nothing to do, whose slot it is or not.
        let mut joins = self.pipeline.helps.swap(false, Ordering::AcqRel);
        loop {
            let order = self.orders.current();
            self.state.take_order(order.assignment.revision, order.assignment.starts);
            if order.stop {
                return;
            }
            if order.assignment.paused || order.assignment.held.is_some() {
                let why = order.assignment.held.as_ref().map(|held| (held.code, held.message.clone()));
                self.state.say(Phase::Paused, why);
                if self.pipeline.rest(order.number) {
                    return;
                }
                continue;
            }
            joins |= self.tools.parking.owns(self.pipeline.slot);
            if !joins {
                if self.pipeline.stand_by(&order) {
                    return;
                }
                continue;
            }
            if self.state.tenant.memory.is_aside() {
                let words = "this worker is short of memory, of which this tenant holds most; the pipeline goes on when there is room again";
                self.state.say(Phase::Backoff, Some((Code::MemoryShort, words.to_owned())));
                // Others need not wait for that.
                turn = None;
                self.orders.wait(order.number, Some(ASIDE_LOOK));
                continue;
            }
            let started = Instant::now();
            if failures == 0 && !std::mem::take(&mut woken) {
                self.state.say(Phase::Starting, None);
            }
            let error = match self.incarnate(&order, turn.take()) {
                Ok(Left::Ordered) => {
                    failures = 0;
                    continue;
                }
                Ok(Left::Parked(ends)) => {
                    if self.pipeline.park(order.number, ends) {
                        return;
                    }
                    self.state.update(|status| status.parked = false);
                    continue;
                }
                Err(error) => error,
            };
            if started.elapsed() > self.tools.config.backoff_max {
                failures = 0;
            }
            tracing::warn!(tenant = %self.state.key.tenant, pipeline = %self.state.key.pipeline, %error, "pipeline stopped, to be started again");
            if self.failed(&order, &error, failures) {
                return;
            }
            failures += 1;
        }
    }

    /// Says why, and waits. Whether the thread is to end, since only an order helps.
    fn failed(&self, order: &Order, error: &LogError, failures: u32) -> bool {
        let why = (error.code, public_message(error));
        if matches!(error.code, Code::OffsetLost | Code::PositionMoved | Code::StateLost | Code::StateBroken) {
            self.state.say(Phase::Failed, Some(why));
            return self.pipeline.rest(order.number);
        }
        self.state.say(Phase::Backoff, Some(why));
        let config = &self.tools.config;
        self.orders.wait(order.number, Some(backoff(config.backoff_min, config.backoff_max, failures)));
        false
    }

    /// One membership from start to end.
    fn incarnate(&self, order: &Order, turn: Option<Turn>) -> Result<Left, LogError> {
        let mut live = self.join(&order.assignment, turn)?;
        let result = loop {
            // Who is set aside lets go of all that is held; what is finished commits first.
            if self.orders.current().number != order.number || self.state.tenant.memory.is_aside() {
                break Ok(Left::Ordered);
            }
            if let Some(trouble) = live.incarnation.trouble() {
                break Err(trouble);
            }
            if let Err(error) = self.step(&mut live) {
                break Err(error);
            }
            if let Some(ends) = self.nothing_to_do(&mut live) {
                break Ok(Left::Parked(ends));
            }
        };
        self.leave(live, &result);
        result
    }

    /// One turn: make room, settle revokes, take an event.
    fn step(&self, live: &mut Live) -> Result<(), LogError> {
        self.look_around(live);
        live.let_go()?;
        // Half is for outputs: were all of it batches that wait for their turn, none could run before the lanes are empty.
        if !live.has_room(&self.state, self.tools.config.buffer_bytes / 2)? {
            return Ok(());
        }
        let wait = if live.leaving.is_empty() && !live.paused { POLL } else { POLL_SOON };
        let event = match live.reader.poll(wait) {
            Ok(event) => event,
            Err(error) if ends_reader(error.code) => {
                if error.code == Code::TopicGone {
                    self.forget_gone(live);
                }
                return Err(error);
            }
            Err(error) => {
                self.poll_failed(live, &error);
                return Ok(());
            }
        };
        if std::mem::take(&mut live.poll_failures) > 0 {
            self.state.say(Phase::Running, None);
        }
        match event {
            Event::Idle => {}
            Event::Assigned(assigned) => self.assigned(live, assigned)?,
            Event::Revoke { sources, lost } => live.revoke(&sources, lost),
            Event::Batch(fetched) => self.batch(live, fetched),
        }
        Ok(())
    }

    /// An input went, perhaps to be made again at once: its positions went with it, which is no loss of them.
    fn forget_gone(&self, live: &Live) {
        let member = &live.incarnation.member;
        let Ok(committed) = self.tools.log.committed(member.group(), member.topics()) else { return };
        for (input, positions) in live.run.assignment.spec.inputs.iter().zip(committed) {
            if positions.iter().all(Option::is_none) {
                self.state.update(|status| drop(status.initialised.remove(&input.topic)));
            }
        }
    }

    /// Says that the log is in trouble, and waits a little, since a log that is away may fail a poll at once.
    fn poll_failed(&self, live: &mut Live, error: &LogError) {
        self.state.metrics.host_fault(error.code);
        tracing::warn!(pipeline = %self.state.key.pipeline, %error, "polling goes on");
        self.state.say(Phase::Backoff, Some((error.code, public_message(error))));
        let order = self.orders.current().number;
        self.orders.wait(order, Some(backoff(POLL_SOON, POLL_BACKOFF_MAX, live.poll_failures)));
        live.poll_failures += 1;
    }

    fn assigned(&self, live: &mut Live, assigned: Vec<Assigned>) -> Result<(), LogError> {
        if live.paused {
            // Until there is room again, for the new ones too.
            live.reader.pause(&assigned.iter().map(|assigned| assigned.source).collect::<Vec<_>>())?;
        }
        for Assigned { source, epoch, position } in assigned {
            let (batches, queue) = unbounded_channel();
            let (run, incarnation) = (live.run.clone(), live.incarnation.clone());
            let state = PartitionState::new(&run.assignment.spec, source, run.state.as_ref(), self.state.clone());
            let ticks = Ticks::new(&run, source);
            let partition = Partition {
                run,
                incarnation,
                source,
                epoch,
                position,
                state,
                ticks,
                spent: Work::default(),
                dead_in_a_row: 0,
                dead_since_pause: 0,
                pauses: 0,
            };
            if live.quiet.keeps() {
                partition.keep_position();
            }
            let task = self.tools.executor.spawn(&self.state.key.tenant, partition.serve(queue));
            live.partitions.insert(source, Owned { batches, task, epoch, position });
            let topic = &live.run.assignment.spec.inputs[usize::from(source.topic)].topic;
            self.state.update(|status| {
                status.initialised.entry(topic.clone()).or_default().insert(source.partition);
                (status.lag, status.partitions) = (None, live.partitions.len() as u32);
            });
        }
        Ok(())
    }

    fn batch(&self, live: &mut Live, mut fetched: Fetched) {
        live.quiet.broken();
        let Some(owned) = live.partitions.get(&fetched.source) else { return };
        fetched.batch = sift(fetched.batch, &self.state.key);
        let hold = self.state.hold(fetched.batch.bytes() as u64);
        // A partition whose task has ended, by a panic too, has failed the incarnation, which the next turn sees.
        let _ended = owned.batches.send((fetched, hold));
    }

    /// What is done once a second: idle instances, lag. The ends are asked for on another thread, since a broker that is away can keep the
    /// answer back for seconds, in which this one has partitions of other brokers to serve.
    fn look_around(&self, live: &mut Live) {
        if let Some(asked) = live.asked.take_if(|asked| asked.is_finished()) {
            let answer = self.tools.runtime.block_on(asked);
            let panicked = |_| Err(LogError::new(Code::Internal, "asking for the ends of topics panicked"));
            self.ends_known(live, answer.unwrap_or_else(panicked));
        }
        if live.looked_at.elapsed() < if live.quiet.hurries(&self.tools.parking.gate) { LOOK_SOON } else { LOOK_EVERY }
        {
            return;
        }
        live.looked_at = Instant::now();
        let memory: usize = live.run.graph.stages.iter().map(|stage| stage.running.trim()).sum();
        self.state.guest_memory(memory as u64);
        if live.asked.is_none() {
            let (log, member) = (self.tools.log.clone(), live.incarnation.member.clone());
            live.asked = Some(self.tools.runtime.spawn_blocking(move || log.ends(member.topics())));
        }
    }

    /// Works out the lag. Committed positions are read after the ends, so that what came in between is no negative lag.
    fn ends_known(&self, live: &mut Live, ends: Result<Vec<Vec<i64>>, LogError>) {
        for (source, position) in live.incarnation.positions() {
            if let Some(owned) = live.partitions.get_mut(&source) {
                owned.position = owned.position.max(position);
            }
        }
        let ends = match ends {
            Ok(ends) => ends,
            Err(error) => return self.look_failed(live, &error),
        };
        if std::mem::take(&mut live.log_away) {
            self.state.say(Phase::Running, None);
        }
        let lag = live.partitions.iter().map(|(source, owned)| {
            let end = ends.get(usize::from(source.topic)).and_then(|ends| ends.get(source.partition as usize));
            end.map_or(0, |end| (end - owned.position).max(0))
        });
        let lag = lag.sum();
        self.state.update(|status| {
            status.lag = Some(lag);
            status.partitions = live.partitions.len() as u32;
        });
        self.state.metrics.lag(lag);
        live.quiet.lag = Some(lag);
    }

    /// A pipeline with nothing to do would not notice by polling that its log is away.
    fn look_failed(&self, live: &mut Live, error: &LogError) {
        if error.code == Code::LogUnavailable {
            self.state.metrics.host_fault(error.code);
            self.state.say(Phase::Backoff, Some(log_away()));
            live.log_away = true;
        }
    }

    /// Ends a membership. One that ended well lets batches that are already in lanes commit first.
    fn leave(&self, mut live: Live, ended: &Result<Left, LogError>) {
        let drain = ended.is_ok();
        let mut fetched = Vec::new();
        for (_, owned) in live.partitions.drain() {
            fetched.push(owned.task);
        }
        for task in fetched {
            self.tools.runtime.block_on(task.cancel());
        }
        if !drain {
            live.incarnation.end();
        }
        if !live.incarnation.wait_settled(self.tools.config.drain_timeout) {
            tracing::warn!(pipeline = %self.state.key.pipeline, "left with batches in lanes; they will be read again");
        }
        live.incarnation.end();
        live.reader.close();
        let _settled = live.incarnation.wait_settled(self.tools.config.drain_timeout);
        // Sinks last, so that what the lanes have just committed becomes objects, where there is time.
        if drain {
            live.sinks.iter().for_each(|sink| sink.finish(self.tools.config.drain_timeout));
        }
        live.sinks.into_iter().for_each(Sink::join);
        self.state.metrics.lag(0);
        self.state.guest_memory(0);
        let parks = matches!(ended, Ok(Left::Parked(_)));
        self.state.update(|status| {
            (status.lag, status.partitions, status.parked) = (parks.then_some(0), 0, parks);
        });
    }
}

impl Live {
    /// Begins to let go of partitions.
    fn revoke(&mut self, sources: &[Source], lost: bool) {
        for source in sources {
            if let Some(owned) = self.partitions.remove(source) {
                drop(owned.batches);
                self.runtime.block_on(owned.task.cancel());
            }
        }
        if !lost {
            self.leaving.extend_from_slice(sources);
        }
    }

    /// Acknowledges revokes of which nothing is left in lanes.
    fn let_go(&mut self) -> Result<(), LogError> {
        if self.leaving.is_empty() || self.incarnation.waiting(&self.leaving) > 0 {
            return Ok(());
        }
        let gone = std::mem::take(&mut self.leaving);
        self.incarnation.forget(&gone);
        self.reader.acknowledge(&gone)
    }

    /// Whether more may be fetched. Waits a little for room, then pauses all partitions and goes on polling.
    fn has_room(&mut self, state: &PipelineState, limit: u64) -> Result<bool, LogError> {
        let sources = || self.partitions.keys().copied().collect::<Vec<_>>();
        if state.may_fetch(limit) {
            self.full_since = None;
            if self.paused && state.buffered() < limit / 2 {
                self.reader.resume(&sources())?;
                self.paused = false;
            }
            return Ok(true);
        }
        let since = *self.full_since.get_or_insert_with(Instant::now);
        if self.paused {
            return Ok(true);
        }
        if since.elapsed() < ROOM_WAIT {
            state.wait_for_room(limit, POLL_SOON);
            return Ok(false);
        }
        self.reader.pause(&sources())?;
        self.paused = true;
        Ok(true)
    }
}

/// Errors after which the reader is of no use.
fn ends_reader(code: Code) -> bool {
    matches!(
        code,
        Code::TopicGone | Code::OffsetLost | Code::PositionMoved | Code::LogRefused | Code::LogCorrupt | Code::Fenced
    )
}

/// What is said of a log that does not answer.
pub(super) fn log_away() -> (Code, String) {
    let error = LogError::new(Code::LogUnavailable, "");
    (error.code, public_message(&error))
}

/// What the tenant is told: the log's own words may hold physical names.
fn public_message(error: &LogError) -> String {
    match error.code {
        Code::TopicGone => "a topic of this pipeline is gone; make it again, or apply a manifest without it".to_owned(),
        Code::OffsetLost => {
            "a committed position is no longer in the log; delete the pipeline and apply it again with the start that you want"
                .to_owned()
        }
        Code::PositionMoved => {
            "somebody else moved a committed position of this pipeline; delete the pipeline and apply it again with the start that you want"
                .to_owned()
        }
        Code::StateLost => {
            "the topic that keeps the state of this pipeline is gone; delete the pipeline and apply it again with the start that you want"
                .to_owned()
        }
        Code::StateKeyAway => {
            "the state of this pipeline is sealed, and its worker has no key for it yet; it is being asked for".to_owned()
        }
        Code::StateBroken => {
            "a change of this pipeline's state is not what was written; ask the operator, or delete the pipeline and apply it again"
                .to_owned()
        }
        Code::LogUnavailable => "the log does not answer; it is being tried again".to_owned(),
        code => format!("{}; see `bulkhead explain {code}`", code.title()),
    }
}
