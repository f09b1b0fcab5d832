//! The fair queue: who runs next on the executor threads.
//!
//! Ready work waits per tenant, and [`rounds`] decides whose turn it is, by the fuel that each has burnt and by weight. A guest that uses up
//! its slice comes back here, behind its own tenant's other work; so one with a thousand long batches is never in the way of one with a
//! single short one. Each tenant's share and waits are series.
//! Must never: let the length of one tenant's queue matter to another.

mod rounds;
mod series;

use async_task::Runnable;
use bulkhead_core::name::TenantId;
use parking_lot::{Condvar, Mutex};
pub(crate) use rounds::Spent;
use rounds::{Rounds, Turn};
pub(crate) use series::{TenantSeries, TurnSeries};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct FairQueue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    rounds: Rounds<Ready>,
    closed: bool,
}

/// Work that waits for its turn.
struct Ready {
    work: Runnable,
    since: Instant,
    series: Arc<TurnSeries>,
}

impl FairQueue {
    /// Takes over what tenants weigh; those that are not named weigh as usual.
    pub(crate) fn weigh(&self, weights: BTreeMap<TenantId, u64>) {
        self.state.lock().rounds.weigh(weights);
    }

    /// Puts work behind its tenant's other work. After [`FairQueue::close`] the work is dropped.
    pub(crate) fn push(&self, tenant: &TenantId, work: Runnable, series: &Arc<TurnSeries>) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return;
        }
        state.rounds.push(tenant, Ready { work, since: Instant::now(), series: series.clone() });
        drop(state);
        self.ready.notify_one();
    }

    /// Runs the next work, waiting for some; `run` says what it came to. False after [`FairQueue::close`].
    pub(crate) fn run_next(&self, run: impl FnOnce(Runnable) -> Spent) -> bool {
        let Some(Turn { tenant, work: Ready { work, since, series }, advance }) = self.pop() else { return false };
        series.waited(since.elapsed());
        let cost = run(work).cost();
        series.charged(cost);
        self.state.lock().rounds.ended(&tenant, advance, cost);
        true
    }

    fn pop(&self) -> Option<Turn<Ready>> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(turn) = state.rounds.next() {
                return Some(turn);
            }
            self.ready.wait(&mut state);
        }
    }

    /// Ends every [`FairQueue::run_next`] and drops what waits.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.closed = true;
            state.rounds.clear()
        };
        self.ready.notify_all();
        // Dropping work can wake other work, which calls `push`: not under the lock.
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_ends_whoever_waits_for_work() {
        let queue = FairQueue::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.run_next(|_| Spent::default()));
            queue.close();
            assert!(!waiting.join().unwrap());
        });
    }
}
