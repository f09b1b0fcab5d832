//! Objects of a declared output: staged where nobody looks, published when the log says so.
//!
//! Publication may be asked for any number of times: the staged object moves once, and after that its absence is the proof.
//! Must never: put an object under its final key before its commit.

use crate::buckets::Store;
use crate::error::{BucketError, BucketErrorKind};
use crate::remote::now_ms;
use bulkhead_core::bucket::{Condition, KeyPrefix, ObjectKey};
use bulkhead_core::scope::{BucketPrefix, StagingPrefix};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Staged objects that one sweep looks at.
const SWEEP_MAX: usize = 10_000;

/// The bucket of a declared output. Cheap to clone.
#[derive(Clone)]
pub struct OutputBucket {
    store: Arc<Store>,
    bucket: BucketPrefix,
    staging: StagingPrefix,
}

/// An object that waits for its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its name in the staging area, never used twice.
    pub name: ObjectKey,
    /// Bytes.
    pub bytes: u64,
    /// As the store made it.
    pub etag: String,
}

/// What a publication found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The object was staged and is now under its key.
    Now,
    /// It had been published before.
    Before,
    /// It is neither staged nor under its key: it was published, and has been deleted since.
    Deleted,
}

impl OutputBucket {
    pub(crate) fn new(store: Arc<Store>, bucket: BucketPrefix, staging: StagingPrefix) -> Self {
        Self { store, bucket, staging }
    }

    /// Writes an object of partition `partition` to the staging area.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn stage(&self, partition: i32, bytes: Bytes) -> Result<Staged, BucketError> {
        let name = KeyPrefix::default().join(&format!("{partition}/{}", uuid::Uuid::now_v7()));
        let name = name.map_err(|error| BucketError::new(BucketErrorKind::KeyTaken, error.to_string()))?;
        let info = self.store.put(&self.staging.object(&name), bytes, Condition::None).await?;
        Ok(Staged { name, bytes: info.size, etag: info.etag })
    }

    /// Moves a staged object to its key.
    ///
    /// # Errors
    /// Where a folder cannot hold the key, or the store is away.
    pub async fn publish(&self, name: &ObjectKey, key: &ObjectKey) -> Result<Published, BucketError> {
        let (from, to) = (self.staging.object(name), self.bucket.object(&KeyPrefix::default(), key));
        let (old, new) = (from.as_str().to_owned(), to.as_str().to_owned());
        let moved = match &*self.store {
            Store::Remote(remote) => remote.rename(&old, &new).await,
            Store::Folder(folder) => Store::blocking(folder, move |folder| folder.rename(&old, &new)).await,
        };
        match moved {
            Ok(()) => Ok(Published::Now),
            Err(error) if error.kind == BucketErrorKind::Missing => match self.store.head(&to).await {
                Ok(_) => Ok(Published::Before),
                Err(error) if error.kind == BucketErrorKind::Missing => Ok(Published::Deleted),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Staged objects of a partition that were written longer than `age` ago.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn staged_before(&self, partition: i32, age: Duration) -> Result<Vec<ObjectKey>, BucketError> {
        let below = format!("{}{partition}/", self.staging);
        let found = self.store.list(below, None, SWEEP_MAX).await?;
        let until = now_ms().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let old = found.into_iter().filter(|info| info.modified_ms < until);
        Ok(old.filter_map(|info| format!("{partition}/{}", info.key).parse().ok()).collect())
    }

    /// Removes a staged object that will never be published.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn discard(&self, name: &ObjectKey) -> Result<(), BucketError> {
        self.store.delete(&self.staging.object(name)).await
    }
}
