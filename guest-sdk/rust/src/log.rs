//! Lines for the tenant's log.
//!
//! The host cuts long lines and drops lines above a rate; both are limits of the tenant. Logging each record is slow:
//! count, and log the count. In a native test the lines go to standard error and into
//! [`Report::logs`](crate::testing::Report::logs).
//!
//! ```
//! use bulkhead_sdk::log;
//!
//! log::info("ready");
//! log::warn(format_args!("{} carriers have no name", 3));
//! ```
//!
//! Must never: be where a stage reports a record it could not handle; that is what [`Reject`](crate::Reject) is for.

use std::fmt::Display;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only while looking for a fault.
    Trace,
    /// Useful to the stage's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Unexpected, and the stage went on.
    Warn,
    /// Something failed.
    Error,
}

/// Writes a line at [`Level::Trace`].
pub fn trace(message: impl Display) {
    write(Level::Trace, &message);
}

/// Writes a line at [`Level::Debug`].
pub fn debug(message: impl Display) {
    write(Level::Debug, &message);
}

/// Writes a line at [`Level::Info`].
pub fn info(message: impl Display) {
    write(Level::Info, &message);
}

/// Writes a line at [`Level::Warn`].
pub fn warn(message: impl Display) {
    write(Level::Warn, &message);
}

/// Writes a line at [`Level::Error`].
pub fn error(message: impl Display) {
    write(Level::Error, &message);
}

#[cfg(target_family = "wasm")]
fn write(level: Level, message: &dyn Display) {
    use crate::bindings::bulkhead::stage::host;
    let level = match level {
        Level::Trace => host::Level::Trace,
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, &message.to_string());
}

#[cfg(not(target_family = "wasm"))]
fn write(level: Level, message: &dyn Display) {
    crate::testing::capture(level, message.to_string());
}
