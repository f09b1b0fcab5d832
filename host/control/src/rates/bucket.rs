//! Token buckets, one for each key, and no more than a bounded number of them.
//!
//! A bucket that was left alone until it is full again says nothing, so it is what goes when there is no room. Where none can go, the keys
//! that have no bucket share one.
//! Must never: forget a bucket that is not full while there is another way.

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Requests a second, and how many at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// A rate; of either number at least 1, and at most what fits.
    pub fn new(per_second: u64, burst: u64) -> Self {
        let whole = |number: u64| NonZeroU32::new(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        Self { per_second: whole(per_second), burst: whole(burst) }
    }

    /// Requests a second.
    pub fn per_second(self) -> u32 {
        self.per_second.get()
    }

    /// Requests at once.
    pub fn burst(self) -> u32 {
        self.burst.get()
    }

    /// So much of it, rounded up.
    pub(super) fn percent(self, percent: u32) -> Self {
        let part = |whole: NonZeroU32| (u64::from(whole.get()) * u64::from(percent)).div_ceil(100);
        Self::new(part(self.per_second), part(self.burst))
    }

    /// How long an empty bucket takes to be full.
    pub(super) fn fills_in(self) -> Duration {
        Duration::from_secs_f64(f64::from(self.burst()) / f64::from(self.per_second()))
    }
}

/// What a bucket says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may go on; so many more may follow at once.
    Go(u32),
    /// There will be room for one after this time. So many were sent in the last second, this one and other refused ones included.
    Wait {
        /// How long.
        wait: Duration,
        /// How many; never fewer than the rate, which is what a refusal means.
        used: u32,
    },
}

/// How many requests were sent in the last second, about: those of the running one, and of the one before as many as would still count if
/// they had come evenly.
#[derive(Debug)]
struct Sent {
    second: Instant,
    now: u32,
    before: u32,
}

impl Sent {
    fn one_more(&mut self, at: Instant) -> u32 {
        const SECOND: Duration = Duration::from_secs(1);
        let past = at.duration_since(self.second);
        if past >= SECOND {
            self.before = if past < SECOND * 2 { self.now } else { 0 };
            (self.second, self.now) = (at - Duration::from_nanos(past.subsec_nanos().into()), 0);
        }
        self.now = self.now.saturating_add(1);
        let still = 1.0 - at.duration_since(self.second).as_secs_f64();
        self.now.saturating_add((f64::from(self.before) * still).round() as u32)
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

#[derive(Debug)]
struct Bucket {
    limiter: Limiter,
    rate: Rate,
    used: Instant,
    sent: Sent,
}

impl Bucket {
    fn new(rate: Rate, now: Instant) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self {
            limiter: RateLimiter::direct(quota).with_middleware(),
            rate,
            used: now,
            sent: Sent { second: now, now: 0, before: 0 },
        }
    }

    fn check(&mut self, now: Instant) -> Verdict {
        self.used = now;
        let sent = self.sent.one_more(now);
        match self.limiter.check() {
            Ok(after) => Verdict::Go(after.remaining_burst_capacity()),
            Err(until) => {
                let wait = until.wait_time_from(self.limiter.clock().now());
                Verdict::Wait { wait, used: sent.max(self.rate.per_second()) }
            }
        }
    }

    /// Whether it must be full by now.
    fn rested(&self, now: Instant) -> bool {
        now.duration_since(self.used) > self.rate.fills_in()
    }
}

/// The buckets of one kind of key.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    max: usize,
    own: Mutex<Own<K>>,
}

#[derive(Debug)]
struct Own<K> {
    buckets: HashMap<K, Bucket>,
    /// Of those that have none.
    shared: Option<Bucket>,
    swept: Option<Instant>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// At most `max` of them.
    pub(super) fn new(max: usize) -> Self {
        Self { max, own: Mutex::new(Own { buckets: HashMap::new(), shared: None, swept: None }) }
    }

    /// Counts one request. A rate that is another than before begins with a full bucket.
    pub(super) fn check(&self, key: &K, rate: Rate) -> Verdict {
        let (now, mut own) = (Instant::now(), self.own.lock());
        if !own.buckets.contains_key(key) {
            own.make_room(self.max, now);
        }
        let own = &mut *own;
        let bucket = if own.buckets.contains_key(key) || own.buckets.len() < self.max {
            own.buckets.entry(key.clone()).or_insert_with(|| Bucket::new(rate, now))
        } else {
            own.shared.get_or_insert_with(|| Bucket::new(rate, now))
        };
        if bucket.rate != rate {
            *bucket = Bucket::new(rate, now);
        }
        bucket.check(now)
    }
}

impl<K: Hash + Eq> Own<K> {
    /// Lets full buckets go where there is no room for one more; at most once a second, since it looks at all of them.
    fn make_room(&mut self, max: usize, now: Instant) {
        let swept = self.swept.is_some_and(|at| now.duration_since(at) < Duration::from_secs(1));
        if self.buckets.len() >= max && !swept {
            self.swept = Some(now);
            self.buckets.retain(|_, bucket| !bucket.rested(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Go(_))
    }

    #[test]
    fn a_burst_goes_and_then_the_wait_is_told() {
        let buckets = Buckets::new(10);
        let rate = Rate::new(1, 3);
        let left: Vec<_> = (0..3).map(|_| buckets.check(&"a", rate)).collect();
        assert_eq!(left, [Verdict::Go(2), Verdict::Go(1), Verdict::Go(0)]);
        let Verdict::Wait { wait, used } = buckets.check(&"a", rate) else { panic!("a fourth went") };
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1) && used >= 1, "{wait:?}, {used}");
        assert!(gone(buckets.check(&"b", rate)), "another's bucket is its own");
    }

    #[test]
    fn what_was_sent_in_the_last_second_slides() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut sent = Sent { second: begin, now: 0, before: 0 };
        assert_eq!((0..10).fold(0, |_, ms| sent.one_more(at(ms))), 10);
        assert_eq!(sent.one_more(at(1_250)), 1 + 8, "three quarters of ten");
        assert_eq!(sent.one_more(at(1_750)), 2 + 3);
        assert_eq!(sent.one_more(at(9_500)), 1, "after a rest");
    }

    #[test]
    fn a_new_rate_holds_from_the_next_request() {
        let buckets = Buckets::new(10);
        assert!(gone(buckets.check(&1, Rate::new(1, 1))));
        assert!(!gone(buckets.check(&1, Rate::new(1, 1))));
        assert_eq!(buckets.check(&1, Rate::new(1, 5)), Verdict::Go(4));
    }

    #[test]
    fn there_are_never_more_buckets_than_allowed_and_a_stranger_does_not_empty_a_known_one() {
        let buckets = Buckets::new(2);
        let slow = Rate::new(1, 2);
        for key in 0..100 {
            buckets.check(&key, slow);
        }
        assert_eq!(buckets.own.lock().buckets.len(), 2);
        assert!(gone(buckets.check(&0, slow)), "one that has a bucket keeps what is in it");
        assert!(!gone(buckets.check(&77, slow)), "those without share one");
    }

    #[test]
    fn full_buckets_go_first() {
        let buckets = Buckets::new(1);
        let rate = Rate::new(1, 2);
        buckets.check(&"rested", rate);
        let mut own = buckets.own.lock();
        own.buckets.get_mut("rested").unwrap().used = Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
        drop(own);
        buckets.check(&"new", rate);
        assert_eq!(buckets.own.lock().buckets.keys().collect::<Vec<_>>(), [&"new"]);
    }

    #[test]
    fn a_part_of_a_rate_is_never_nothing() {
        assert_eq!(Rate::new(1, 1).percent(80), Rate::new(1, 1));
        assert_eq!(Rate::new(500, 1_000).percent(80), Rate::new(400, 800));
        assert_eq!(Rate::new(0, u64::MAX), Rate::new(1, u32::MAX.into()));
    }
}
