//! Waiting for a condition, with a deadline.
//!
//! Must never: wait for a time alone.

use anyhow::{Result, bail};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long [`until`] waits: much longer than anything takes on a busy machine, so that only a real failure meets it.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(30);

thread_local! {
    static IN_VAIN: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread's test fails: it panics, or it has waited in vain and is about to say so.
pub(crate) fn failing() -> bool {
    std::thread::panicking() || IN_VAIN.get()
}

/// Looks again and again until `look` gives a value, for at most [`DEADLINE`].
///
/// `look` answers `Ok(value)` when it has what it wants and `Err(what it saw)` while it has not.
///
/// # Errors
/// After the deadline, with what was waited for and what was seen last.
pub fn until<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> Result<T> {
    until_within(DEADLINE, what, look)
}

/// [`until`] with a deadline of the caller's.
///
/// # Errors
/// As [`until`].
pub fn until_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= end => {
                IN_VAIN.set(true);
                bail!("waited {} s for {what}; last seen: {seen}", deadline.as_secs())
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_ends_it_and_a_deadline_tells_what_was_seen() {
        let mut looks = 0;
        let third = until("three looks", || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("{looks}")) }
        });
        assert_eq!(third.unwrap(), 3);
        let failed = until_within::<()>(Duration::ZERO, "the impossible", || Err("nothing".to_owned()));
        assert_eq!(failed.unwrap_err().to_string(), "waited 0 s for the impossible; last seen: nothing");
        assert!(failing());
        IN_VAIN.set(false);
    }
}
