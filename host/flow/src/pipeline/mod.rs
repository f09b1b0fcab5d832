//! One pipeline on this worker: a thread that owns its membership in the consumer group, and a task for each owned partition.
//!
//! [`source`] is the thread, [`partition`] the tasks with their [`ticks`], [`state`] what they share with the lanes.
//! Must never: run two incarnations of one pipeline at once.

pub(crate) mod partition;
pub(crate) mod source;
pub(crate) mod state;
pub(crate) mod ticks;

use crate::flow::Tools;
use bulkhead_core::assignment::{Phase, PipelineAssignment, PipelineReport};
use parking_lot::{Condvar, Mutex};
use state::PipelineState;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A pipeline that this worker has been told to run.
pub(crate) struct Pipeline {
    pub(crate) state: Arc<PipelineState>,
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
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
    /// Starts the pipeline's thread.
    ///
    /// # Panics
    /// Where the system gives no thread.
    pub(crate) fn start(assignment: PipelineAssignment, tools: &Arc<Tools>) -> Self {
        let key = assignment.key.clone();
        let state = Arc::new(PipelineState::new(
            key.clone(),
            assignment.incarnation.clone(),
            tools.metrics.pipeline(&key),
            (tools.tenants.get(&key.tenant), tools.lanes.shared(&key)),
        ));
        let order = Order { number: 1, assignment: Arc::new(assignment), stop: false };
        let orders = Arc::new(Orders { current: Mutex::new(order), changed: Condvar::new() });
        let source = source::SourceThread::new(state.clone(), orders.clone(), tools.clone());
        let name = format!("source-{}", key.pipeline);
        let thread =
            std::thread::Builder::new().name(name).spawn(move || source.run()).expect("the system gives a thread");
        Self { state, orders, thread: Some(thread) }
    }

    /// Tells it what to run from now on. The new order takes over at a batch boundary; one that changes nothing but what is known of
    /// committed positions is no order, and waits for the next start.
    pub(crate) fn assign(&self, assignment: PipelineAssignment) {
        let mut order = self.orders.current.lock();
        let now = &order.assignment;
        let told = |a: &PipelineAssignment| (a.revision, a.paused, a.held.clone(), a.starts);
        // Secrets and keys that changed need new instances, as a revision does.
        let lent = now.secrets == assignment.secrets && now.key_version == assignment.key_version;
        let same = told(now) == told(&assignment) && now.spec == assignment.spec && lent;
        order.assignment = Arc::new(assignment);
        if !same {
            order.number += 1;
            self.orders.changed.notify_all();
        }
    }

    /// Tells it to finish what is under way and leave its group.
    pub(crate) fn stop(&self) {
        self.orders.give(|order| order.stop = true);
    }

    /// Waits for the end that [`Pipeline::stop`] began.
    pub(crate) fn join(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(pipeline = %self.state.key.pipeline, "a source thread panicked");
        }
        self.state.metrics.remove();
    }

    /// How it fares.
    pub(crate) fn report(&self) -> PipelineReport {
        let mut report = self.state.report();
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            report.phase = Phase::Failed;
        }
        report
    }
}
