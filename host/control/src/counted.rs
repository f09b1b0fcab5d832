//! How many of something each tenant, or each key of one, has under way, in this process.
//!
//! Must never: go on counting what has ended, however it ended: the count goes down where its guard is dropped.

use bulkhead_core::name::TenantId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Counts, by tenant unless said otherwise. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Counted<K: Hash + Eq = TenantId> {
    counts: Arc<Mutex<HashMap<K, usize>>>,
}

/// One that is under way, until dropped.
#[derive(Debug)]
pub(crate) struct UnderWay<K: Hash + Eq = TenantId> {
    counted: Counted<K>,
    whose: K,
}

impl<K: Hash + Eq> Default for Counted<K> {
    fn default() -> Self {
        Self { counts: Arc::default() }
    }
}

impl<K: Hash + Eq + Clone> Counted<K> {
    /// One more, or `None` where there are `max` of these already.
    pub(crate) fn enter(&self, whose: &K, max: usize) -> Option<UnderWay<K>> {
        let mut counts = self.counts.lock();
        if counts.get(whose).is_some_and(|count| *count >= max) {
            return None;
        }
        *counts.entry(whose.clone()).or_default() += 1;
        Some(UnderWay { counted: self.clone(), whose: whose.clone() })
    }

    /// How many there are.
    pub(crate) fn count(&self, whose: &K) -> usize {
        self.counts.lock().get(whose).copied().unwrap_or_default()
    }
}

impl<K: Hash + Eq> Drop for UnderWay<K> {
    fn drop(&mut self) {
        let mut counts = self.counted.counts.lock();
        if let Some(count) = counts.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.whose);
            }
        }
    }
}
