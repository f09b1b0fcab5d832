//! One granted prefix of one tenant's bucket: all that a stage ever sees of it.
//!
//! Keys go in and come out relative to the prefix.
//! Must never: do what the grant's access does not allow, or show what lies before the prefix.

use crate::buckets::Store;
use crate::error::{BucketError, BucketErrorKind};
use crate::folder::{Folder, Writing};
use bulkhead_core::bucket::{Access, Condition, KeyPrefix, ObjectInfo, ObjectKey};
use bulkhead_core::scope::{BucketPrefix, PhysicalKey};
use bytes::Bytes;
use object_store::MultipartUpload;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a part of an upload: S3 takes none below 5 MiB but the last.
const PART_BYTES: usize = 8 << 20;

/// See the module's documentation. Cheap to clone.
#[derive(Clone)]
pub struct Granted {
    store: Arc<Store>,
    bucket: BucketPrefix,
    prefix: KeyPrefix,
    access: Access,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Granted({}{}, {:?})", self.bucket, self.prefix, self.access)
    }
}

impl Store {
    /// Runs what blocks on a thread that may.
    pub(crate) async fn blocking<T: Send + 'static>(
        folder: &Folder,
        work: impl FnOnce(&Folder) -> Result<T, BucketError> + Send + 'static,
    ) -> Result<T, BucketError> {
        let folder = folder.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.unwrap_or_else(|panic| Err(BucketError::new(BucketErrorKind::Away, panic.to_string())))
    }

    pub(crate) async fn put(
        &self,
        key: &PhysicalKey,
        bytes: Bytes,
        condition: Condition,
    ) -> Result<ObjectInfo, BucketError> {
        let key = key.as_str().to_owned();
        match self {
            Store::Remote(remote) => remote.put(&key, bytes, condition).await,
            Store::Folder(folder) => Self::blocking(folder, move |folder| folder.put(&key, &bytes, &condition)).await,
        }
    }

    pub(crate) async fn head(&self, key: &PhysicalKey) -> Result<ObjectInfo, BucketError> {
        let key = key.as_str().to_owned();
        match self {
            Store::Remote(remote) => remote.head(&key).await,
            Store::Folder(folder) => Self::blocking(folder, move |folder| folder.head(&key)).await,
        }
    }

    pub(crate) async fn delete(&self, key: &PhysicalKey) -> Result<(), BucketError> {
        let key = key.as_str().to_owned();
        match self {
            Store::Remote(remote) => remote.delete(&key).await,
            Store::Folder(folder) => Self::blocking(folder, move |folder| folder.delete(&key)).await,
        }
    }

    /// Removes the folders below, where the store has folders and there is nothing else in them.
    pub(crate) async fn remove_folders(&self, below: String) -> Result<(), BucketError> {
        match self {
            Store::Remote(_) => Ok(()),
            Store::Folder(folder) => Self::blocking(folder, move |folder| folder.remove_folders(&below)).await,
        }
    }

    /// Keys come relative to `below`.
    pub(crate) async fn list(
        &self,
        below: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<ObjectInfo>, BucketError> {
        let strip = below.len();
        let mut found = match self {
            Store::Remote(remote) => remote.list(&below, after.as_deref(), limit).await?,
            Store::Folder(folder) => {
                Self::blocking(folder, move |folder| folder.list(&below, after.as_deref(), limit)).await?
            }
        };
        found.iter_mut().for_each(|info| drop(info.key.drain(..strip.min(info.key.len()))));
        Ok(found)
    }
}

impl Granted {
    pub(crate) fn new(store: Arc<Store>, bucket: BucketPrefix, prefix: KeyPrefix, access: Access) -> Self {
        Self { store, bucket, prefix, access }
    }

    /// What it may do. Whoever holds a [`Granted`] for a guest asks before each call.
    pub fn access(&self) -> Access {
        self.access
    }

    /// An object below the prefix.
    ///
    /// # Errors
    /// Where prefix and key are too long together.
    fn at(&self, key: &ObjectKey) -> Result<PhysicalKey, BucketError> {
        let too_long =
            |error: bulkhead_core::bucket::KeyError| BucketError::new(BucketErrorKind::KeyTaken, error.to_string());
        self.prefix.join(key.as_str()).map_err(too_long)?;
        Ok(self.bucket.object(&self.prefix, key))
    }

    fn own(&self, key: &ObjectKey, info: ObjectInfo) -> ObjectInfo {
        ObjectInfo { key: key.to_string(), ..info }
    }

    /// Bytes `range` of an object, less where it ends before.
    ///
    /// # Errors
    /// Where there is no such object, or the store is away.
    pub async fn get(&self, key: &ObjectKey, range: Range<u64>) -> Result<(ObjectInfo, Bytes), BucketError> {
        let physical = self.at(key)?.as_str().to_owned();
        let (info, bytes) = match &*self.store {
            Store::Remote(remote) => remote.get(&physical, range).await?,
            Store::Folder(folder) => Store::blocking(folder, move |folder| folder.get(&physical, range)).await?,
        };
        Ok((self.own(key, info), bytes))
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// As [`Granted::get`].
    pub async fn info(&self, key: &ObjectKey) -> Result<ObjectInfo, BucketError> {
        Ok(self.own(key, self.store.head(&self.at(key)?).await?))
    }

    /// Writes an object whole.
    ///
    /// # Errors
    /// Where the condition does not hold, a folder cannot hold the key, or the store is away.
    pub async fn put(&self, key: &ObjectKey, bytes: Bytes, condition: Condition) -> Result<ObjectInfo, BucketError> {
        Ok(self.own(key, self.store.put(&self.at(key)?, bytes, condition).await?))
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), BucketError> {
        self.store.delete(&self.at(key)?).await
    }

    /// Objects whose keys begin with `prefix`, after the key `after`, in the order of their bytes, at most `limit`.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn list(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectInfo>, BucketError> {
        let below = self.bucket.below(&self.prefix);
        let after = after.map(|after| format!("{below}{after}"));
        let mut found = self.store.list(format!("{below}{prefix}"), after, limit).await?;
        found.iter_mut().for_each(|info| info.key.insert_str(0, prefix.as_str()));
        Ok(found)
    }

    /// Begins an object that comes in pieces. Nobody sees it before [`Upload::finish`]; dropping it leaves nothing under the key.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn upload(&self, key: &ObjectKey) -> Result<Upload, BucketError> {
        let physical = self.at(key)?;
        let to = match &*self.store {
            Store::Remote(remote) => To::Remote(remote.upload(physical.as_str()).await?),
            Store::Folder(folder) => To::Folder(Some(Store::blocking(folder, Folder::begin).await?)),
        };
        Ok(Upload { to, physical, waiting: Vec::new(), bytes: 0 })
    }
}

enum To {
    Remote(Box<dyn MultipartUpload>),
    Folder(Option<Writing>),
}

/// An object on its way.
pub struct Upload {
    to: To,
    physical: PhysicalKey,
    waiting: Vec<u8>,
    bytes: u64,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({} bytes)", self.bytes)
    }
}

impl Upload {
    /// Adds bytes to its end.
    ///
    /// # Errors
    /// Where the store is away; the upload is of no more use then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BucketError> {
        self.bytes += bytes.len() as u64;
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PART_BYTES { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), BucketError> {
        let part = Bytes::from(std::mem::take(&mut self.waiting));
        match &mut self.to {
            To::Remote(upload) => Ok(upload.put_part(part.into()).await?),
            To::Folder(writing) => {
                let gone = || BucketError::new(BucketErrorKind::Away, "the upload failed before");
                let mut file = writing.take().ok_or_else(gone)?;
                let written = tokio::task::spawn_blocking(move || file.write(&part).map(|()| file)).await;
                *writing = Some(written.map_err(|panic| BucketError::new(BucketErrorKind::Away, panic.to_string()))??);
                Ok(())
            }
        }
    }

    /// Makes the object be seen. Gives its bytes.
    ///
    /// # Errors
    /// Where a folder cannot hold the key, or the store is away.
    pub async fn finish(mut self) -> Result<u64, BucketError> {
        self.send().await?;
        let key = self.physical.as_str().to_owned();
        match self.to {
            To::Remote(mut upload) => drop(upload.complete().await?),
            To::Folder(writing) => {
                let gone = || BucketError::new(BucketErrorKind::Away, "the upload failed before");
                let writing = writing.ok_or_else(gone)?;
                let done = tokio::task::spawn_blocking(move || writing.publish(&key, &Condition::None)).await;
                drop(done.map_err(|panic| BucketError::new(BucketErrorKind::Away, panic.to_string()))??);
            }
        }
        Ok(self.bytes)
    }

    /// Gives it up, and what the store has of it.
    pub async fn abort(self) {
        if let To::Remote(mut upload) = self.to {
            // The store's own rules remove what is left where it does not answer.
            let _ = upload.abort().await;
        }
    }
}
