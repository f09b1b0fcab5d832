//! A guest's log lines, cut and rationed before anybody sees them.
//!
//! Must never: let a guest write faster than its ration, or send control characters to somebody's terminal.

use parking_lot::Mutex;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of one line that are kept; the rest is cut.
pub const LOG_LINE_BYTES_MAX: usize = 4 << 10;
/// Lines a second of one stage on one worker, over time; more are dropped and counted.
pub const LOG_LINES_PER_SECOND: u32 = 100;
/// Lines at once after a quiet time.
pub const LOG_LINES_BURST: u32 = 500;

/// How much a line matters; the contract's `level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For following a single record.
    Trace,
    /// For finding a bug.
    Debug,
    /// For everyone. Lines on stdout have it.
    Info,
    /// For someone, soon. Lines on stderr have it.
    Warn,
    /// For someone, now.
    Error,
}

/// Where the lines of a stage go.
pub trait GuestLog: Send + Sync {
    /// Takes a line: at most [`LOG_LINE_BYTES_MAX`] bytes, without control characters other than tab and newline. Called while the guest
    /// waits, so it must not block.
    fn write(&self, level: Level, message: &str);
}

/// Lets lines through to a stage's log as its ration allows. Shared by all instances of the stage.
pub(crate) struct LogGate {
    sink: Arc<dyn GuestLog>,
    ration: Mutex<Ration>,
}

struct Ration {
    lines: f64,
    at: Instant,
    dropped: u64,
}

impl LogGate {
    pub(crate) fn new(sink: Arc<dyn GuestLog>) -> Self {
        let ration = Ration { lines: f64::from(LOG_LINES_BURST), at: Instant::now(), dropped: 0 };
        Self { sink, ration: Mutex::new(ration) }
    }

    /// Writes a line, or drops it. The first line after dropped ones says how many these were.
    pub(crate) fn write(&self, level: Level, message: &str) {
        let Some(dropped) = self.ration.lock().take(Instant::now()) else { return };
        if dropped > 0 {
            let notice = format!("{dropped} lines dropped: a stage may log {LOG_LINES_PER_SECOND} a second");
            self.sink.write(Level::Warn, &notice);
        }
        self.sink.write(level, &printable(cut(message, LOG_LINE_BYTES_MAX)));
    }
}

impl Ration {
    /// Takes one line of the ration: how many were dropped before it, or `None` where it must be dropped too.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(LOG_LINES_PER_SECOND);
        self.lines = (self.lines + earned).min(f64::from(LOG_LINES_BURST));
        self.at = now;
        if self.lines < 1.0 {
            self.dropped += 1;
            return None;
        }
        self.lines -= 1.0;
        Some(std::mem::take(&mut self.dropped))
    }
}

/// The longest start of `text` of at most `bytes` bytes.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// `text` with control characters made visible.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(bad) { text.replace(bad, "\u{fffd}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_ration_refills_with_time_and_counts_what_it_dropped() {
        let start = Instant::now();
        let mut ration = Ration { lines: 2.0, at: start, dropped: 0 };
        assert_eq!(ration.take(start), Some(0));
        assert_eq!(ration.take(start), Some(0));
        assert_eq!(ration.take(start), None);
        assert_eq!(ration.take(start), None);
        assert_eq!(ration.take(start + Duration::from_millis(15)), Some(2));
        assert_eq!(ration.take(start + Duration::from_millis(15)), None);
    }

    #[test]
    fn lines_are_cut_between_characters_and_hold_no_escapes() {
        assert_eq!(cut("a€b", 2), "a");
        assert_eq!(printable("a\u{1b}[31m\tb\n"), "a\u{fffd}[31m\tb\n");
    }
}
