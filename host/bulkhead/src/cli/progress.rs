//! Bars and spinners for long work, on standard error.
//!
//! Must never: write anything where standard error is no terminal; `indicatif` sees to that.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);

/// A bar over so many bytes.
pub(crate) fn bytes(total: u64, what: &'static str) -> ProgressBar {
    let template = "{bar:30} {bytes}/{total_bytes} {elapsed} {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style).with_message(what);
    bar.enable_steady_tick(TURN);
    bar
}

/// A spinner that counts records.
pub(crate) fn records(what: &'static str) -> ProgressBar {
    let template = "{spinner} {human_pos} records {elapsed} {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style).with_message(what)
}

/// A spinner with words that change.
pub(crate) fn waiting(what: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(TURN);
    bar
}
