//! Topics that a log says have changed, for one thread that waits for any of them.
//!
//! Must never: lose a name between the look and the wait.

use bulkhead_core::scope::PhysicalTopic;
use parking_lot::{Condvar, Mutex};
use std::time::Instant;

/// See the module's documentation, and [`crate::Log::tell`].
#[derive(Debug, Default)]
pub struct Changes {
    state: Mutex<State>,
    condvar: Condvar,
}

#[derive(Debug, Default)]
struct State {
    topics: Vec<PhysicalTopic>,
    nudged: bool,
}

impl Changes {
    pub(crate) fn push(&self, topic: PhysicalTopic) {
        self.state.lock().topics.push(topic);
        self.condvar.notify_one();
    }

    /// Makes the wait that is under way, or the next one, return.
    pub fn nudge(&self) {
        self.state.lock().nudged = true;
        self.condvar.notify_one();
    }

    /// The topics that have changed since the last call. Waits for one, or for a nudge, until this time where there is one.
    pub fn wait(&self, until: Option<Instant>) -> Vec<PhysicalTopic> {
        let mut state = self.state.lock();
        while state.topics.is_empty() && !state.nudged {
            match until {
                None => self.condvar.wait(&mut state),
                Some(until) => {
                    if self.condvar.wait_until(&mut state, until).timed_out() {
                        break;
                    }
                }
            }
        }
        state.nudged = false;
        std::mem::take(&mut state.topics)
    }
}
