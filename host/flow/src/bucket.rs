//! Granted parts of buckets as a stage's sandbox reaches them: the store's side of [`BucketStore`].
//!
//! Guests run on threads of their own, which must not be held up by a store; so each call is a task of the runtime, and ends with whoever
//! waits for it.
//! Must never: name a bucket of a tenant but the stage's own, or leave parts of an upload behind that was given up.

use crate::flow::Tools;
use crate::uses::{Use, Uses, bucket_grant};
use bulkhead_bucket::{BucketErrorKind, Granted, Upload};
use bulkhead_core::assignment::PipelineAssignment;
use bulkhead_core::bucket::{Condition, KeyPrefix, ObjectInfo, ObjectKey};
use bulkhead_core::code::Code;
use bulkhead_core::fault::HostFault;
use bulkhead_core::manifest::StageSpec;
use bulkhead_core::scope::TenantScope;
use bulkhead_engine::{BucketError, BucketFuture, BucketStore, BucketUpload, GrantedBucket};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// What a stage's manifest grants it, below its tenant's own prefix.
pub(crate) fn granted(
    tools: &Tools,
    assignment: &PipelineAssignment,
    stage: &StageSpec,
    uses: &Uses,
) -> Vec<GrantedBucket> {
    let scope = TenantScope::assume(assignment.key.tenant.clone());
    let open = |grant: &bulkhead_core::bucket::BucketGrant| {
        let granted = tools.buckets.granted(&scope, &grant.bucket, &grant.prefix, grant.access);
        let how = bucket_grant(grant.access, grant.bucket.as_str(), grant.prefix.as_str());
        let used = uses.of(assignment.revision, &stage.name, how);
        let store = Arc::new(Reach { granted, runtime: tools.runtime.clone(), used });
        GrantedBucket { name: grant.name.clone(), prefix: grant.prefix.clone(), access: grant.access, store }
    };
    stage.buckets.iter().map(open).collect()
}

/// One grant.
struct Reach {
    granted: Granted,
    runtime: Handle,
    /// Its calls, those of an upload left out after the first.
    used: Use,
}

impl Reach {
    /// The store, for a call that counts.
    fn used(&self) -> Granted {
        self.used.lock().add(1);
        self.granted.clone()
    }
}

/// Runs work on the runtime; dropped, it is ended there.
fn run<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Result<T, bulkhead_bucket::BucketError>> + Send + 'static,
) -> BucketFuture<T> {
    let runtime = runtime.clone();
    Box::pin(async move {
        let mut task = JoinSet::new();
        task.spawn_on(work, &runtime);
        match task.join_next().await {
            Some(Ok(done)) => done.map_err(told),
            _ => Err(BucketError::Host(HostFault::new(Code::Internal, "work on a bucket panicked"))),
        }
    })
}

/// What the guest may know of a failure.
fn told(error: bulkhead_bucket::BucketError) -> BucketError {
    match error.kind {
        BucketErrorKind::Missing => BucketError::NoSuchObject,
        BucketErrorKind::Precondition => BucketError::PreconditionFailed,
        BucketErrorKind::KeyTaken => {
            BucketError::KeyRefused("the bucket cannot hold this key beside those that it has".to_owned())
        }
        BucketErrorKind::Away => BucketError::Host(HostFault::new(Code::BucketUnavailable, error.message)),
    }
}

/// A write misses nothing of the tenant's: what is missing is the place where the store writes.
fn no_place(mut error: bulkhead_bucket::BucketError) -> bulkhead_bucket::BucketError {
    if error.kind == BucketErrorKind::Missing {
        error.kind = BucketErrorKind::Away;
    }
    error
}

impl BucketStore for Reach {
    fn get(&self, key: ObjectKey, range: Range<u64>) -> BucketFuture<Vec<u8>> {
        let granted = self.used();
        run(&self.runtime, async move { granted.get(&key, range).await.map(|(_, bytes)| bytes.into()) })
    }

    fn info(&self, key: ObjectKey) -> BucketFuture<ObjectInfo> {
        let granted = self.used();
        run(&self.runtime, async move { granted.info(&key).await })
    }

    fn list(&self, prefix: KeyPrefix, after: Option<ObjectKey>, limit: usize) -> BucketFuture<Vec<ObjectInfo>> {
        let granted = self.used();
        run(&self.runtime, async move { granted.list(&prefix, after.as_ref(), limit).await })
    }

    fn put(&self, key: ObjectKey, bytes: Bytes, condition: Condition) -> BucketFuture<ObjectInfo> {
        let granted = self.used();
        run(&self.runtime, async move { granted.put(&key, bytes, condition).await.map_err(no_place) })
    }

    fn delete(&self, key: ObjectKey) -> BucketFuture<()> {
        let granted = self.used();
        run(&self.runtime, async move { granted.delete(&key).await })
    }

    fn upload(&self, key: ObjectKey) -> BucketFuture<Box<dyn BucketUpload>> {
        let (granted, runtime) = (self.used(), self.runtime.clone());
        run(&self.runtime, async move {
            let upload = granted.upload(&key).await.map_err(no_place)?;
            Ok(Box::new(Uploading { upload: Some(upload), runtime }) as Box<dyn BucketUpload>)
        })
    }
}

/// An upload that is given up where it is dropped.
struct Uploading {
    /// There until it is finished.
    upload: Option<Upload>,
    runtime: Handle,
}

fn gone() -> bulkhead_bucket::BucketError {
    bulkhead_bucket::BucketError::new(BucketErrorKind::Away, "an upload was used after its end")
}

impl BucketUpload for Uploading {
    fn write(mut self: Box<Self>, bytes: Bytes) -> BucketFuture<Box<dyn BucketUpload>> {
        let runtime = self.runtime.clone();
        run(&runtime, async move {
            self.upload.as_mut().ok_or_else(gone)?.write(&bytes).await.map_err(no_place)?;
            Ok(self as Box<dyn BucketUpload>)
        })
    }

    fn finish(mut self: Box<Self>) -> BucketFuture<u64> {
        let runtime = self.runtime.clone();
        run(&runtime, async move { self.upload.take().ok_or_else(gone)?.finish().await.map_err(no_place) })
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            drop(self.runtime.spawn(upload.abort()));
        }
    }
}
