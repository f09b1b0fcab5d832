//! One pipeline on this worker: a thread that owns its membership in the consumer group, and a task for each owned partition.
//!
//! [`source`] is the thread, [`partition`] the tasks with their [`ticks`], [`state`] what they share with the lanes. A pipeline with
//! nothing to do has no thread: it is [parked](crate::parking), or paused, and begins again where an order or a record says so.
//! Must never: run two incarnations of one pipeline at once.

mod park;
pub(crate) mod partition;
pub(crate) mod source;
mod stand_by;
pub(crate) mod state;
pub(crate) mod ticks;

use crate::flow::Tools;
use crate::metrics::PipelineMetrics;
use crate::parking::{Row, Turn, slots};
use bulkhead_core::assignment::{Phase, PipelineAssignment, PipelineReport};
use bulkhead_core::scope::PhysicalTopic;
use parking_lot::{Condvar, Mutex};
use state::PipelineState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Each input with the ends up to which all of it is committed.
pub(crate) type Ends = Box<[(PhysicalTopic, Box<[i64]>)]>;

/// A pipeline that this worker has been told to run.
pub(crate) struct Pipeline {
    /// Never used twice in this process.
    pub(crate) number: u64,
    /// Which worker looks after it: the owner of this.
    pub(crate) slot: i32,
    pub(crate) state: Arc<PipelineState>,
    orders: Arc<Orders>,
    tools: Arc<Tools>,
    body: Mutex<Body>,
    /// It has no thread, and its report stays as it is.
    at_rest: AtomicBool,
    /// A report of it was given since it came to rest.
    told: AtomicBool,
    /// It was woken to commit its positions again.
    keep: AtomicBool,
    /// It was woken because whoever looks after it needs help.
    helps: AtomicBool,
}

/// What a pipeline is, for this process.
enum Body {
    /// Waits for its turn to begin.
    Waiting,
    Running(JoinHandle<()>),
    /// Waits in the watcher's rows for a record, or for an order.
    Parked,
    /// Waits for an order.
    Resting,
    Ended,
}

/// What the source thread has been told last.
pub(crate) struct Orders {
    current: Mutex<Order>,
    changed: Condvar,
}

/// See [`Orders`].
#[derive(Clone)]
pub(crate) struct Order {
    /// Rises with every change.
    pub(crate) number: u64,
    pub(crate) assignment: Arc<PipelineAssignment>,
    pub(crate) stop: bool,
}

impl Orders {
    pub(crate) fn current(&self) -> Order {
        self.current.lock().clone()
    }

    fn give(&self, change: impl FnOnce(&mut Order)) {
        let mut order = self.current.lock();
        change(&mut order);
        order.number += 1;
        self.changed.notify_all();
    }

    /// Waits until the order is newer than `number`, for at most `timeout` where there is one.
    pub(crate) fn wait(&self, number: u64, timeout: Option<Duration>) {
        let until = timeout.map(|timeout| std::time::Instant::now() + timeout);
        let mut order = self.current.lock();
        while order.number == number {
            match until {
                None => self.changed.wait(&mut order),
                Some(until) => {
                    if self.changed.wait_until(&mut order, until).timed_out() {
                        return;
                    }
                }
            }
        }
    }
}

impl Pipeline {
    /// A pipeline that begins as soon as it is its turn.
    pub(crate) fn start(assignment: PipelineAssignment, tools: &Arc<Tools>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = assignment.key.clone();
        let state = Arc::new(PipelineState::new(
            key.clone(),
            assignment.incarnation.clone(),
            Arc::new(PipelineMetrics::new(tools.metrics.clone(), key.clone())),
            (tools.tenants.get(&key.tenant), tools.lanes.shared(&key)),
        ));
        let order = Order { number: 1, assignment: Arc::new(assignment), stop: false };
        let pipeline = Arc::new(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            slot: slots::slot_of(&key),
            state,
            orders: Arc::new(Orders { current: Mutex::new(order), changed: Condvar::new() }),
            tools: tools.clone(),
            body: Mutex::new(Body::Waiting),
            at_rest: AtomicBool::new(false),
            told: AtomicBool::new(false),
            keep: AtomicBool::new(false),
            helps: AtomicBool::new(false),
        });
        tools.parking.gate.enter(pipeline.clone(), false);
        pipeline
    }

    /// Starts its thread, where it waits for that; gives the turn back where it does no longer.
    ///
    /// # Panics
    /// Where the system gives no thread.
    pub(crate) fn begin(self: &Arc<Self>, turn: Turn) -> Result<(), Turn> {
        let mut body = self.body.lock();
        if !matches!(*body, Body::Waiting) {
            return Err(turn);
        }
        self.state.metrics.show();
        self.tools.tenants.wake(&self.state.key.tenant);
        let source = source::SourceThread::new(self.clone(), self.tools.clone());
        let name = format!("source-{}", self.state.key.pipeline);
        let thread = std::thread::Builder::new().name(name).spawn(move || source.run(turn));
        *body = Body::Running(thread.expect("the system gives a thread"));
        Ok(())
    }

    /// Tells it what to run from now on. The new order takes over at a batch boundary; one that changes nothing but what is known of
    /// committed positions is no order, and waits for the next start.
    pub(crate) fn assign(self: &Arc<Self>, assignment: PipelineAssignment) {
        let mut order = self.orders.current.lock();
        let now = order.assignment.clone();
        let told = |a: &PipelineAssignment| (a.revision, a.paused, a.held.clone(), a.starts);
        // Secrets and keys that changed need new instances, as a revision does.
        let lent = now.secrets == assignment.secrets && now.key_version == assignment.key_version;
        let same = told(&now) == told(&assignment) && now.spec == assignment.spec && lent;
        // Positions went, with a topic perhaps that is there again: what it was parked for is no longer so.
        let lost = now.initialised.iter().any(|(topic, had)| {
            !had.iter().all(|partition| assignment.initialised.get(topic).is_some_and(|has| has.contains(partition)))
        });
        order.assignment = Arc::new(assignment);
        if !same {
            order.number += 1;
            self.orders.changed.notify_all();
        }
        drop(order);
        if !same || lost {
            self.rouse(false);
        }
    }

    /// Tells it to finish what is under way and leave its group.
    pub(crate) fn stop(&self) {
        self.orders.give(|order| order.stop = true);
        let mut body = self.body.lock();
        if !matches!(*body, Body::Running(_)) {
            if matches!(std::mem::replace(&mut *body, Body::Ended), Body::Parked) {
                self.tools.parking.remove(self.number);
            }
            self.at_rest.store(false, Ordering::Release);
        }
    }

    /// Waits for the end that [`Pipeline::stop`] began.
    pub(crate) fn join(&self) {
        let body = std::mem::replace(&mut *self.body.lock(), Body::Ended);
        if let Body::Running(thread) = body {
            if thread.join().is_err() {
                tracing::error!(pipeline = %self.state.key.pipeline, "a source thread panicked");
            }
            self.tools.tenants.rest(&self.state.key.tenant);
        }
        self.state.metrics.hide();
    }

    /// Its source thread, which is the caller and ends now, has found nothing to do. Not where there is an order that it has not seen.
    fn park(self: &Arc<Self>, order: u64, ends: Ends) -> bool {
        self.settle(order, Body::Parked, || {
            self.state.uses.flush();
            self.watch(Row { pipeline: self.clone(), ends, restless: false });
        })
    }

    /// Its source thread, which is the caller and ends now, waits for an order. Not where there is one that it has not seen.
    fn rest(&self, order: u64) -> bool {
        self.settle(order, Body::Resting, || ())
    }

    fn settle(&self, order: u64, to: Body, settled: impl FnOnce()) -> bool {
        let mut body = self.body.lock();
        if self.orders.current.lock().number != order {
            return false;
        }
        *body = to;
        self.tools.tenants.rest(&self.state.key.tenant);
        settled();
        self.told.store(false, Ordering::Release);
        self.at_rest.store(true, Ordering::Release);
        true
    }

    /// Begins it again, where it is parked or rests.
    fn rouse(self: &Arc<Self>, woken: bool) {
        let mut body = self.body.lock();
        match *body {
            Body::Parked => self.tools.parking.remove(self.number),
            Body::Resting => {}
            Body::Waiting | Body::Running(_) | Body::Ended => return,
        }
        *body = Body::Waiting;
        self.at_rest.store(false, Ordering::Release);
        drop(body);
        self.tools.parking.gate.enter(self.clone(), woken);
    }

    /// Something came for it.
    pub(crate) fn wake(self: &Arc<Self>) {
        self.rouse(true);
    }

    /// Its positions are to be committed again, by a member of its group as always.
    pub(crate) fn keep_positions(self: &Arc<Self>) {
        self.keep.store(true, Ordering::Release);
        self.rouse(false);
    }

    /// While it is parked it cannot be known whether there is something to do; or it can again.
    pub(crate) fn log_is_away(&self, away: bool) {
        let body = self.body.lock();
        if matches!(*body, Body::Parked) {
            match away {
                true => self.state.say(Phase::Backoff, Some(source::log_away())),
                false => self.state.say(Phase::Running, None),
            }
            self.told.store(false, Ordering::Release);
        }
    }

    /// How it fares.
    pub(crate) fn report(&self) -> PipelineReport {
        let mut report = self.state.report();
        if matches!(&*self.body.lock(), Body::Running(thread) if thread.is_finished()) {
            report.phase = Phase::Failed;
        }
        report
    }

    /// How it fares, unless it is at rest and that was said; all the same where `complete`.
    pub(crate) fn news(&self, complete: bool) -> Option<PipelineReport> {
        let at_rest = self.at_rest.load(Ordering::Acquire);
        // Said before it is looked at: what changes meanwhile is said with the next.
        if self.told.swap(at_rest, Ordering::AcqRel) && at_rest && !complete {
            return None;
        }
        Some(self.report())
    }
}
