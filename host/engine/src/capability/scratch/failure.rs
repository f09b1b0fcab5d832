//! Why an operation on scratch files failed, and whose fault that is.
//!
//! Must never: tell a guest of a failure of the host's disk as if it were an answer: it would reject a good record for it.

use super::folder::unavailable;
use super::ledger::Full;
use bulkhead_core::fault::HostFault;
use rustix::io::Errno;
use std::io;
use wasmtime::Result;
use wasmtime_wasi::p2::StreamError;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

/// See the module's documentation.
#[derive(Debug)]
pub(super) enum Failed {
    /// The guest is told.
    Guest(ErrorCode),
    /// The call ends, and is tried again.
    Host(HostFault),
}

/// What a stream's error carries.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
pub(super) struct StreamFailed(pub(super) ErrorCode);

impl Failed {
    /// There is no room for one more handle.
    pub(super) const TOO_MANY_OPEN: Self = Self::Guest(ErrorCode::InsufficientMemory);

    /// As a stream tells it.
    pub(super) fn of_stream(self) -> StreamError {
        match self {
            Self::Guest(code) => StreamError::LastOperationFailed(StreamFailed(code).into()),
            Self::Host(fault) => StreamError::Trap(fault.into()),
        }
    }
}

impl From<Full> for Failed {
    fn from(_: Full) -> Self {
        Self::Guest(ErrorCode::InsufficientSpace)
    }
}

impl From<ErrorCode> for Failed {
    fn from(code: ErrorCode) -> Self {
        Self::Guest(code)
    }
}

impl From<io::Error> for Failed {
    /// Room is looked for before the disk is touched, so a disk that is full is not the guest's doing.
    fn from(error: io::Error) -> Self {
        const OURS: [Errno; 11] = [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::IO,
            Errno::MFILE,
            Errno::NFILE,
            Errno::ROFS,
            Errno::NOMEM,
            Errno::ACCESS,
            Errno::STALE,
            Errno::NODEV,
            Errno::FBIG,
        ];
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(errno) if OURS.contains(&errno) => Self::Host(unavailable(&error)),
            _ => Self::Guest(ErrorCode::from(&error)),
        }
    }
}

/// As the component model tells it: an answer, or the end of the call.
pub(super) fn answer<T>(done: std::result::Result<T, Failed>) -> Result<(std::result::Result<T, ErrorCode>,)> {
    match done {
        Ok(value) => Ok((Ok(value),)),
        Err(Failed::Guest(code)) => Ok((Err(code),)),
        Err(Failed::Host(fault)) => Err(fault.into()),
    }
}
