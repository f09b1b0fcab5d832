//! Buckets as tenants know them: keys, prefixes, grants, objects, and what a declared output writes.
//!
//! A key that is accepted here is safe in every object store and as a path below a folder. What the store calls it is
//! [`crate::scope`]'s work.
//! Must never: accept a key that could leave the prefix before it.

use crate::limits::{KEY_BYTES_MAX, KEY_PART_BYTES_MAX, RollLimits};
use crate::name::{BucketName, GrantName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is no key or no prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has no bytes.
    #[error("a key has at least one byte")]
    Empty,
    /// It is above [`KEY_BYTES_MAX`].
    #[error("a key has at most {KEY_BYTES_MAX} bytes")]
    TooLong,
    /// It begins with a slash.
    #[error("a key does not begin with a slash: it is relative to the bucket")]
    Absolute,
    /// A part between slashes is empty, `.` or `..`, or the key ends in a slash.
    #[error("the parts of a key between its slashes are not empty, not `.` and not `..`")]
    Part,
    /// A part is above [`KEY_PART_BYTES_MAX`].
    #[error("a part of a key between its slashes has at most {KEY_PART_BYTES_MAX} bytes")]
    PartTooLong,
    /// It holds a control character.
    #[error("a key has no control characters")]
    Control,
    /// A prefix does not end in a slash.
    #[error("a prefix is empty or ends in a slash")]
    Slash,
}

/// The key of an object: parts between slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

/// The start of keys: empty, or whole parts that end in a slash.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPrefix(String);

fn check(key: &str) -> Result<(), KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong);
    }
    if key.starts_with('/') {
        return Err(KeyError::Absolute);
    }
    if key.chars().any(char::is_control) {
        return Err(KeyError::Control);
    }
    for part in key.split('/') {
        if matches!(part, "" | "." | "..") {
            return Err(KeyError::Part);
        }
        if part.len() > KEY_PART_BYTES_MAX {
            return Err(KeyError::PartTooLong);
        }
    }
    Ok(())
}

macro_rules! text {
    ($type:ident) => {
        impl $type {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = KeyError;
            fn try_from(text: String) -> Result<Self, KeyError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(key: $type) -> String {
                key.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(ObjectKey);
text!(KeyPrefix);

impl FromStr for ObjectKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        check(text).map(|()| Self(text.to_owned()))
    }
}

impl FromStr for KeyPrefix {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.starts_with('/') {
            return Err(KeyError::Absolute);
        }
        check(text.strip_suffix('/').ok_or(KeyError::Slash)?).map(|()| Self(text.to_owned()))
    }
}

impl KeyPrefix {
    /// The key `rest` below this prefix.
    ///
    /// # Errors
    /// Where they are too long together, or `rest` alone is no key.
    pub fn join(&self, rest: &str) -> Result<ObjectKey, KeyError> {
        check(rest)?;
        format!("{}{rest}", self.0).parse()
    }
}

/// What may be done in a granted part of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// Get and list.
    Read,
    /// Put and delete.
    Write,
    /// All of it.
    ReadWrite,
}

impl Access {
    /// Whether it may get and list.
    pub fn reads(self) -> bool {
        self != Access::Write
    }

    /// Whether it may put and delete.
    pub fn writes(self) -> bool {
        self != Access::Read
    }
}

/// A part of a bucket that a stage may reach by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketGrant {
    /// The name under which the stage opens it.
    pub name: GrantName,
    /// The bucket.
    pub bucket: BucketName,
    /// What the keys begin with that it reaches; it is shown only what comes after.
    pub prefix: KeyPrefix,
    /// What it may do there.
    pub access: Access,
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Another for every content, as the store makes it.
    pub etag: String,
    /// Milliseconds since 1970 of its last write.
    pub modified_ms: i64,
}

/// What must hold for a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing: what is there is replaced.
    None,
    /// There is no such object.
    Absent,
    /// The object is there with this etag.
    Match(String),
}

/// Where a bucket output's rows go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketOutput {
    /// The bucket.
    pub bucket: BucketName,
    /// What the keys of all its objects begin with.
    pub prefix: KeyPrefix,
    /// How rows are written.
    pub format: Format,
    /// What a row holds, in order. At least one.
    pub columns: Vec<Column>,
    /// When rows become an object.
    pub roll: RollLimits,
    /// Index of the column by whose values rows are kept apart, if any.
    pub by: Option<usize>,
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// A JSON object a line, with all columns in their order.
    Jsonl,
    /// Comma-separated values with a header. A null and an empty text look alike.
    Csv,
    /// Apache Parquet, compressed with Snappy.
    Parquet,
}

impl Format {
    /// The end of its objects' names, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
            Format::Parquet => "parquet",
        }
    }
}

/// A column of a bucket output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, which is that of the row's field.
    pub name: String,
    /// What it holds.
    pub kind: ColumnType,
    /// Whether a row may lack it.
    pub nullable: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ColumnType {
    /// A text.
    String,
    /// A whole number of 64 bits.
    Int64,
    /// A floating-point number of 64 bits.
    Double,
    /// True or false.
    Boolean,
    /// Milliseconds since 1970-01-01T00:00Z.
    Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_could_leave_its_prefix_is_refused() {
        let long = "a".repeat(1_025);
        let deep = "a/".repeat(600) + "a";
        let part = "a".repeat(256);
        let cases = [
            ("", KeyError::Empty),
            ("/etc/passwd", KeyError::Absolute),
            ("../x", KeyError::Part),
            ("a/../../x", KeyError::Part),
            ("a//b", KeyError::Part),
            ("a/", KeyError::Part),
            (".", KeyError::Part),
            ("a\0b", KeyError::Control),
            ("a\nb", KeyError::Control),
            ("a\u{85}b", KeyError::Control),
            (part.as_str(), KeyError::PartTooLong),
            (long.as_str(), KeyError::TooLong),
            (deep.as_str(), KeyError::TooLong),
        ];
        for (key, why) in cases {
            assert_eq!(key.parse::<ObjectKey>(), Err(why), "{key:?}");
            assert!(KeyPrefix::default().join(key).is_err(), "{key:?}");
        }
        for key in ["a", "2013/01/flights.csv", "...", "a b/ü/%2e%2e", "carrier=AA/0-1.parquet"] {
            assert!(key.parse::<ObjectKey>().is_ok(), "{key:?}");
        }
    }

    #[test]
    fn a_prefix_is_whole_parts() {
        for good in ["", "a/", "by-hour/2013/"] {
            assert!(good.parse::<KeyPrefix>().is_ok(), "{good:?}");
        }
        for bad in ["a", "/", "/a/", "../", "a/../", "a//"] {
            assert!(bad.parse::<KeyPrefix>().is_err(), "{bad:?}");
        }
        let prefix: KeyPrefix = format!("{}/", "a/".repeat(500) + "b").parse().unwrap();
        assert_eq!(prefix.join(&"c".repeat(100)), Err(KeyError::TooLong));
        assert_eq!(prefix.join("../x"), Err(KeyError::Part));
    }
}
