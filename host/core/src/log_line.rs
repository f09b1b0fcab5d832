//! A line of a stage's log, or of Bulkhead about a pipeline, on its way from a worker to control and from there to its tenant.
//!
//! Must never: hold a word about the host or another tenant: whoever makes one writes for the pipeline's owner.

use crate::assignment::PipelineKey;
use crate::code::Code;
use crate::name::StageName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For following a single record.
    Trace,
    /// For finding a bug.
    Debug,
    /// For everyone.
    Info,
    /// For someone, soon.
    Warn,
    /// For someone, now.
    Error,
}

impl LogLevel {
    /// All, rising.
    pub const ALL: [LogLevel; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// As shown, and as asked for.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a level is trace, debug, info, warn or error")]
pub struct NoLevel;

impl FromStr for LogLevel {
    type Err = NoLevel;
    fn from_str(text: &str) -> Result<Self, NoLevel> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or(NoLevel)
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Whose pipeline it is about.
    #[serde(flatten)]
    pub key: PipelineKey,
    /// The stage that wrote it; `None` where Bulkhead did.
    pub stage: Option<StageName>,
    /// When, in milliseconds since the epoch, by the clock of whoever wrote it.
    pub at_ms: i64,
    /// How much it matters.
    pub level: LogLevel,
    /// The page that explains it, where there is one.
    pub code: Option<Code>,
    /// The line, without control characters other than tab and newline.
    pub message: String,
}

/// Lines of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLines {
    /// The worker's slot.
    pub worker: String,
    /// Those of a pipeline in the order in which they were written.
    pub lines: Vec<LogLine>,
}
