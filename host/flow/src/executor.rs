//! The host's own executor: threads that poll guests in the order that the fair queue says.
//!
//! A guest yields about every 0.1 ms of fuel, which puts it back in the queue; so a thread is never held by one tenant for
//! longer than a slice and the host's own copying. Threads enter a tokio context only so that WASI clocks can set timers.
//! Must never: block on anything but the queue.

use crate::fair::FairQueue;
use async_task::Task;
use bulkhead_core::name::TenantId;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime::Handle;

/// See the module's documentation.
pub(crate) struct Executor {
    queue: Arc<FairQueue>,
    threads: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

impl Executor {
    /// Starts `threads` threads.
    ///
    /// # Panics
    /// Where the system gives no thread.
    pub(crate) fn start(threads: usize, runtime: &Handle) -> Self {
        let queue = Arc::new(FairQueue::default());
        let threads = (0..threads.max(1))
            .map(|i| {
                let (queue, runtime) = (queue.clone(), runtime.clone());
                let run = move || {
                    let _context = runtime.enter();
                    while let Some(work) = queue.pop() {
                        // The task is over then, and what it owns is dropped, which its pipeline notices. Others go on.
                        if catch_unwind(AssertUnwindSafe(|| work.run())).is_err() {
                            tracing::error!("a task of the record path panicked");
                        }
                    }
                };
                std::thread::Builder::new().name(format!("guest-{i}")).spawn(run).expect("the system gives a thread")
            })
            .collect();
        Self { queue, threads: parking_lot::Mutex::new(threads) }
    }

    /// Runs a future as `tenant`'s. Dropping the task cancels it.
    pub(crate) fn spawn<F>(&self, tenant: &TenantId, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (queue, tenant) = (self.queue.clone(), tenant.clone());
        let (work, task) = async_task::spawn(future, move |work| queue.push(&tenant, work));
        work.schedule();
        task
    }

    /// Ends the threads. Tasks that are still there never run again.
    pub(crate) fn stop(&self) {
        self.queue.close();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("an executor thread panicked");
            }
        }
    }
}
