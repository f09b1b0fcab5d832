//! Pipelines with nothing to do: each is a row here, without a thread, a consumer, an instance or a buffer.
//!
//! A pipeline parks where all its partitions, whichever worker owns them, are committed up to their ends and nothing of it is on its way. Its row
//! holds these ends. One thread, the [`watch`]er, compares them with what the log says, for all rows together: at once where
//! the log tells of records, else about once a second. Any difference wakes the pipeline, which is a start as every other: it joins its
//! group and goes on from the committed positions, so a wake in vain costs work and nothing else. How many start at one time is the
//! [`gate`]'s care.
//! Must never: say where a pipeline goes on; that is the log's alone.

pub(crate) mod gate;
mod rows;
mod watch;

pub(crate) use gate::{Gate, Turn};
pub(crate) use rows::Row;

use crate::config::FlowConfig;
use bulkhead_log::{Changes, Log};
use parking_lot::Mutex;
use rows::Rows;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// See the module's documentation.
pub(crate) struct Parking {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
    pub(crate) fn start(log: Arc<dyn Log>, config: Arc<FlowConfig>) -> Self {
        let gate = Arc::new(Gate::new(config.starts_at_once));
        let shared = Arc::new(Shared {
            log,
            config,
            rows: Mutex::default(),
            changes: Arc::default(),
            stop: AtomicBool::new(false),
        });
        let watching = shared.clone();
        let thread = std::thread::Builder::new().name("parking".to_owned()).spawn(move || watching.run());
        Self { shared, thread: Mutex::new(Some(thread.expect("the system gives a thread"))), gate }
    }

    /// Watches for the pipeline from now on. It is woken at once where the ends are no longer the row's.
    pub(crate) fn add(&self, row: Row) {
        self.shared.rows.lock().add(row, self.shared.config.keep_positions_every);
        self.shared.changes.nudge();
    }

    /// Watches no more for the pipeline of this number.
    pub(crate) fn remove(&self, pipeline: u64) {
        self.shared.rows.lock().remove(pipeline);
    }

    /// Ends the watcher. Nothing wakes any more.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.changes.nudge();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the watcher of parked pipelines panicked");
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
