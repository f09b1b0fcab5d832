//! Lanes: a few transactional producers that all pipelines of a worker share.
//!
//! A transactional producer costs four threads and 60 to 200 ms to start, so pipelines do not have one each: a lane commits the
//! finished batches of several pipelines in one transaction, with the offsets of each one's group. What one tenant's pipeline can
//! do to the others on its lane is bounded: it enters only after checks ([`crate::topics`]), it moves to the quarantine lane at its
//! first abort, where each transaction holds one pipeline, and comes back after a number of clean commits. A busy pipeline gets a
//! lane of its own.
//! Must never: have batches of one pipeline in two lanes at once, or lose their order in a move.

mod busy;
mod outcome;
mod thread;

use crate::config::FlowConfig;
use crate::metrics::Metrics;
use crate::pipeline::state::{Finished, PipelineState};
use crate::topics::Topics;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::code::Code;
use bulkhead_core::scope::WorkerScope;
use bulkhead_log::{Log, LogError};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

/// What sort of pipelines a lane serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    /// All that have no other.
    Shared,
    /// One busy pipeline.
    Own,
    /// Those whose transactions were aborted, one to a transaction.
    Quarantine,
}

/// One lane, as its users see it.
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) kind: LaneKind,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    /// Of an own lane: whose it is.
    tenant: Mutex<Weak<PipelineState>>,
}

#[derive(Default)]
struct Inbox {
    batches: VecDeque<Finished>,
    closing: bool,
    /// Nobody takes from it any more.
    abandoned: bool,
}

impl Lane {
    fn new(name: String, kind: LaneKind) -> Arc<Self> {
        let (inbox, arrived, tenant) = (Mutex::default(), Condvar::new(), Mutex::default());
        Arc::new(Self { name, kind, inbox, arrived, tenant })
    }

    /// Puts a batch behind the others.
    pub(crate) fn send(&self, finished: Finished) {
        let mut inbox = self.inbox.lock();
        if inbox.abandoned {
            drop(inbox);
            return finished.give_up();
        }
        inbox.batches.push_back(finished);
        self.arrived.notify_one();
    }

    /// Gives up all that has arrived and will arrive: the worker is ending.
    fn abandon(&self) {
        let arrived = {
            let mut inbox = self.inbox.lock();
            inbox.abandoned = true;
            std::mem::take(&mut inbox.batches)
        };
        arrived.into_iter().for_each(Finished::give_up);
    }

    /// Takes all that has arrived, waiting until `until` for the first. `None` where the lane is closing and there is nothing.
    fn take(&self, until: Instant) -> Option<VecDeque<Finished>> {
        let mut inbox = self.inbox.lock();
        while inbox.batches.is_empty() {
            if inbox.closing {
                return None;
            }
            if self.arrived.wait_until(&mut inbox, until).timed_out() {
                break;
            }
        }
        Some(std::mem::take(&mut inbox.batches))
    }

    fn is_closing(&self) -> bool {
        self.inbox.lock().closing
    }
}

/// All lanes of a worker.
pub(crate) struct Lanes {
    shared: Vec<Arc<Lane>>,
    own: Vec<Arc<Lane>>,
    quarantine: Arc<Lane>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    fatal: Mutex<Option<LogError>>,
}

/// What a lane's thread works with.
#[derive(Clone)]
pub(crate) struct LaneTools {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) worker: WorkerScope,
    pub(crate) config: Arc<FlowConfig>,
    pub(crate) metrics: Metrics,
    pub(crate) topics: Arc<Topics>,
}

impl Lanes {
    /// Starts the lanes' threads. Producers are opened when there is something to commit.
    ///
    /// # Panics
    /// Where the system gives no thread.
    pub(crate) fn start(tools: &LaneTools) -> Arc<Self> {
        let lanes = |name: &str, kind, count| (0..count).map(|i| Lane::new(format!("{name}-{i}"), kind)).collect();
        let lanes = Arc::new(Self {
            shared: lanes("shared", LaneKind::Shared, tools.config.shared_lanes.max(1)),
            own: lanes("own", LaneKind::Own, tools.config.own_lanes),
            quarantine: Lane::new("quarantine".to_owned(), LaneKind::Quarantine),
            threads: Mutex::default(),
            fatal: Mutex::default(),
        });
        for lane in lanes.all() {
            let thread = thread::LaneThread::new(lane.clone(), lanes.clone(), tools.clone());
            let (lane, all) = (lane.clone(), lanes.clone());
            let name = format!("lane-{}", lane.name);
            let run = move || {
                if catch_unwind(AssertUnwindSafe(|| thread.run())).is_err() {
                    all.end_worker(LogError::new(Code::Internal, format!("the thread of lane {} panicked", lane.name)));
                    lane.abandon();
                }
            };
            let spawned = std::thread::Builder::new().name(name).spawn(run);
            lanes.threads.lock().push(spawned.expect("the system gives a thread"));
        }
        lanes
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.shared.iter().chain(&self.own).chain([&self.quarantine])
    }

    /// The shared lane of a pipeline.
    pub(crate) fn shared(&self, key: &PipelineKey) -> Arc<Lane> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.shared[(hasher.finish() % self.shared.len() as u64) as usize].clone()
    }

    /// The worker cannot go on. The first reason counts.
    fn end_worker(&self, why: LogError) {
        tracing::error!(%why, "this worker has to end");
        self.fatal.lock().get_or_insert(why);
    }

    /// Why the worker cannot go on: another has taken its slot, or a lane is broken.
    pub(crate) fn fatal(&self) -> Option<LogError> {
        self.fatal.lock().clone()
    }

    /// Commits what has arrived and ends the threads.
    pub(crate) fn close(&self) {
        for lane in self.all() {
            lane.inbox.lock().closing = true;
            lane.arrived.notify_all();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a lane's thread panicked");
            }
        }
    }
}
