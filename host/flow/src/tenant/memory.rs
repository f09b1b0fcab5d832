//! What a worker holds in memory for a tenant: batches, outputs that wait for their commit, lines that wait to be sent, and the memory of
//! its guests.
//!
//! At the tenant's budget its pipelines hold one batch each and no more, idle instances go, and nothing else changes: it is slower, and
//! nothing of it fails. What its consumers may have fetched ahead is a part of the budget, divided among its pipelines.
//! Where all tenants together hold more than the worker may ([`Ceiling`]), the one that holds most is set aside until there is room: its
//! batches are dropped, to be read again, and its instances with them.
//! Must never: keep a pipeline from ever going on, or set aside a tenant while another holds more.

use super::{Tenant, Tenants};
use bulkhead_core::name::TenantId;
use bulkhead_engine::GuestBytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The part of the budget that consumers may fetch ahead, all together.
const AHEAD_PART: u64 = 4;
/// The least that one of them may.
const AHEAD_MIN: u64 = 128 << 10;
/// How long a tenant is set aside for the first time; each time soon after doubles it, up to [`ASIDE_MAX`].
const ASIDE: Duration = Duration::from_secs(1);
const ASIDE_MAX: Duration = Duration::from_secs(60);
/// What must be free, in hundredths of the ceiling, before one that was set aside comes back.
const FREE_FOR_ONE: u64 = 20;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Memory {
    /// Bytes of batches, outputs and lines.
    buffered: AtomicU64,
    /// Bytes of linear memory of its instances.
    pub(crate) guests: GuestBytes,
    /// Pipelines that have a consumer here.
    consumers: AtomicU64,
    budget: AtomicU64,
    aside: AtomicBool,
    /// Something was given back.
    pub(crate) released: Notify,
}

impl Memory {
    pub(super) fn set(&self, budget: u64) {
        self.budget.store(budget, Ordering::Release);
        self.released.notify_waiters();
    }

    pub(crate) fn hold(&self, bytes: u64) {
        self.buffered.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.buffered.fetch_sub(bytes, Ordering::AcqRel);
        self.released.notify_waiters();
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> u64 {
        self.buffered.load(Ordering::Acquire).saturating_add(self.guests.get())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.budget.load(Ordering::Acquire)
    }

    /// Whether the tenant must let go of all it holds, since the worker has too little.
    pub(crate) fn is_aside(&self) -> bool {
        self.aside.load(Ordering::Acquire)
    }

    /// A pipeline has a consumer from now on; says how many bytes it may fetch ahead, which is `most` at most.
    pub(crate) fn consumer(self: &Arc<Self>, most: u64) -> (Consumer, u64) {
        let consumers = self.consumers.fetch_add(1, Ordering::AcqRel) + 1;
        let ahead = self.budget.load(Ordering::Acquire) / AHEAD_PART / consumers;
        (Consumer(self.clone()), ahead.max(AHEAD_MIN).min(most))
    }
}

/// Where others than the record path count what they keep for a tenant, so that its budget and the worker's ceiling see that too. Clones
/// count together; one that is made by default counts for nobody.
#[derive(Clone, Default)]
pub struct TenantMemory(Arc<Memory>);

impl TenantMemory {
    pub(crate) fn of(memory: &Arc<Memory>) -> Self {
        Self(memory.clone())
    }

    /// Counts these bytes as held for the tenant, until the value is dropped. Never waits and never refuses: who keeps something bounds it.
    pub fn keep(&self, bytes: u64) -> Kept {
        self.0.hold(bytes);
        Kept { memory: self.0.clone(), bytes }
    }

    /// Bytes that are held for the tenant now, by the record path too.
    pub fn held(&self) -> u64 {
        self.0.held()
    }
}

/// Bytes that are kept for a tenant, until dropped.
pub struct Kept {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.memory.release(self.bytes);
    }
}

/// A consumer of one of the tenant's pipelines, until dropped.
pub(crate) struct Consumer(Arc<Memory>);

impl Drop for Consumer {
    fn drop(&mut self) {
        self.0.consumers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What all tenants may hold together.
pub(crate) struct Ceiling {
    bytes: u64,
    aside: BTreeMap<TenantId, Aside>,
}

/// That a tenant is set aside, or was lately. Held here, since one whose pipelines were paused meanwhile is not among those at work.
struct Aside {
    tenant: Arc<Tenant>,
    /// When it may come back.
    until: Instant,
    /// For how long that was.
    time: Duration,
}

impl Ceiling {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { bytes, aside: BTreeMap::new() }
    }

    /// Sets aside whoever holds most while all hold too much, and lets one come back while there is room.
    pub(crate) fn keep(&mut self, tenants: &Tenants, now: Instant) {
        let all = tenants.all();
        let mut held: Vec<_> = all.iter().map(|(name, tenant)| (tenant.memory.held(), name, tenant)).collect();
        let all_held: u64 = held.iter().map(|(held, ..)| held).sum();
        let mut sum = all_held;
        if sum > self.bytes {
            held.sort_unstable_by_key(|(held, name, _)| (std::cmp::Reverse(*held), *name));
        }
        for (held, name, tenant) in held {
            if sum <= self.bytes {
                break;
            }
            sum -= held;
            if !tenant.memory.aside.swap(true, Ordering::AcqRel) {
                let time = self.aside.get(name).map_or(ASIDE, |before| (2 * before.time).min(ASIDE_MAX));
                self.aside.insert(name.clone(), Aside { tenant: tenant.clone(), until: now + time, time });
                tracing::warn!(tenant = %name, held, ?time, "set aside: the worker is short of memory, and this tenant holds most");
            }
        }
        // What those that were set aside have not yet let go of counts, too.
        if all_held <= self.bytes / 100 * (100 - FREE_FOR_ONE) {
            self.call_back(now);
        }
    }

    /// Lets one tenant come back whose time is over, and forgets those that have been back for long.
    fn call_back(&mut self, now: Instant) {
        self.aside.retain(|_, aside| aside.tenant.memory.is_aside() || now < aside.until + ASIDE_MAX);
        let over = self.aside.iter().filter(|(_, aside)| now >= aside.until && aside.tenant.memory.is_aside());
        if let Some((name, aside)) = over.min_by_key(|(_, aside)| aside.until) {
            tracing::info!(tenant = %name, "comes back: there is room for it again");
            aside.tenant.memory.aside.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::tenant_limits::WorkerLimits;

    #[test]
    fn whoever_holds_most_goes_first_and_comes_back_when_there_is_room() {
        let tenants = Tenants::default();
        let names: Vec<TenantId> = ["light", "heavy", "middle"].iter().map(|name| name.parse().unwrap()).collect();
        tenants.assign(&names.iter().map(|name| (name.clone(), WorkerLimits::default())).collect());
        let of = |i: usize| tenants.get(&names[i]);
        (0..3).zip([100, 700, 300]).for_each(|(i, bytes)| of(i).memory.hold(bytes));
        let (mut ceiling, start) = (Ceiling::new(1_000), Instant::now());
        let aside = || [0, 1, 2].map(|i| of(i).memory.is_aside());
        ceiling.keep(&tenants, start);
        assert_eq!(aside(), [false, true, false], "1,100 of 1,000");
        ceiling.keep(&tenants, start + ASIDE_MAX);
        assert_eq!(aside(), [false, true, false], "it still holds what it held");
        of(1).memory.release(700);
        ceiling.keep(&tenants, start);
        assert_eq!(aside(), [false, true, false], "its time is not over");
        ceiling.keep(&tenants, start + ASIDE);
        assert_eq!(aside(), [false; 3]);
        of(1).memory.hold(900);
        ceiling.keep(&tenants, start + ASIDE);
        assert_eq!(aside(), [false, true, false]);
        of(1).memory.release(900);
        ceiling.keep(&tenants, start + 2 * ASIDE);
        assert_eq!(aside(), [false, true, false], "the second time is longer");
        ceiling.keep(&tenants, start + 3 * ASIDE);
        assert_eq!(aside(), [false; 3]);
    }

    #[test]
    fn consumers_share_what_may_be_fetched_ahead() {
        let memory = Arc::new(Memory::default());
        memory.set(16 << 20);
        let (first, ahead) = memory.consumer(3 << 20);
        assert_eq!(ahead, 3 << 20);
        let (_second, ahead) = memory.consumer(3 << 20);
        assert_eq!(ahead, 2 << 20);
        drop(first);
        assert_eq!(memory.consumer(3 << 20).1, 2 << 20);
        memory.set(0);
        assert_eq!(memory.consumer(3 << 20).1, AHEAD_MIN, "never so little that nothing comes through");
    }
}
