//! For what a pipeline waited of late, so that its owner is told by which limit it is slowed down, and no longer than it is.
//!
//! Must never: tell of a wait that is long over.

use super::Rate;
use bulkhead_core::assignment::SlowedBy;
use bulkhead_core::tenant_limits::{TenantLimit, WorkerLimits};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Over how long waits are added up.
const WINDOW: Duration = Duration::from_secs(4);
/// The part of the time, in thousandths, below which nobody is told.
const WORTH_TELLING: u32 = 50;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Waits(Mutex<Option<Window>>);

#[derive(Clone, Copy)]
struct Window {
    since: Instant,
    waited: [Duration; Rate::ALL.len()],
    /// What the window before had.
    before: Option<(Rate, u32)>,
}

impl Waits {
    /// A partition has waited.
    pub(crate) fn add(&self, rate: Rate, waited: Duration) {
        let mut window = self.0.lock();
        let window = window.get_or_insert_with(|| Window::new(Instant::now() - waited, None));
        window.waited[rate as usize] += waited;
    }

    /// By what the pipeline is slowed down, which has so many partitions here.
    pub(crate) fn slowed(&self, partitions: u32, limits: &WorkerLimits) -> Option<SlowedBy> {
        let mut window = self.0.lock();
        let now = Instant::now();
        if let Some(old) = window.filter(|window| now.duration_since(window.since) >= WINDOW) {
            let before = old.most(now, partitions);
            // Nothing to tell, and nothing to forget later.
            *window = before.map(|before| Window::new(now, Some(before)));
        }
        let (rate, waiting) = window.as_ref()?.before?;
        let limit = TenantLimit::find(rate.limit()).ok()?;
        let allowed = rate.of(limits);
        Some(SlowedBy { limit: limit.name.to_owned(), allowed, unit: limit.unit.to_string(), waiting })
    }
}

impl Window {
    fn new(since: Instant, before: Option<(Rate, u32)>) -> Self {
        Self { since, waited: [Duration::ZERO; Rate::ALL.len()], before }
    }

    /// For what it waited most, and which part of the time.
    fn most(&self, now: Instant, partitions: u32) -> Option<(Rate, u32)> {
        let whole = now.duration_since(self.since).as_secs_f64() * f64::from(partitions.max(1));
        let part = |rate: &Rate| (self.waited[*rate as usize].as_secs_f64() / whole * 1_000.0) as u32;
        let most = Rate::ALL.into_iter().map(|rate| (rate, part(&rate).min(1_000))).max_by_key(|(_, part)| *part);
        most.filter(|(_, part)| *part >= WORTH_TELLING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::tenant_limits::TenantLimits;

    #[test]
    fn who_waited_much_is_told_for_what() {
        let (start, mut window) = (Instant::now(), Window::new(Instant::now(), None));
        window.waited[Rate::Fuel as usize] = Duration::from_secs(3);
        window.waited[Rate::BytesOut as usize] = Duration::from_secs(1);
        let (rate, part) = window.most(start + Duration::from_secs(4), 1).unwrap();
        assert!(rate == Rate::Fuel && (700..=750).contains(&part), "{part}");
        let (_, part) = window.most(start + Duration::from_secs(4), 3).unwrap();
        assert!((240..=250).contains(&part), "{part} of three partitions");
        assert!(window.most(start + Duration::from_secs(100), 1).is_none(), "a thousandth is not worth telling");
    }

    #[test]
    fn every_rate_is_a_limit() {
        for rate in Rate::ALL {
            let limit = TenantLimit::find(rate.limit()).unwrap();
            assert_eq!(rate.of(&WorkerLimits::default()), limit.of(&TenantLimits::default()));
        }
    }
}
