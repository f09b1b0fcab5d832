//! Windows over time: what happened in each hour, in each quarter of an hour of the last day, in each visit.
//!
//! [`Windows`] are *tumbling* (each begins where the last ends) or *hopping* (they overlap, which others call sliding); [`Sessions`] last as long as
//! records of a key come without a pause. Time is the *event's*, which the stage takes from the record, never the clock's.
//!
//! ```
//! use bulkhead_sdk::prelude::*;
//! use bulkhead_sdk::testing::{Case, Input};
//! use bulkhead_sdk::window::{Closed, Placed, Windows};
//! use std::time::Duration;
//!
//! struct Hours {
//!     orders: Windows<u64>,
//! }
//!
//! fn setup(_: &Config) -> Result<Hours, InitError> {
//!     let hour = Duration::from_secs(3600);
//!     Ok(Hours { orders: Windows::tumbling("orders", hour)?.lateness(Duration::from_secs(60)).idle(hour) })
//! }
//!
//! #[stage(init = setup, tick = tick)]
//! fn count(hours: &mut Hours, record: Record, out: &mut Outputs) -> StageResult {
//!     let customer = record.key().or_dead_letter("an order has a customer")?;
//!     if hours.orders.add(record.timestamp(), customer, |orders| *orders += 1)? == Placed::Late {
//!         out.to("late").forward();
//!     }
//!     hours.orders.close(out, emit)
//! }
//!
//! fn tick(hours: &mut Hours, _: Tick, out: &mut Outputs) -> StageResult {
//!     hours.orders.close(out, emit)
//! }
//!
//! fn emit(hour: Closed<u64>, out: &mut Outputs) -> StageResult {
//!     out.to("hourly").key(hour.key).value(format!("{} from {}", hour.value, hour.start));
//!     Ok(())
//! }
//!
//! let minute = 60_000;
//! let orders = [10, 50, 59, 65, 40].map(|at| Input::new("").key("ann").timestamp(at * minute));
//! let report = Case::new().outputs(["hourly", "late"]).records(orders).run::<count>();
//! assert_eq!(report.texts("hourly"), ["3 from 0"]);
//! assert_eq!(report.to("late").len(), 1); // minute 40 came after the hour was closed
//! ```
//!
//! # What is in a window
//!
//! The *watermark* of a partition is the latest time seen there less the `lateness`; it never falls. A window is closed once the watermark has
//! reached its end, and is given to the stage once, then and only then. A record whose window is closed already is late: [`Placed::Late`]
//! says so, and the stage sends it where late data goes. So every record is in its window or told late, and a result is never corrected,
//! which suits objects in a bucket as it suits a topic.
//!
//! The watermark moves from record to record, not from batch to batch, and is kept in the state with the windows. So what a window holds, which records are
//! late, and the order of the results (by end, then start, then key) follow from the records of the partition and their order alone: not
//! from how they were cut into batches, nor from restarts. Records that come out of order by no more than the lateness change nothing at all, where what is
//! gathered does not itself depend on order (a sum of whole numbers does not; the last value does).
//!
//! A record without a usable time is a dead letter: it has no window.
//!
//! When no record comes, no watermark moves. [`Windows::idle`] closes all open windows of a partition after that long without a record, by the
//! ticks of the host; a stage with `tick` should set it, unless another record always comes. Then, and only then, the clock decides
//! what is late.
//!
//! # Bounds
//!
//! Open windows are limited by the manifest's `state.maxBytes`. A record gives up to 1,000 windows to the stage, and a batch or a tick up
//! to [`flush_max`](Windows::flush_max); what is due beyond that follows with the next. Waiting windows are closed all the same: nothing is added
//! to them.
//!
//! # Encoding
//!
//! As in [`state`](crate::state#encoding), version 1. `t` is the partition's clock: latest time, watermark, first window due, end of the last, and since when no record
//! came. `w`, the end
//! and the start of a window (8 bytes each, big-endian, highest bit turned over, so that a scan finds what is due first) and its key hold what was gathered.
//! Sessions lie under `s` and their key, all open ones of the key together; `i`, a time and the key say when to look at it next, which may be
//! too early but never too late.
//!
//! Must never: depend on a clock to decide what a window holds, while records come; or hold in memory what a restart would miss.

mod clock;
mod fixed;
mod session;
mod stats;
#[cfg(test)]
mod tests;

pub use fixed::Windows;
pub use session::Sessions;
pub use stats::{Merge, Stats};

use crate::outputs::Outputs;
use crate::{InitError, Reject, StageResult};
use std::time::Duration;

/// The latest usable time: the end of the year 9999.
const TIME_MAX: i64 = 253_402_300_799_999;
/// Windows given to the stage for one record at most: some 10 million fuel.
const FLUSH_RECORD_MAX: usize = 1_000;
/// Windows given to the stage in one call at most, unless [`Windows::flush_max`] says otherwise: a tenth of the outputs that a batch may have.
const FLUSH_CALL_MAX: usize = 10_000;
/// Bytes of a window's key at most.
const KEY_BYTES_MAX: usize = 900;
/// Windows read from the store at a time.
const PAGE: usize = 128;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a late record is in no window: send it where late data goes, or count it"]
pub enum Placed {
    /// It is in all its windows.
    InTime,
    /// It is in some of its overlapping windows; the others are closed.
    Partly,
    /// It is in none: all its windows are closed.
    Late,
}

/// A window that is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed<'a, T> {
    /// What its records have in common.
    pub key: &'a [u8],
    /// Its first millisecond since 1970-01-01T00:00Z.
    pub start: i64,
    /// The first millisecond behind it.
    pub end: i64,
    /// What was gathered.
    pub value: T,
}

impl<T> Closed<'_, T> {
    /// The key as text.
    ///
    /// # Errors
    /// A dead letter where it is not UTF-8.
    pub fn key_text(&self) -> Result<&str, Reject> {
        std::str::from_utf8(self.key).map_err(|_| Reject::dead_letter("the key of a window is no text"))
    }
}

/// What can be the time of an event: milliseconds since 1970-01-01T00:00Z, or none, which is a dead letter.
pub trait EventTime: sealed::Sealed {
    #[doc(hidden)]
    fn milliseconds(self) -> Option<i64>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i64 {}
    impl Sealed for Option<i64> {}
}

impl EventTime for i64 {
    #[inline]
    fn milliseconds(self) -> Option<i64> {
        Some(self)
    }
}

impl EventTime for Option<i64> {
    #[inline]
    fn milliseconds(self) -> Option<i64> {
        self
    }
}

/// The time, where it is one that a window can have.
#[inline]
fn usable(time: impl EventTime) -> Result<i64, Reject> {
    match time.milliseconds() {
        Some(time @ 0..=TIME_MAX) => Ok(time),
        other => Err(unusable(other)),
    }
}

#[cold]
fn unusable(time: Option<i64>) -> Reject {
    match time {
        None => Reject::dead_letter("the record has no time, so it has no window"),
        Some(time) => Reject::dead_letter(format!(
            "the record's time, {time} ms, is not between the years 1970 and 9999, so it has no window"
        )),
    }
}

/// A duration of at least a millisecond and at most a thousand years, as milliseconds.
fn span(what: &str, duration: Duration) -> Result<i64, InitError> {
    const MAX: i64 = 1000 * 366 * 86_400_000;
    match i64::try_from(duration.as_millis()) {
        Ok(ms @ 1..=MAX) => Ok(ms),
        _ => Err(InitError::new(format!("{what} is {duration:?}, and must be from a millisecond to a thousand years"))),
    }
}

/// A duration as milliseconds, the longest where it is longer.
fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A key beside name and times fits into a key of state.
fn check_key(key: &[u8]) -> Result<(), Reject> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Reject::dead_letter(format!(
            "the key of a window has at most {KEY_BYTES_MAX} bytes, and this one has {}",
            key.len()
        )));
    }
    Ok(())
}

#[cold]
fn not_ours(key: &[u8]) -> Reject {
    Reject::dead_letter(format!("the state holds something under {} that no window wrote", key.escape_ascii()))
}

/// Gives a closed window to the stage. What it emits takes nothing over from the record that happened to close it.
fn give<T>(
    closed: Closed<'_, T>,
    out: &mut Outputs<'_>,
    each: &mut impl FnMut(Closed<'_, T>, &mut Outputs<'_>) -> StageResult,
) -> StageResult {
    let own = out.detach(closed.end - 1);
    let given = each(closed, out);
    out.attach(own);
    given
}
