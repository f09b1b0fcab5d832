//! How many of something each tenant has under way, in this process.
//!
//! Must never: go on counting what has ended, however it ended: the count goes down where its guard is dropped.

use bulkhead_core::name::TenantId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Counts by tenant. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    counts: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// One that is under way, until dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    counted: Counted,
    tenant: TenantId,
}

impl Counted {
    /// One more, or `None` where the tenant has `max` already.
    pub(crate) fn enter(&self, tenant: &TenantId, max: usize) -> Option<UnderWay> {
        let mut counts = self.counts.lock();
        if counts.get(tenant).is_some_and(|count| *count >= max) {
            return None;
        }
        *counts.entry(tenant.clone()).or_default() += 1;
        Some(UnderWay { counted: self.clone(), tenant: tenant.clone() })
    }

    /// How many there are.
    pub(crate) fn count(&self, tenant: &TenantId) -> usize {
        self.counts.lock().get(tenant).copied().unwrap_or_default()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.counted.counts.lock();
        if let Some(count) = counts.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.tenant);
            }
        }
    }
}
