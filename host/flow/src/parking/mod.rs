//! Pipelines with nothing to do: each is a row here, without a thread, a consumer, an instance or a buffer.
//!
//! A pipeline parks where all its partitions, whichever worker owns them, are committed up to their ends and nothing of it is on its way. Its row
//! holds these ends. One thread, the [`watch`]er, compares them with what the log says, for all rows together: at once where
//! the log tells of records, else about once a second. Any difference wakes the pipeline, which is a start as every other: it joins its
//! group and goes on from the committed positions, so a wake in vain costs work and nothing else. How many start at one time is the
//! [`gate`]'s care.
//!
//! Where several workers run the same pipelines, each pipeline is one worker's to look after, by its [slot](slots): that one watches its row and
//! joins first. On the others it is a row that [stands by](standby): it joins where the owner needs help, or seems to be gone, and a record
//! wakes one worker, not all. When slots move, the new owner compares rows with the log and wakes what is not done; who is awake goes
//! on until it parks.
//! Must never: say where a pipeline goes on; that is the log's alone.

pub(crate) mod gate;
mod rows;
pub(crate) mod slots;
mod standby;
mod watch;

pub(crate) use gate::{Gate, Turn};
pub(crate) use rows::Row;

use crate::config::FlowConfig;
use bulkhead_core::scope::WorkerScope;
use bulkhead_log::{Changes, Log};
use parking_lot::Mutex;
use rows::Rows;
use slots::{Owned, Slots};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// See the module's documentation.
pub(crate) struct Parking {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// None where this worker looks after all pipelines.
    slots: Mutex<Option<Slots>>,
    pub(crate) gate: Arc<Gate>,
}

/// What the watcher's thread shares with those who park.
struct Shared {
    log: Arc<dyn Log>,
    config: Arc<FlowConfig>,
    rows: Mutex<Rows>,
    changes: Arc<Changes>,
    stop: AtomicBool,
}

impl Parking {
    /// Starts the watcher.
    ///
    /// # Panics
    /// Where the system gives no thread.
    pub(crate) fn start(log: Arc<dyn Log>, config: Arc<FlowConfig>, worker: &WorkerScope) -> Self {
        let gate = Arc::new(Gate::new(config.starts_at_once));
        let shares = config.help_lag_records > 0;
        let owned = if shares { Owned::Unknown } else { Owned::All };
        let shared = Arc::new(Shared {
            log,
            config,
            rows: Mutex::new(Rows::new(owned)),
            changes: Arc::default(),
            stop: AtomicBool::new(false),
        });
        let watching = shared.clone();
        let thread = std::thread::Builder::new().name("parking".to_owned()).spawn(move || watching.run());
        let slots = shares.then(|| Slots::start(shared.clone(), worker.clone()));
        let thread = Mutex::new(Some(thread.expect("the system gives a thread")));
        Self { shared, thread, slots: Mutex::new(slots), gate }
    }

    /// Shares the slots with the workers of this fleet from now on.
    pub(crate) fn follow(&self, fleet: &str) {
        if let Some(slots) = &*self.slots.lock() {
            slots.follow(fleet);
        }
    }

    /// Whether this worker knows which slots are its own.
    pub(crate) fn knows_slots(&self) -> bool {
        self.shared.rows.lock().knows_slots()
    }

    /// Whether pipelines of this slot are this worker's to look after.
    pub(crate) fn owns(&self, slot: i32) -> bool {
        self.shared.rows.lock().owns(slot)
    }

    /// Watches for the pipeline from now on. It is woken at once where the ends are no longer the row's. Gives whether it is this worker's to
    /// look after.
    pub(crate) fn add(&self, row: Row) -> bool {
        let owned = self.shared.rows.lock().add(row, self.shared.config.keep_positions_every);
        self.shared.changes.nudge();
        owned
    }

    /// Watches no more for the pipeline of this number.
    pub(crate) fn remove(&self, pipeline: u64) {
        self.shared.rows.lock().remove(pipeline);
    }

    /// Lets go of the slots and ends the watcher. Nothing wakes any more.
    pub(crate) fn stop(&self) {
        drop(self.slots.lock().take());
        self.shared.stop.store(true, Ordering::Release);
        self.shared.changes.nudge();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the watcher of parked pipelines panicked");
        }
    }
}

impl Shared {
    /// These slots are this worker's from now on.
    fn own(&self, owned: Owned) {
        if self.rows.lock().own(owned) {
            self.changes.nudge();
        }
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        // Who is the last to hold it may be the watcher's own wake.
        self.shared.stop.store(true, Ordering::Release);
        self.shared.changes.nudge();
    }
}
