//! Whose fault a failure is. That decides everything after: the tenant's failures cost the record, ours never do.
//!
//! Must never: let a host fault reach a dead letter, or a guest fault raise an operator's alarm.

use crate::code::Code;
use serde::{Deserialize, Serialize};

/// A failure on the record path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The tenant's: retried a bounded number of times, then the record is a dead letter.
    #[error("{0}")]
    Guest(GuestFault),
    /// Ours: retried with backoff, never a dead letter, alarms.
    #[error("{0}")]
    Host(HostFault),
}

/// What a stage did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{kind}: {message}")]
pub struct GuestFault {
    /// Which rule it broke.
    pub kind: GuestFaultKind,
    /// In words, with nothing of the host or another tenant in them.
    pub message: String,
    /// The guest's stack, innermost first, names demangled; empty where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<String>,
}

/// The ways in which a stage can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestFaultKind {
    /// A WebAssembly trap: unreachable (a panic), out of bounds, division by zero, stack overflow.
    Trap,
    /// More fuel than the record's cap.
    OutOfFuel,
    /// More memory than the stage's limit.
    OutOfMemory,
    /// Longer than the batch's wall deadline.
    Deadline,
    /// Columns that break their rules.
    MalformedOutput,
    /// More outputs, or more bytes, than the limit.
    OutputTooLarge,
    /// An output that its topic does not take, for instance above `max.message.bytes`.
    OutputRefused,
    /// A row for a bucket output that does not fit the output's columns.
    RowRefused,
    /// The stage itself said dead-letter, or said retry too often.
    Rejected,
    /// `init` failed.
    Init,
    /// A host function was called wrongly, for instance `mark` with an index that does not rise.
    Misuse,
    /// The batch failed but each record alone passes.
    StateDependent,
    /// The stage's state would have grown above its limit.
    StateFull,
    /// A bucket that was not granted, or not for what was asked of it.
    BucketNotGranted,
    /// More asked of a bucket than one call, or one stage, may.
    BucketMisused,
}

impl GuestFaultKind {
    /// All of them, for metrics and tests.
    pub const ALL: [GuestFaultKind; 15] = [
        Self::Trap,
        Self::OutOfFuel,
        Self::OutOfMemory,
        Self::Deadline,
        Self::MalformedOutput,
        Self::OutputTooLarge,
        Self::OutputRefused,
        Self::RowRefused,
        Self::Rejected,
        Self::Init,
        Self::Misuse,
        Self::StateDependent,
        Self::StateFull,
        Self::BucketNotGranted,
        Self::BucketMisused,
    ];

    /// The name in metrics, dead letters and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::OutOfFuel => "out-of-fuel",
            Self::OutOfMemory => "out-of-memory",
            Self::Deadline => "deadline",
            Self::MalformedOutput => "malformed-output",
            Self::OutputTooLarge => "output-too-large",
            Self::OutputRefused => "output-refused",
            Self::RowRefused => "row-refused",
            Self::Rejected => "rejected",
            Self::Init => "init",
            Self::Misuse => "misuse",
            Self::StateDependent => "state-dependent",
            Self::StateFull => "state-full",
            Self::BucketNotGranted => "bucket-not-granted",
            Self::BucketMisused => "bucket-misused",
        }
    }

    /// The page that explains it.
    pub fn code(self) -> Code {
        match self {
            Self::Trap => Code::StageTrapped,
            Self::OutOfFuel => Code::StageOutOfFuel,
            Self::OutOfMemory => Code::StageOutOfMemory,
            Self::Deadline => Code::StageDeadline,
            Self::MalformedOutput | Self::Misuse => Code::StageMalformed,
            Self::OutputTooLarge => Code::StageOutputTooLarge,
            Self::OutputRefused => Code::OutputRefused,
            Self::RowRefused => Code::RowRefused,
            Self::Rejected => Code::RecordRejected,
            Self::Init => Code::StageInit,
            Self::StateDependent => Code::StateDependent,
            Self::StateFull => Code::StateFull,
            Self::BucketNotGranted => Code::BucketNotGranted,
            Self::BucketMisused => Code::BucketMisused,
        }
    }
}

impl std::fmt::Display for GuestFaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong on our side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct HostFault {
    /// The page that explains it.
    pub code: Code,
    /// The cause, for the operator's log. It may name physical things: never shown to a tenant.
    pub message: String,
}

impl GuestFault {
    /// A fault without a backtrace.
    pub fn new(kind: GuestFaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), backtrace: Vec::new() }
    }
}

impl HostFault {
    /// A fault of the host.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<GuestFault> for Fault {
    fn from(fault: GuestFault) -> Self {
        Fault::Guest(fault)
    }
}

impl From<HostFault> for Fault {
    fn from(fault: HostFault) -> Self {
        Fault::Host(fault)
    }
}
