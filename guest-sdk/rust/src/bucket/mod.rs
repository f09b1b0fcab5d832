//! Objects in buckets that a stage reaches by itself.
//!
//! Needs the manifest's grant `buckets` (see `guest-sdk/README.md`), which names the part of a bucket that is opened and what may be done
//! there. Keys are relative to the granted prefix: `2013/flights-01.csv`, never with a leading slash. Buckets are in reach while a record is
//! worked on and in a tick, not in `init`.
//!
//! ```
//! use bulkhead_sdk::bucket;
//! use bulkhead_sdk::prelude::*;
//! use bulkhead_sdk::testing::{Access, Case, Input};
//!
//! #[stage]
//! fn archive(record: Record, out: &mut Outputs) -> StageResult {
//!     let day = record.key_text().or_dead_letter("a record has its day as key")?;
//!     let names = bucket::open("tables").get("names.txt")?;
//!     bucket::open("archive").put(format!("{day}/{}.txt", record.offset()), record.text()?)?;
//!     out.to("out").value(names);
//!     Ok(())
//! }
//!
//! let case = Case::new()
//!     .bucket("tables", Access::Read, [("names.txt", "AA,American")])
//!     .bucket("archive", Access::Write, [("", ""); 0])
//!     .records([Input::new("late").key("2013-01-01")]);
//! let report = case.run::<archive>();
//! assert_eq!(report.texts("out"), ["AA,American"]);
//! assert_eq!(report.buckets["archive"]["2013-01-01/0.txt"], b"late");
//! ```
//!
//! # Writes are at least once
//!
//! A write happens when it is called. It does not wait for the record's commit and is not taken back: a record that is tried again, after
//! a fault, a restart or a move to another worker, writes again; one that is rejected has written. So let keys and contents
//! follow from the record, as above, and writing again changes nothing; or put with a condition. Never append by reading, adding and putting. For rows that
//! must be in exactly one object, declare a bucket output in the manifest instead.
//!
//! A bucket that is away is no error that a stage sees: the host ends the call and runs the batch again when the bucket is back. What a stage
//! waits for a bucket is not part of its deadline, but the records behind it in their partition wait too.
//!
//! What it promises: an error names its key, and by `?` becomes a dead letter that says so.
//! Must never: hide that a write may come twice.

mod error;
mod store;

pub use error::{Error, ErrorKind};
#[cfg(not(target_family = "wasm"))]
pub(crate) use store::native::lend;

use crate::bindings::bulkhead::stage::bucket as contract;
use std::fmt;

/// Bytes of an object that [`Container::get`] and [`Container::put`] take at most.
pub const OBJECT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Objects that one [`Container::list`] gives at most.
pub const LIST_MAX: u32 = 1_000;
/// Bytes that go to the host at a time.
const WRITE_BYTES_MAX: usize = 1024 * 1024;

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key, relative to the grant's prefix.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Another for every content, as the store makes it: for [`Container::put_if_match`], not to be looked into.
    pub etag: String,
    /// Milliseconds since the epoch of its last write.
    pub modified: i64,
}

impl From<contract::ObjectInfo> for ObjectInfo {
    fn from(info: contract::ObjectInfo) -> Self {
        let contract::ObjectInfo { key, size, etag, modified } = info;
        Self { key, size, etag, modified }
    }
}

/// Opens the part of a bucket that the manifest grants under this name. Costs next to nothing; keep it no longer than the record.
///
/// A name that is not granted stops the stage at this record, which becomes a dead letter (BH0323).
///
/// # Panics
/// Outside a record and a tick; in a native test, where the case lends no such bucket.
pub fn open(grant: &str) -> Container {
    Container { inner: store::open(grant) }
}

/// The part of a bucket that a grant opens. A function that the grant's `access` does not allow stops the stage at this record, which becomes
/// a dead letter (BH0323).
pub struct Container {
    inner: store::Container,
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container").finish_non_exhaustive()
    }
}

impl Container {
    /// An object, whole.
    ///
    /// # Errors
    /// Where there is no such object, it is larger than [`OBJECT_BYTES_MAX`], or the key is none.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Vec<u8>, Error> {
        let (key, most) = (key.as_ref(), OBJECT_BYTES_MAX as u64);
        let bytes = self.get_range(key, 0, most)?;
        if bytes.len() == OBJECT_BYTES_MAX && !self.get_range(key, most, 1)?.is_empty() {
            return Err(Error::new(ErrorKind::TooLarge, key));
        }
        Ok(bytes)
    }

    /// An object, whole; `None` where there is none.
    ///
    /// # Errors
    /// As [`Container::get`].
    pub fn find(&self, key: impl AsRef<str>) -> Result<Option<Vec<u8>>, Error> {
        match self.get(key) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if *error.kind() == ErrorKind::NoSuchObject => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of an object from `offset` on: at most `length` and [`OBJECT_BYTES_MAX`], fewer where the object ends.
    ///
    /// # Errors
    /// Where there is no such object, or the key is none.
    pub fn get_range(&self, key: impl AsRef<str>, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let key = key.as_ref();
        self.inner.get(key, offset, length).map_err(|error| Error::of(error, key))
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// Where there is no such object, or the key is none.
    pub fn info(&self, key: impl AsRef<str>) -> Result<ObjectInfo, Error> {
        let key = key.as_ref();
        self.inner.info(key).map(Into::into).map_err(|error| Error::of(error, key))
    }

    /// Objects whose keys begin with `prefix`, which is empty or ends in a slash, after the key `after`, in the order of their bytes: at most
    /// `limit` and [`LIST_MAX`]. Fewer than that says that there are no more; to go on, give the last key as `after`.
    ///
    /// # Errors
    /// Where `prefix` or `after` cannot be the start of a key, or a key.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<ObjectInfo>, Error> {
        let found = self.inner.list(prefix, after, limit).map_err(|error| Error::of(error, prefix))?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    /// Writes an object, whatever is there.
    ///
    /// # Errors
    /// Where there are more than [`OBJECT_BYTES_MAX`], or the key is none.
    pub fn put(&self, key: impl AsRef<str>, bytes: impl AsRef<[u8]>) -> Result<ObjectInfo, Error> {
        self.put_on(key.as_ref(), bytes.as_ref(), contract::Condition::None)
    }

    /// Writes an object where there is none. A record that is tried again finds what it wrote itself, so this alone does not say who was
    /// first: compare what is there.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] where there is one; as [`Container::put`].
    pub fn put_if_absent(&self, key: impl AsRef<str>, bytes: impl AsRef<[u8]>) -> Result<ObjectInfo, Error> {
        self.put_on(key.as_ref(), bytes.as_ref(), contract::Condition::IfAbsent)
    }

    /// Writes an object where it is still the one with this etag.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] where it has another or is gone; as [`Container::put`].
    pub fn put_if_match(
        &self,
        key: impl AsRef<str>,
        bytes: impl AsRef<[u8]>,
        etag: impl Into<String>,
    ) -> Result<ObjectInfo, Error> {
        self.put_on(key.as_ref(), bytes.as_ref(), contract::Condition::IfMatch(etag.into()))
    }

    fn put_on(&self, key: &str, bytes: &[u8], condition: contract::Condition) -> Result<ObjectInfo, Error> {
        if bytes.len() > OBJECT_BYTES_MAX {
            return Err(Error::new(ErrorKind::TooLarge, key));
        }
        self.inner.put(key, bytes, &condition).map(Into::into).map_err(|error| Error::of(error, key))
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// Where the key is none.
    pub fn delete(&self, key: impl AsRef<str>) -> Result<(), Error> {
        let key = key.as_ref();
        self.inner.delete(key).map_err(|error| Error::of(error, key))
    }

    /// Begins an object of any size, which nobody sees before [`Upload::finish`]. At most 4 may be under way.
    ///
    /// # Errors
    /// Where the key is none.
    pub fn upload(&self, key: impl AsRef<str>) -> Result<Upload, Error> {
        let key = key.as_ref();
        let inner = self.inner.upload(key).map_err(|error| Error::of(error, key))?;
        Ok(Upload { inner, key: key.to_owned() })
    }
}

/// An object on its way. Dropped without [`Upload::finish`], it leaves nothing; it must be finished by the record or the tick that began
/// it, since its instance may be gone before the next.
pub struct Upload {
    inner: store::Upload,
    key: String,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Upload {
    /// Adds bytes to the end, any number.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        bytes.as_ref().chunks(WRITE_BYTES_MAX).for_each(|piece| self.inner.write(piece));
    }

    /// Makes the object be seen, whatever was under its key before. Gives its bytes.
    ///
    /// # Errors
    /// Where a bucket that is a folder cannot hold the key beside those that it has.
    pub fn finish(self) -> Result<u64, Error> {
        self.inner.finish().map_err(|error| Error::of(error, &self.key))
    }
}
