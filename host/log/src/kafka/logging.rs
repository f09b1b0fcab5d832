//! librdkafka's log lines, as lines of this program's log.
//!
//! A broker that is away makes every client complain about once a second; above a rate, lines are counted instead.
//! Must never: let a broken broker fill the log.

use super::native::text;
use parking_lot::Mutex;
use rdkafka::bindings as rd;
use std::ffi::{c_char, c_int};
use std::time::Instant;

/// Lines at once, and lines a second in the long run, of all clients together.
const BURST: f64 = 50.0;
const PER_SECOND: f64 = 5.0;

static BUDGET: Mutex<Option<Budget>> = Mutex::new(None);

struct Budget {
    lines: f64,
    since: Instant,
    dropped: u64,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { lines: BURST, since: now, dropped: 0 }
    }

    /// How many lines were dropped before this one, or `None` where this one is dropped too.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.duration_since(self.since).as_secs_f64() * PER_SECOND;
        self.lines = (self.lines + earned).min(BURST);
        // Threads may come here in another order than they read the clock.
        self.since = self.since.max(now);
        if self.lines < 1.0 {
            self.dropped += 1;
            return None;
        }
        self.lines -= 1.0;
        Some(std::mem::take(&mut self.dropped))
    }
}

/// The log callback; levels are those of syslog.
pub(super) unsafe extern "C" fn log(
    _: *const rd::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    let now = Instant::now();
    let Some(dropped) = BUDGET.lock().get_or_insert_with(|| Budget::new(now)).take(now) else { return };
    let (facility, line) = (text(facility), text(line));
    if dropped > 0 {
        tracing::warn!(target: "kafka", dropped, "lines of the Kafka client were left out");
    }
    match level {
        0..=3 => tracing::error!(target: "kafka", facility, "{line}"),
        4 => tracing::warn!(target: "kafka", facility, "{line}"),
        5 | 6 => tracing::info!(target: "kafka", facility, "{line}"),
        _ => tracing::debug!(target: "kafka", facility, "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_is_cut_and_counted_and_quiet_earns_lines_again() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let passed = (0..1_000).filter(|_| budget.take(start).is_some()).count();
        assert_eq!(passed, BURST as usize);
        assert_eq!(budget.take(start + Duration::from_secs(1)), Some(1_000 - BURST as u64));
    }
}
