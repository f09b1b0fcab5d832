//! Rates of tenants that control itself keeps: what comes in over HTTP, and what costs it work.
//!
//! State is in this process, one bucket for each tenant that did something lately.
//! Must never: grow with tenants that are gone, or hold up one tenant for what another used.

use bulkhead_core::name::TenantId;
use bulkhead_core::rate::RateBucket;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Buckets above which those that are full, and so as good as none, are let go of.
const KEPT: usize = 1_024;

/// One rate of every tenant.
#[derive(Debug, Default)]
pub(crate) struct Paced(Mutex<HashMap<TenantId, RateBucket>>);

/// How much there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// In a second.
    pub(crate) rate: f64,
    /// At once, after a rest.
    pub(crate) burst: f64,
}

impl Paced {
    /// How long it takes until a tenant owes nothing; nothing where it owes nothing.
    pub(crate) fn wait(&self, tenant: &TenantId, pace: Pace) -> Duration {
        self.with(tenant, pace, RateBucket::wait)
    }

    /// Takes what was used.
    pub(crate) fn take(&self, tenant: &TenantId, pace: Pace, used: u64) {
        self.with(tenant, pace, |bucket, now| bucket.take(now, used));
    }

    /// How much is taken that has not come back yet.
    pub(crate) fn used(&self, tenant: &TenantId) -> u64 {
        self.0.lock().get_mut(tenant).map_or(0, |bucket| bucket.missing(Instant::now()))
    }

    fn with<T>(&self, tenant: &TenantId, pace: Pace, act: impl FnOnce(&mut RateBucket, Instant) -> T) -> T {
        let now = Instant::now();
        let mut buckets = self.0.lock();
        if buckets.len() > KEPT {
            buckets.retain(|_, bucket| bucket.missing(now) > 0);
        }
        let new = || RateBucket::new(now, pace.rate, pace.burst);
        let bucket = buckets.entry(tenant.clone()).or_insert_with(new);
        bucket.set(now, pace.rate, pace.burst);
        act(bucket, now)
    }
}
