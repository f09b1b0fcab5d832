//! Why a call to a bucket did nothing.
//!
//! Must never: stand for a bucket that is away; a stage does not see that.

use super::{OBJECT_BYTES_MAX, contract};
use std::fmt;

/// Why a call to a bucket did nothing, and for which key. By `?` it becomes a dead letter with these words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    key: String,
}

/// The sorts of [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such object.
    NoSuchObject,
    /// The condition of a put does not hold.
    PreconditionFailed,
    /// The key is none: empty, absolute, too long, with an empty part, `.`, `..` or control characters; or the bucket is a folder that
    /// cannot hold it. In words.
    KeyRefused(String),
    /// The object has more than [`OBJECT_BYTES_MAX`]: read it in ranges, or write it as an upload.
    TooLarge,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, key: &str) -> Self {
        Self { kind, key: key.to_owned() }
    }

    pub(super) fn of(error: contract::Error, key: &str) -> Self {
        let kind = match error {
            contract::Error::NoSuchObject => ErrorKind::NoSuchObject,
            contract::Error::PreconditionFailed => ErrorKind::PreconditionFailed,
            contract::Error::KeyRefused(why) => ErrorKind::KeyRefused(why),
        };
        Self::new(kind, key)
    }

    /// Which sort it is.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The key, or the prefix of a list.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.kind {
            ErrorKind::NoSuchObject => write!(f, "there is no object `{key}`"),
            ErrorKind::PreconditionFailed => write!(f, "the object `{key}` is not as the put requires"),
            ErrorKind::KeyRefused(why) => write!(f, "the key `{key}` is refused: {why}"),
            ErrorKind::TooLarge => write!(f, "the object `{key}` has more than {OBJECT_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for Error {}
