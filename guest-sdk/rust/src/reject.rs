//! What a stage says of a record that it could not handle: dead letter, or try again.
//!
//! Like `anyhow::Error`, a [`Reject`] is made from any error by `?`, and is therefore not an error itself. What it promises:
//! a record that is not rejected costs nothing for it.
//! Must never: turn an error into *retry* by itself. Most errors come from the record, and trying again changes nothing.

use crate::bindings::contract;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// What a stage's function returns: nothing, or why the record could not be handled.
pub type StageResult = Result<(), Reject>;

/// Why a record could not be handled, and what the host should do with it.
///
/// `?` on any [`std::error::Error`] makes a dead letter whose reason is the error's text and that of its sources.
///
/// ```
/// use bulkhead_sdk::Reject;
///
/// fn amount(text: &str) -> Result<u32, Reject> {
///     let amount = text.parse()?; // not a number: a dead letter
///     if amount > 1_000_000 {
///         return Err(Reject::dead_letter(format!("{amount} is more than anybody has")));
///     }
///     Ok(amount)
/// }
///
/// assert_eq!(amount("7").unwrap(), 7);
/// assert_eq!(amount("x").unwrap_err().reason(), "invalid digit found in string");
/// ```
pub struct Reject {
    retry: bool,
    reason: Cow<'static, str>,
}

impl Reject {
    /// Writes the record to the pipeline's dead-letter topic with this reason, and goes on with the next. The host keeps
    /// the first 2 KiB of the reason.
    #[cold]
    pub fn dead_letter(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { retry: false, reason: reason.into() }
    }

    /// Commits what lies before the record, waits, and gives it to the stage again; after a bounded number of times (the
    /// stage's `retries`, 3 by default) it becomes a dead letter. For what passes by itself, such as a table that is not
    /// filled yet; records behind it in its partition wait.
    #[cold]
    pub fn retry(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { retry: true, reason: reason.into() }
    }

    /// Whether the record is to be tried again.
    pub fn is_retry(&self) -> bool {
        self.retry
    }

    /// The reason, in words.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    #[cold]
    pub(crate) fn into_exception(self, index: u32) -> contract::Exception {
        let action = if self.retry { contract::Action::Retry } else { contract::Action::DeadLetter };
        contract::Exception { index, action, reason: self.reason.into_owned() }
    }
}

impl fmt::Debug for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = if self.retry { "retry" } else { "dead letter" };
        write!(f, "{action}: {}", self.reason)
    }
}

impl<E: Error> From<E> for Reject {
    #[cold]
    fn from(error: E) -> Self {
        Self::dead_letter(with_sources(&error))
    }
}

/// The text of an error and of what caused it, outermost first.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Rejects a record where a value is missing or an error came, in one word at the end of an expression.
///
/// ```
/// use bulkhead_sdk::{OrReject, Reject};
///
/// fn country(code: &str, table: &[(&str, u32)]) -> Result<u32, Reject> {
///     let row = table.iter().find(|row| row.0 == code).or_dead_letter("no such country")?;
///     Ok(row.1)
/// }
///
/// assert_eq!(country("DE", &[("DE", 49)]).unwrap(), 49);
/// assert_eq!(country("XX", &[]).unwrap_err().reason(), "no such country");
/// ```
pub trait OrReject<T> {
    /// The value, or a dead letter for this reason (and the error's own, where there is one).
    ///
    /// # Errors
    /// A dead letter where there is no value.
    fn or_dead_letter(self, reason: &'static str) -> Result<T, Reject>;

    /// The value, or another try for this reason (and the error's own, where there is one).
    ///
    /// # Errors
    /// A retry where there is no value.
    fn or_retry(self, reason: &'static str) -> Result<T, Reject>;
}

impl<T> OrReject<T> for Option<T> {
    #[inline]
    fn or_dead_letter(self, reason: &'static str) -> Result<T, Reject> {
        self.ok_or_else(|| Reject::dead_letter(reason))
    }

    #[inline]
    fn or_retry(self, reason: &'static str) -> Result<T, Reject> {
        self.ok_or_else(|| Reject::retry(reason))
    }
}

impl<T, E: Error> OrReject<T> for Result<T, E> {
    #[inline]
    fn or_dead_letter(self, reason: &'static str) -> Result<T, Reject> {
        self.map_err(|error| Reject::dead_letter(format!("{reason}: {}", with_sources(&error))))
    }

    #[inline]
    fn or_retry(self, reason: &'static str) -> Result<T, Reject> {
        self.map_err(|error| Reject::retry(format!("{reason}: {}", with_sources(&error))))
    }
}
