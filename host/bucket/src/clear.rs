//! What goes from the store with a pipeline or with a tenant.
//!
//! Each call removes a bounded number of objects, and says whether that was all: whoever calls comes again. Doing it again, or at the same
//! time as another, changes nothing.
//! Must never: remove an object of another tenant, or one that a living pipeline may still publish: the caller knows that it is gone.

use crate::buckets::{Buckets, Store};
use crate::error::BucketError;
use bulkhead_core::bucket::{KeyPrefix, ObjectInfo, ObjectKey};
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
        Ok(clear(&self.store, staging.as_str(), |key| staging.object(key)).await? < CLEAR_MAX as u64)
    }

    /// Removes objects of a deleted tenant, staged and published, and says how many; none where none are left to remove. Folders go
    /// last, since their names are the tenant's too.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn delete_tenant(&self, scope: &TenantScope) -> Result<u64, BucketError> {
        let (staging, buckets) = (scope.all_staged(), scope.all_buckets());
        let staged = clear(&self.store, staging.as_str(), |key| staging.object(key)).await?;
        let objects = clear(&self.store, buckets.as_str(), |key| buckets.object(&KeyPrefix::default(), key)).await?;
        if staged + objects == 0 {
            self.store.remove_folders(staging.as_str().to_owned()).await?;
            self.store.remove_folders(buckets.as_str().to_owned()).await?;
        }
        Ok(staged + objects)
    }

    /// How many objects lie where this tenant's lie, staged and published, at most a thousand of each: for whoever must know that there
    /// are none, whatever their keys.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn left_of(&self, scope: &TenantScope) -> Result<u64, BucketError> {
        let staged = self.store.list(scope.all_staged().as_str().to_owned(), None, CLEAR_MAX).await?;
        let objects = self.store.list(scope.all_buckets().as_str().to_owned(), None, CLEAR_MAX).await?;
        Ok((staged.len() + objects.len()) as u64)
    }

    /// Published objects of a tenant, each as `bucket/key`, after the one named, at most `limit`.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn of_tenant(
        &self,
        scope: &TenantScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectInfo>, BucketError> {
        let below = scope.all_buckets();
        let after = after.map(|after| format!("{}{after}", below.as_str()));
        self.store.list(below.as_str().to_owned(), after, limit).await
    }
}

/// Removes some, and says how many: fewer than [`CLEAR_MAX`] were all.
async fn clear(store: &Store, below: &str, object: impl Fn(&ObjectKey) -> PhysicalKey) -> Result<u64, BucketError> {
    let found = store.list(below.to_owned(), None, CLEAR_MAX).await?;
    // Whoever put something there past this host, under a key that none of it takes, keeps it.
    let keys = found.iter().filter_map(|info| info.key.parse::<ObjectKey>().ok());
    let keys: Vec<_> = keys.map(|key| object(&key)).collect();
    for some in keys.chunks(TOGETHER) {
        try_join_all(some.iter().map(|key| store.delete(key))).await?;
    }
    Ok(keys.len() as u64)
}
