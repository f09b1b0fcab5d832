//! Appends lines: one transaction for all that wait for the same chain.
//!
//! A request puts its line into the chain's queue and asks for the turn. Who gets the turn appends all that wait; the others find theirs
//! done when it comes to them. So a chain has one transaction at a time, a line is durable before its request goes on, and a busy tenant
//! costs fewer transactions than requests.
//! Must never: say that a line was written which is not durable, or lose another's line because its own request went away.

use super::line::{Chain, Draft, Place};
use crate::problem::Problem;
use crate::store::Store;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, oneshot};

/// Lines of one transaction at most.
const TOGETHER_MAX: usize = 256;

/// See the module's documentation. Clones share the queues.
#[derive(Clone)]
pub(crate) struct Writer {
    store: Arc<Store>,
    queues: Arc<Mutex<HashMap<Chain, Arc<Queue>>>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Vec<Waiting>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Waiting {
    draft: Draft,
    done: oneshot::Sender<Written>,
}

/// Where the line is now; `None` where its tenant is not there, and so has no chain.
type Written = Result<Option<Place>, Problem>;

impl Writer {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, queues: Arc::default() }
    }

    /// Appends a line; it is durable when this returns. `None` where the tenant is not there.
    pub(crate) async fn append(&self, chain: &Chain, draft: Draft) -> Written {
        let (done, mut written) = oneshot::channel();
        let queue = self.queues.lock().entry(chain.clone()).or_default().clone();
        queue.waiting.lock().push(Waiting { draft, done });
        let turn = tokio::select! {
            biased;
            written = &mut written => return written.unwrap_or_else(|_| Err(lost())),
            turn = queue.turn.clone().lock_owned() => turn,
        };
        // In a task of its own, since others' lines are in it: it takes as long as its transaction, and no more.
        tokio::spawn(self.clone().commit(chain.clone(), queue, turn));
        written.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Appends a line that nobody waits for, in the order in which these calls come.
    pub(crate) fn append_later(&self, chain: Chain, draft: Draft) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (done, written) = oneshot::channel();
        let queue = self.queues.lock().entry(chain.clone()).or_default().clone();
        queue.waiting.lock().push(Waiting { draft, done });
        let writer = self.clone();
        runtime.spawn(async move {
            let turn = queue.turn.clone().lock_owned().await;
            writer.commit(chain, queue, turn).await;
            if let Ok(Err(problem)) = written.await {
                tracing::error!(code = %problem.code, cause = problem.cause, "a line of the audit was not written");
            }
        });
    }

    async fn commit(self, chain: Chain, queue: Arc<Queue>, turn: OwnedMutexGuard<()>) {
        loop {
            let together: Vec<_> = {
                let mut waiting = queue.waiting.lock();
                let together = waiting.len().min(TOGETHER_MAX);
                waiting.drain(..together).collect()
            };
            if together.is_empty() {
                break;
            }
            let (drafts, answers): (Vec<_>, Vec<_>) = together.into_iter().map(|line| (line.draft, line.done)).unzip();
            let written = self.store.append_audit(&chain, &drafts).await;
            for (i, answer) in answers.into_iter().enumerate() {
                let place = written.as_ref().map(|places| places.as_ref().map(|places| places[i].clone()));
                // Who asked may be gone; the line stays.
                let _gone = answer.send(place.map_err(Problem::clone));
            }
        }
        drop(turn);
        self.forget(&chain, &queue);
    }

    /// Lets the queue of a chain go that nobody uses, so that there are not more queues than busy chains.
    fn forget(&self, chain: &Chain, queue: &Arc<Queue>) {
        let mut queues = self.queues.lock();
        // Here and in the map: whoever else has it is about to use it.
        if Arc::strong_count(queue) == 2 && queue.waiting.lock().is_empty() {
            queues.remove(chain);
        }
    }
}

fn lost() -> Problem {
    Problem::internal("the task that writes the audit ended early")
}
