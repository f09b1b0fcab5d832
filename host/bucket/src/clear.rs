//! What goes from the store with a pipeline or with a tenant.
//!
//! Each call removes a bounded number of objects, and says whether that was all: whoever calls comes again. Doing it again, or at the same
//! time as another, changes nothing.
//! Must never: remove an object of another tenant, or one that a living pipeline may still publish: the caller knows that it is gone.

use crate::buckets::{Buckets, Store};
use crate::error::BucketError;
use bulkhead_core::bucket::{KeyPrefix, ObjectKey};
use bulkhead_core::scope::{PhysicalKey, PipelinePath, TenantScope};
use futures::future::try_join_all;

/// Objects that one call removes.
const CLEAR_MAX: usize = 1_000;
/// Removals under way at a time.
const TOGETHER: usize = 16;

impl Buckets {
    /// Removes what the outputs of a deleted pipeline have staged. `false` where there may be more.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn discard_staged(&self, scope: &TenantScope, pipeline: &PipelinePath<'_>) -> Result<bool, BucketError> {
        let staging = scope.all_staged_of(pipeline);
        clear(&self.store, staging.as_str(), |key| staging.object(key)).await
    }

    /// Removes all objects of a deleted tenant, staged and published. `false` where there may be more.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn delete_tenant(&self, scope: &TenantScope) -> Result<bool, BucketError> {
        let (staging, buckets) = (scope.all_staged(), scope.all_buckets());
        let staged = clear(&self.store, staging.as_str(), |key| staging.object(key)).await?;
        let objects = clear(&self.store, buckets.as_str(), |key| buckets.object(&KeyPrefix::default(), key)).await?;
        Ok(staged && objects)
    }
}

async fn clear(store: &Store, below: &str, object: impl Fn(&ObjectKey) -> PhysicalKey) -> Result<bool, BucketError> {
    let found = store.list(below.to_owned(), None, CLEAR_MAX).await?;
    let all = found.len() < CLEAR_MAX;
    // Whoever put something there past this host, under a key that none of it takes, keeps it.
    let keys = found.iter().filter_map(|info| info.key.parse::<ObjectKey>().ok());
    let keys: Vec<_> = keys.map(|key| object(&key)).collect();
    if keys.is_empty() {
        return Ok(true);
    }
    for some in keys.chunks(TOGETHER) {
        try_join_all(some.iter().map(|key| store.delete(key))).await?;
    }
    Ok(all)
}
