//! The wall deadline of a call: how long a guest may take, without what it waits for buckets.
//!
//! A bucket that is slow is not the guest's doing, so its time is taken out; each wait has a bound of its own.
//! Must never: let a guest that sleeps by itself go on.

use parking_lot::Mutex;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a deadline is looked at while a wait moves it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Time that the call under way has waited for buckets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(Arc<Mutex<Waited>>);

#[derive(Debug, Default)]
struct Waited {
    ended: Duration,
    under_way: Option<Instant>,
}

/// A wait that ends when this is dropped.
pub(crate) struct Waiting(Waits);

impl Waits {
    /// A wait begins. A guest waits for one thing at a time.
    pub(crate) fn begin(&self) -> Waiting {
        self.0.lock().under_way = Some(Instant::now());
        Waiting(self.clone())
    }

    fn forget(&self) {
        *self.0.lock() = Waited::default();
    }

    fn total(&self) -> Duration {
        let waited = self.0.lock();
        waited.ended + waited.under_way.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waited = self.0.0.lock();
        if let Some(since) = waited.under_way.take() {
            waited.ended += since.elapsed();
        }
    }
}

/// Runs one call for at most `deadline`, waits for buckets left out. `None` where it takes longer.
pub(crate) async fn within<T>(deadline: Duration, waits: &Waits, call: impl Future<Output = T>) -> Option<T> {
    waits.forget();
    let started = Instant::now();
    let mut call = pin!(call);
    let mut left = deadline;
    loop {
        if let Ok(done) = tokio::time::timeout(left, &mut call).await {
            return Some(done);
        }
        let spent = started.elapsed().saturating_sub(waits.total());
        left = deadline.checked_sub(spent).filter(|left| !left.is_zero())?.max(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn what_a_call_waits_for_buckets_is_not_its_own_time() {
        let waits = Waits::default();
        let call = async {
            for _ in 0..3 {
                let _waiting = waits.begin();
                tokio::time::sleep(DEADLINE).await;
            }
            7
        };
        assert_eq!(within(DEADLINE, &waits, call).await, Some(7));
        let sleeper = async {
            drop(waits.begin());
            std::future::pending::<()>().await;
        };
        assert_eq!(within(DEADLINE, &waits, sleeper).await, None);
    }
}
