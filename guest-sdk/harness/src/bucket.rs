//! The buckets that a case lends, over the host's own port: those of `bulkhead_sdk::testing`, so that a case sees the same natively.
//!
//! What it promises: what the host sees to, keys and access and limits, is the host's own check.
//! Must never: outlive its case.

use bulkhead_core::bucket as core;
use bulkhead_engine::{BucketError, BucketFuture, BucketStore, BucketUpload, GrantedBucket};
use bulkhead_sdk::bucket::ObjectInfo;
use bulkhead_sdk::testing::{Access, Bucket, Case};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bucket that is lent.
#[derive(Clone)]
struct Lent(Arc<Mutex<Bucket>>);

/// The buckets of a case.
pub(crate) struct Buckets(BTreeMap<String, (Access, Lent)>);

impl Buckets {
    /// As the case begins.
    pub(crate) fn of(case: &Case) -> Self {
        let lent = |bucket: &Bucket| Lent(Arc::new(Mutex::new(bucket.clone())));
        Self(case.buckets.iter().map(|(grant, (access, bucket))| (grant.clone(), (*access, lent(bucket)))).collect())
    }

    /// As a stage is given them.
    ///
    /// # Panics
    /// Where the name of a grant is none.
    pub(crate) fn granted(&self) -> Vec<GrantedBucket> {
        let granted = self.0.iter().map(|(grant, (access, lent))| GrantedBucket {
            name: grant.parse().unwrap_or_else(|error| panic!("`{grant}` is no name of a grant: {error}")),
            prefix: core::KeyPrefix::default(),
            access: match access {
                Access::Read => core::Access::Read,
                Access::Write => core::Access::Write,
                Access::ReadWrite => core::Access::ReadWrite,
            },
            store: Arc::new(lent.clone()),
        });
        granted.collect()
    }

    /// What they hold.
    pub(crate) fn held(&self) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
        self.0.iter().map(|(grant, (_, lent))| (grant.clone(), lent.bucket().objects())).collect()
    }
}

impl Lent {
    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now<T: Send + 'static>(done: Result<T, BucketError>) -> BucketFuture<T> {
    Box::pin(ready(done))
}

fn told(info: ObjectInfo) -> core::ObjectInfo {
    let ObjectInfo { key, size, etag, modified } = info;
    core::ObjectInfo { key, size, etag, modified_ms: modified }
}

impl BucketStore for Lent {
    fn get(&self, key: core::ObjectKey, range: Range<u64>) -> BucketFuture<Vec<u8>> {
        let found = self.bucket().get(key.as_str(), range.start, range.end - range.start);
        now(found.ok_or(BucketError::NoSuchObject))
    }

    fn info(&self, key: core::ObjectKey) -> BucketFuture<core::ObjectInfo> {
        now(self.bucket().info(key.as_str()).map(told).ok_or(BucketError::NoSuchObject))
    }

    fn list(
        &self,
        prefix: core::KeyPrefix,
        after: Option<core::ObjectKey>,
        limit: usize,
    ) -> BucketFuture<Vec<core::ObjectInfo>> {
        let found = self.bucket().list(prefix.as_str(), after.as_ref().map(core::ObjectKey::as_str), limit);
        now(Ok(found.into_iter().map(told).collect()))
    }

    fn put(&self, key: core::ObjectKey, bytes: Bytes, condition: core::Condition) -> BucketFuture<core::ObjectInfo> {
        let mut bucket = self.bucket();
        let found = bucket.info(key.as_str()).map(|info| info.etag);
        let holds = match condition {
            core::Condition::None => true,
            core::Condition::Absent => found.is_none(),
            core::Condition::Match(etag) => found == Some(etag),
        };
        now(if holds { Ok(told(bucket.put(key.as_str(), &bytes))) } else { Err(BucketError::PreconditionFailed) })
    }

    fn delete(&self, key: core::ObjectKey) -> BucketFuture<()> {
        self.bucket().delete(key.as_str());
        now(Ok(()))
    }

    fn upload(&self, key: core::ObjectKey) -> BucketFuture<Box<dyn BucketUpload>> {
        now(Ok(Box::new(Pieces { to: self.clone(), key: key.to_string(), bytes: Vec::new() })))
    }
}

/// An object on its way.
struct Pieces {
    to: Lent,
    key: String,
    bytes: Vec<u8>,
}

impl BucketUpload for Pieces {
    fn write(mut self: Box<Self>, bytes: Bytes) -> BucketFuture<Box<dyn BucketUpload>> {
        self.bytes.extend_from_slice(&bytes);
        now(Ok(self as Box<dyn BucketUpload>))
    }

    fn finish(self: Box<Self>) -> BucketFuture<u64> {
        self.to.bucket().put(&self.key, &self.bytes);
        now(Ok(self.bytes.len() as u64))
    }
}
