//! The fair queue: who runs next on the executor threads.
//!
//! Ready work waits per tenant, and tenants take turns, so that one with a thousand ready batches waits behind one with a
//! single batch no longer than one slice of fuel. A guest that uses up its slice comes back here, behind its own tenant's other work.
//! The turn is the seam where spending by weight goes: [`FairQueue::pop`] decides it, and nobody else.
//! Must never: let the length of one tenant's queue matter to another.

use async_task::Runnable;
use bulkhead_core::name::TenantId;
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct FairQueue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    /// Work of each tenant that has any.
    waiting: HashMap<TenantId, VecDeque<Runnable>>,
    /// Those tenants, in the order of their turns.
    turns: VecDeque<TenantId>,
    closed: bool,
}

impl FairQueue {
    /// Puts work behind its tenant's other work. After [`FairQueue::close`] the work is dropped.
    pub(crate) fn push(&self, tenant: &TenantId, work: Runnable) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return;
        }
        if let Some(queue) = state.waiting.get_mut(tenant) {
            queue.push_back(work);
        } else {
            state.waiting.insert(tenant.clone(), VecDeque::from([work]));
            state.turns.push_back(tenant.clone());
        }
        self.ready.notify_one();
    }

    /// Takes the next work, waiting for some. `None` after [`FairQueue::close`].
    pub(crate) fn pop(&self) -> Option<Runnable> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(tenant) = state.turns.pop_front() {
                let queue = state.waiting.get_mut(&tenant).expect("a tenant with a turn has a queue");
                let work = queue.pop_front().expect("a tenant with a turn has work");
                if queue.is_empty() {
                    state.waiting.remove(&tenant);
                } else {
                    state.turns.push_back(tenant);
                }
                return Some(work);
            }
            self.ready.wait(&mut state);
        }
    }

    /// Ends every [`FairQueue::pop`] and drops what waits.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.closed = true;
            state.turns.clear();
            std::mem::take(&mut state.waiting)
        };
        self.ready.notify_all();
        // Dropping work can wake other work, which calls `push`: not under the lock.
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// A task that notes `name` when it runs, scheduled for `tenant`.
    fn spawn(queue: &Arc<FairQueue>, tenant: &str, name: String, ran: &Arc<Mutex<Vec<String>>>) {
        let (queue, ran, tenant) = (queue.clone(), ran.clone(), tenant.parse::<TenantId>().unwrap());
        let (work, task) =
            async_task::spawn(async move { ran.lock().push(name) }, move |work| queue.push(&tenant, work));
        work.schedule();
        task.detach();
    }

    #[test]
    fn a_tenant_with_much_work_waits_for_one_with_little() {
        let queue = Arc::new(FairQueue::default());
        let ran = Arc::new(Mutex::new(Vec::new()));
        for i in 0..100 {
            spawn(&queue, "greedy", format!("greedy {i}"), &ran);
        }
        spawn(&queue, "modest", "modest 0".to_owned(), &ran);
        for _ in 0..3 {
            queue.pop().unwrap().run();
        }
        assert_eq!(*ran.lock(), ["greedy 0", "modest 0", "greedy 1"]);
    }

    #[test]
    fn closing_ends_a_waiting_pop() {
        let queue = Arc::new(FairQueue::default());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.pop().is_none());
            queue.close();
            assert!(waiting.join().unwrap());
        });
    }
}
