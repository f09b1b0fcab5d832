//! Publication: what a manifest record names moves from its staging name to its key.
//!
//! Must never: end before it is done, or remove a staged object that an unread manifest may name.

use super::manifest::Manifest;
use super::roll::{Health, Patience};
use crate::config::FlowConfig;
use bulkhead_bucket::{OutputBucket, Published};
use bulkhead_core::bucket::ObjectKey;
use std::sync::Arc;
use std::time::Duration;

/// Age at which a staged object that nobody names may be removed. Between staging and commit lie seconds, and a sink that could not
/// commit for [`super::thread::STAGED_MAX`] stages anew.
pub(super) const ORPHAN_AGE: Duration = Duration::from_secs(3600);

/// Publishes all objects of a manifest, however long it takes.
pub(super) async fn publish(bucket: OutputBucket, manifest: Manifest, config: Arc<FlowConfig>, health: Health) {
    let mut patience = Patience { health: &health, config: &config, failures: 0 };
    for object in &manifest.objects {
        let done = loop {
            match bucket.publish(&object.staged, &object.key).await {
                Ok(done) => break done,
                // A key that is taken in its folder never becomes free by itself, but its owner may make it so.
                Err(error) => patience.failed("publishing", &error).await,
            }
        };
        patience.succeeded();
        match done {
            Published::Now => tracing::debug!(key = %object.key, rows = object.rows, bytes = object.bytes, "published"),
            Published::Before => tracing::debug!(key = %object.key, "published before"),
            Published::Deleted => tracing::warn!(key = %object.key, "published before, and deleted since"),
        }
    }
}

/// Removes staged objects that nobody will ever publish. `orphans` were old before all manifests that could name them were published.
pub(super) async fn sweep(bucket: OutputBucket, orphans: Vec<ObjectKey>) {
    for name in orphans {
        match bucket.discard(&name).await {
            Ok(()) => tracing::info!(%name, "removed a staged object that no manifest names"),
            Err(error) => {
                tracing::warn!(%error, %name, "a staged object could not be removed; the next sweep tries again")
            }
        }
    }
}
