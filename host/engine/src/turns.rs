//! What guests burn in one turn on a thread: for whoever decides who runs next, and must charge it before the call is over.
//!
//! The store is borrowed while a call is under way, so its fuel cannot be read between two turns. But a guest that gives way by itself
//! has burnt one interval, and that can be seen from outside: its future wakes itself. So each such turn is charged with an interval,
//! and when the call ends, the turn that ended it with what the whole call came to beyond that, which may be less than nothing.
//!
//! Must never: lose what a call came to, or read another thread's.

use crate::meter::YIELD_INTERVAL_FUEL;
use parking_lot::Mutex;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

thread_local! {
    static BURNT: Cell<i64> = const { Cell::new(0) };
}

/// Fuel that guests have burnt on this thread since it was last asked. Less than nothing where earlier turns of a call were charged with too
/// much.
pub fn take_burnt() -> i64 {
    BURNT.take()
}

fn burn(fuel: i64) {
    BURNT.set(BURNT.get().saturating_add(fuel));
}

/// The turns of one call.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Charged already.
    charged: AtomicU64,
}

/// Wakes the task, and notes that it was woken.
#[derive(Default)]
struct Spy {
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Spy {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let task = self.task.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Turns {
    /// Charges each turn in which the call gave way by itself.
    pub(crate) async fn watch<T>(&self, call: impl Future<Output = T>) -> T {
        let spy = Arc::new(Spy::default());
        let waker = Waker::from(spy.clone());
        let mut call = pin!(call);
        poll_fn(|context| {
            let mut task = spy.task.lock();
            match &mut *task {
                Some(task) => task.clone_from(context.waker()),
                None => *task = Some(context.waker().clone()),
            }
            drop(task);
            spy.woken.store(false, Ordering::Release);
            let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_pending() && spy.woken.load(Ordering::Acquire) {
                self.charged.fetch_add(YIELD_INTERVAL_FUEL, Ordering::Relaxed);
                burn(YIELD_INTERVAL_FUEL as i64);
            }
            polled
        })
        .await
    }

    /// What is charged so far: all that is known of a start that was given up, whose store went with it.
    pub(crate) fn charged(&self) -> u64 {
        self.charged.load(Ordering::Relaxed)
    }

    /// The call is over, however it ended, and has burnt so much.
    pub(crate) fn end(&self, fuel: u64) {
        let all = i64::try_from(fuel).unwrap_or(i64::MAX);
        burn(all.saturating_sub_unsigned(self.charged()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    #[tokio::test]
    async fn each_turn_is_charged_and_the_last_settles_the_sum() {
        take_burnt();
        let turns = Turns::default();
        let mut seen = Vec::new();
        let mut left = 3;
        let call = poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        });
        let mut call = pin!(turns.watch(call));
        let done = poll_fn(|context| {
            let polled = call.as_mut().poll(context);
            seen.push(take_burnt());
            polled
        });
        done.await;
        let interval = YIELD_INTERVAL_FUEL as i64;
        assert_eq!(seen, [interval, interval, interval, 0]);
        turns.end(2 * YIELD_INTERVAL_FUEL + 7);
        assert_eq!(take_burnt(), 7 - interval, "the whole call is what it burnt");
    }

    #[tokio::test]
    async fn a_call_that_waits_for_others_has_burnt_nothing_by_that() {
        take_burnt();
        let turns = Turns::default();
        // A wait that something else ends is what is looked at.
        turns.watch(tokio::time::sleep(std::time::Duration::from_millis(5))).await;
        assert_eq!(take_burnt(), 0);
        turns.end(5);
        assert_eq!(take_burnt(), 5);
    }
}
