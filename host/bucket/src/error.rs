//! What an object store can answer that is no success.
//!
//! Must never: call a store that is away the tenant's fault.

use bulkhead_core::code::Code;

/// A failure of a bucket. `message` is for the operator and may hold physical names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BucketError {
    /// What sort.
    pub kind: BucketErrorKind,
    /// The cause.
    pub message: String,
}

/// The sorts of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketErrorKind {
    /// There is no such object.
    Missing,
    /// A condition of a put does not hold.
    Precondition,
    /// A folder cannot hold this key beside those that it has: one is the start of the other, or a symbolic link is in the way.
    KeyTaken,
    /// The store does not answer, is full, or refuses this host. Worth another try.
    Away,
}

impl BucketError {
    /// A failure.
    pub fn new(kind: BucketErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The page that explains it.
    pub fn code(&self) -> Code {
        match self.kind {
            BucketErrorKind::Missing => Code::NotFound,
            BucketErrorKind::Precondition => Code::Conflict,
            BucketErrorKind::KeyTaken => Code::KeyRefused,
            BucketErrorKind::Away => Code::BucketUnavailable,
        }
    }
}

impl From<object_store::Error> for BucketError {
    fn from(error: object_store::Error) -> Self {
        let kind = match &error {
            object_store::Error::NotFound { .. } => BucketErrorKind::Missing,
            object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. } => {
                BucketErrorKind::Precondition
            }
            _ => BucketErrorKind::Away,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<std::io::Error> for BucketError {
    fn from(error: std::io::Error) -> Self {
        use rustix::io::Errno;
        let kind = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => BucketErrorKind::Missing,
            Some(Errno::EXIST) => BucketErrorKind::Precondition,
            Some(Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NOTEMPTY | Errno::NAMETOOLONG) => {
                BucketErrorKind::KeyTaken
            }
            _ => BucketErrorKind::Away,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<rustix::io::Errno> for BucketError {
    fn from(error: rustix::io::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}
