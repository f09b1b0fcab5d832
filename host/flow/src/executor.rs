//! The host's own executor: threads that poll guests in the order that the fair queue says.
//!
//! A guest yields about every 0.1 ms of fuel, which puts it back in the queue; so a thread is never held by one tenant for
//! longer than a slice and the host's own copying. Threads enter a tokio context only so that WASI clocks can set timers.
//! Must never: block on anything but the queue.

use crate::fair::{FairQueue, Spent, TenantSeries};
use async_task::Task;
use bulkhead_core::name::TenantId;
use bulkhead_core::tenant_limits::{WorkerLimits, usual_weight};
use bulkhead_engine::take_burnt;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime::Handle;

/// See the module's documentation.
pub(crate) struct Executor {
    queue: Arc<FairQueue>,
    series: TenantSeries,
    threads: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

impl Executor {
    /// Starts `threads` threads.
    ///
    /// # Panics
    /// Where the system gives no thread.
    pub(crate) fn start(threads: usize, runtime: &Handle, series: TenantSeries) -> Self {
        let queue = Arc::new(FairQueue::default());
        let threads = (0..threads.max(1))
            .map(|i| {
                let (queue, runtime) = (queue.clone(), runtime.clone());
                let run = move || {
                    let _context = runtime.enter();
                    while queue.run_next(|work| {
                        let began = busy_ns();
                        // The task is over then, and what it owns is dropped, which its pipeline notices. Others go on.
                        if catch_unwind(AssertUnwindSafe(|| work.run())).is_err() {
                            tracing::error!("a task of the record path panicked");
                        }
                        Spent { fuel: take_burnt(), busy_ns: busy_ns() - began }
                    }) {}
                };
                std::thread::Builder::new().name(format!("guest-{i}")).spawn(run).expect("the system gives a thread")
            })
            .collect();
        Self { queue, series, threads: parking_lot::Mutex::new(threads) }
    }

    /// Takes over what tenants weigh. Those that are not named have nothing here.
    pub(crate) fn weigh(&self, tenants: &BTreeMap<TenantId, WorkerLimits>) {
        let unusual = tenants.iter().filter(|(_, limits)| limits.weight != usual_weight());
        self.queue.weigh(unusual.map(|(name, limits)| (name.clone(), limits.weight)).collect());
        self.series.keep(|tenant| tenants.contains_key(tenant));
    }

    /// Runs a future as `tenant`'s. Dropping the task cancels it.
    pub(crate) fn spawn<F>(&self, tenant: &TenantId, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (queue, tenant, series) = (self.queue.clone(), tenant.clone(), self.series.of(tenant));
        let (work, task) = async_task::spawn(future, move |work| queue.push(&tenant, work, &series));
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

/// Nanoseconds of processor time that this thread has had.
fn busy_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
