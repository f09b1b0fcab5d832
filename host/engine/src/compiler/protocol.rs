//! What parent and child say to each other: a line of JSON each way, followed by bytes up to the end of the stream.
//!
//! Must never: carry anything of the host but limits.

use crate::config::CompileLimits;
use bulkhead_core::code::Code;
use serde::{Deserialize, Serialize};

/// The parent's line; the module's bytes follow.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) limits: CompileLimits,
    /// For a profiling engine.
    #[serde(default)]
    pub(super) profiling: bool,
}

/// The child's line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// Compiled code follows.
    Compiled,
    /// The module is at fault.
    Refused {
        /// Why.
        code: Code,
        /// The same in words for the tenant.
        detail: String,
    },
}

/// Bytes of either line at most.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;
