//! How a reader that waits learns that something changed.
//!
//! Must never: lose a wake between the look and the wait.

use parking_lot::{Condvar, Mutex};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// One waiting reader. A wake that comes while it does not wait makes its next wait return at once.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    woken: Mutex<bool>,
    condvar: Condvar,
}

impl Waker {
    pub(crate) fn wake(&self) {
        *self.woken.lock() = true;
        self.condvar.notify_one();
    }

    /// Waits for a wake, at most until `deadline`.
    pub(crate) fn wait_until(&self, deadline: Instant) {
        let mut woken = self.woken.lock();
        while !*woken {
            if self.condvar.wait_until(&mut woken, deadline).timed_out() {
                break;
            }
        }
        *woken = false;
    }
}

/// Those who wait for one topic.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Mutex<Vec<Weak<Waker>>>);

impl Wakers {
    pub(crate) fn add(&self, waker: &Arc<Waker>) {
        let mut wakers = self.0.lock();
        wakers.retain(|waker| waker.strong_count() > 0);
        wakers.push(Arc::downgrade(waker));
    }

    /// Wakes all, and forgets those that are gone.
    pub(crate) fn wake(&self) {
        self.0.lock().retain(|waker| {
            waker.upgrade().is_some_and(|waker| {
                waker.wake();
                true
            })
        });
    }
}
