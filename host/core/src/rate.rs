//! A token bucket that takes what was used after the fact.
//!
//! What a batch costs is known when it has run. So whoever has tokens left may run, and what that cost beyond them is owed: the next one waits
//! until it is paid. Over time nobody gets more than the rate, whatever the size of a batch, and nothing is ever refused.
//! Must never: forget a debt, or let more be saved up than the burst.

use std::time::{Duration, Instant};

/// See the module's documentation.
#[derive(Debug)]
pub struct RateBucket {
    /// Tokens a second.
    rate: f64,
    /// Tokens that may be saved up.
    burst: f64,
    /// What is left; less than nothing is owed.
    level: f64,
    at: Instant,
}

impl RateBucket {
    /// A full one: `rate` tokens come in a second, and `burst` may be saved up.
    pub fn new(now: Instant, rate: f64, burst: f64) -> Self {
        Self { rate, burst, level: burst, at: now }
    }

    /// From now on it fills at another rate. What was saved up beyond the new burst is gone; what is owed stays.
    pub fn set(&mut self, now: Instant, rate: f64, burst: f64) {
        self.fill(now);
        // Who was not over the old burst must not wait for the difference to a larger one.
        let spare = self.burst - self.level;
        (self.rate, self.burst) = (rate, burst);
        self.level = if spare <= 0.0 { burst } else { self.level.min(burst) };
    }

    /// Takes what was used.
    pub fn take(&mut self, now: Instant, used: u64) {
        self.fill(now);
        self.level -= used as f64;
    }

    /// How long it takes until nothing is owed; nothing where nothing is.
    pub fn wait(&mut self, now: Instant) -> Duration {
        self.fill(now);
        if self.level >= 0.0 {
            return Duration::ZERO;
        }
        // At least a millisecond, so that rounding makes nobody spin.
        Duration::try_from_secs_f64(-self.level / self.rate).unwrap_or(Duration::MAX).max(Duration::from_millis(1))
    }

    /// How much was taken that has not come back yet; more than the burst where some is owed.
    pub fn missing(&mut self, now: Instant) -> u64 {
        self.fill(now);
        (self.burst - self.level) as u64
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.burst);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs batches of `cost` whenever the bucket lets, for so many seconds, and says how much they used.
    fn used_in(seconds: u64, bucket: &mut RateBucket, start: Instant, cost: u64) -> u64 {
        let (mut now, mut used) = (start, 0);
        let end = start + Duration::from_secs(seconds);
        loop {
            now += bucket.wait(now);
            if now >= end {
                return used;
            }
            bucket.take(now, cost);
            used += cost;
        }
    }

    #[test]
    fn whatever_a_batch_costs_the_rate_is_kept_over_time() {
        for cost in [1, 700, 5_000, 40_000] {
            let start = Instant::now();
            let mut bucket = RateBucket::new(start, 1_000.0, 10_000.0);
            let used = used_in(100, &mut bucket, start, cost);
            // The burst, what came in the time, and at most one batch ahead of it.
            assert!((110_000 - cost..=110_000 + cost).contains(&used), "batches of {cost} used {used}");
        }
    }

    #[test]
    fn what_is_saved_up_is_bounded_and_a_debt_outlives_a_change() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut bucket = RateBucket::new(start, 10.0, 100.0);
        bucket.take(at(1_000), 150);
        assert_eq!(bucket.wait(at(1_000)), Duration::from_secs(5));
        bucket.set(at(1_000), 5.0, 50.0);
        assert_eq!(bucket.wait(at(1_000)), Duration::from_secs(10), "half the rate takes twice as long");
        assert_eq!(bucket.wait(at(1_010)), Duration::ZERO);
        bucket.set(at(1_010), 1_000.0, 10.0);
        bucket.take(at(2_000), 20);
        assert_eq!(bucket.wait(at(2_000)), Duration::from_millis(10), "no more than the burst was saved");
        let mut rested = RateBucket::new(start, 1.0, 10.0);
        rested.set(start, 1.0, 1_000.0);
        rested.take(start, 1_000);
        assert_eq!(rested.wait(start), Duration::ZERO, "who was full is full of the larger one");
    }
}
