//! When the stages of a partition are told the time.
//!
//! Must never: let the time of one owner of a partition fall.

use super::partition::Run;
use crate::config::backoff;
use bulkhead_core::limits::TICK_MS;
use bulkhead_log::Source;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The ticks of one assignment of a partition.
pub(crate) struct Ticks {
    all: Vec<Ticking>,
    /// The last time that was told.
    now: i64,
}

/// A stage that acts on time.
#[derive(Clone, Copy)]
pub(crate) struct Ticking {
    pub(crate) stage: usize,
    /// Index under which it knows its input.
    pub(crate) topic: u16,
    every: Duration,
    due: Instant,
    /// Ticks in a row that failed.
    failures: u32,
}

impl Ticks {
    pub(crate) fn new(run: &Run, source: Source) -> Self {
        let all = run.graph.tickers(source.topic).iter().map(|(stage, topic)| {
            let every = run.assignment.spec.stages[*stage].tick_ms.unwrap_or(TICK_MS);
            let every = Duration::from_millis(every);
            Ticking { stage: *stage, topic: *topic, every, due: Instant::now() + every, failures: 0 }
        });
        Self { all: all.collect(), now: 0 }
    }

    /// When the next is due; `None` where no stage acts on time.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.all.iter().map(|ticking| ticking.due).min()
    }

    /// The one that is due for longest, and the time in milliseconds to tell it.
    pub(crate) fn due(&mut self) -> Option<(usize, Ticking, i64)> {
        let (at, ticking) = self.all.iter().enumerate().min_by_key(|(_, ticking)| ticking.due)?;
        if ticking.due > Instant::now() {
            return None;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.now = self.now.max(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Some((at, *ticking, self.now))
    }

    /// A tick ended. Returns whether it is the first that ends well after failures. One that failed is tried again after a pause that grows
    /// from the stage's own.
    pub(crate) fn ended(&mut self, at: usize, well: bool, longest: Duration) -> bool {
        let ticking = &mut self.all[at];
        let failures = if well { 0 } else { ticking.failures + 1 };
        let failed = std::mem::replace(&mut ticking.failures, failures) > 0;
        let pause = match ticking.failures {
            0 => ticking.every,
            failures => backoff(ticking.every, longest.max(ticking.every), failures),
        };
        ticking.due = Instant::now() + pause;
        well && failed
    }
}
