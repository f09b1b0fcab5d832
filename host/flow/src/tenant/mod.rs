//! What a worker keeps of each tenant's limits: its rates of fuel and bytes, the room for its guests, and the
//! memory for all that is held for it.
//!
//! All pipelines of a tenant share one [`Tenant`]. Before a batch runs, [`Tenant::admit`] waits until nothing is owed of any rate; what the batch
//! read, burnt and wrote is charged when it is known. So a tenant over its rate slows down, and nothing of it fails. Waiting costs nothing: a
//! partition that waits is a timer, holds no instance and no thread, and a revoke or a stop ends it at once.
//! Where a tenant runs on several workers, control says which part of its rates is this one's.
//! Must never: hold up one tenant for what another used, or refuse a batch.

mod memory;
mod room;
mod waits;

pub(crate) use memory::{Ceiling, Consumer, Memory};
pub use memory::{Kept, TenantMemory};
pub(crate) use room::{Full, Idle, Place, Placed, Room};
pub(crate) use waits::Waits;

use bulkhead_core::assignment::TenantUse;
use bulkhead_core::name::TenantId;
use bulkhead_core::rate::RateBucket;
use bulkhead_core::tenant_limits::WorkerLimits;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How often one who waits looks whether the rate was changed, and says that it waits.
pub(crate) const TOLD_EVERY: Duration = Duration::from_millis(250);
/// Over how long what is used a second is averaged.
const AVERAGED: Duration = Duration::from_secs(2);

/// What may hold a pipeline up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rate {
    Fuel,
    BytesIn,
    BytesOut,
    Instances,
    GuestMemory,
    Memory,
}

impl Rate {
    pub(crate) const ALL: [Rate; 6] =
        [Self::Fuel, Self::BytesIn, Self::BytesOut, Self::Instances, Self::GuestMemory, Self::Memory];
    /// Those that are so much a second, in the order of [`Charge`]'s fields.
    const TIMED: [Rate; 3] = [Self::Fuel, Self::BytesIn, Self::BytesOut];

    /// The name of the limit.
    pub(crate) fn limit(self) -> &'static str {
        match self {
            Self::Fuel => "fuelPerSecond",
            Self::BytesIn => "bytesInPerSecond",
            Self::BytesOut => "bytesOutPerSecond",
            Self::Instances => "instances",
            Self::GuestMemory => "guestMemoryBytes",
            Self::Memory => "memoryBytes",
        }
    }

    /// How much it allows.
    pub(crate) fn of(self, limits: &WorkerLimits) -> u64 {
        match self {
            Self::Fuel => limits.fuel_per_second,
            Self::BytesIn => limits.bytes_in_per_second,
            Self::BytesOut => limits.bytes_out_per_second,
            Self::Instances => limits.instances,
            Self::GuestMemory => limits.guest_memory_bytes,
            Self::Memory => limits.memory_bytes,
        }
    }
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) fuel: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Charge {
    fn each(self) -> [u64; Rate::TIMED.len()] {
        [self.fuel, self.bytes_in, self.bytes_out]
    }
}

/// See the module's documentation.
pub(crate) struct Tenant {
    state: Mutex<State>,
    pub(crate) room: Arc<Room>,
    pub(crate) memory: Arc<Memory>,
    /// Pipelines that have a thread.
    awake: AtomicU32,
}

struct State {
    limits: WorkerLimits,
    /// The part of the rates that is this worker's, in thousandths.
    share: u32,
    buckets: [RateBucket; Rate::TIMED.len()],
    /// What was used since `since`, and what a second had before that.
    used: [u64; Rate::TIMED.len()],
    since: Instant,
    per_second: [u64; Rate::TIMED.len()],
}

impl Tenant {
    fn new(limits: WorkerLimits, now: Instant) -> Self {
        let room = Arc::new(Room::default());
        room.set(limits.instances, limits.guest_memory_bytes);
        let memory = Arc::new(Memory::default());
        memory.set(limits.memory_bytes);
        let bucket = |rate: Rate| {
            let (rate, burst) = rate_of(rate, &limits, 1_000);
            RateBucket::new(now, rate, burst)
        };
        let nothing = [0; Rate::TIMED.len()];
        let state = State {
            limits,
            share: 1_000,
            buckets: Rate::TIMED.map(bucket),
            used: nothing,
            since: now,
            per_second: nothing,
        };
        Self { state: Mutex::new(state), room, memory, awake: AtomicU32::new(0) }
    }

    pub(crate) fn limits(&self) -> WorkerLimits {
        self.state.lock().limits
    }

    fn set_limits(&self, limits: WorkerLimits) {
        let mut state = self.state.lock();
        if state.limits != limits {
            state.limits = limits;
            state.apply();
            drop(state);
            self.room.set(limits.instances, limits.guest_memory_bytes);
            self.memory.set(limits.memory_bytes);
        }
    }

    fn set_share(&self, share: u32) {
        let mut state = self.state.lock();
        if state.share != share {
            state.share = share;
            state.apply();
        }
    }

    /// Waits until the tenant owes nothing. `waited` is told for how long and for what, while it lasts.
    pub(crate) async fn admit(&self, waited: impl Fn(Rate, Duration)) {
        loop {
            let now = Instant::now();
            let (rate, wait) = self.state.lock().longest(now);
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.min(TOLD_EVERY)).await;
            waited(rate, now.elapsed());
        }
    }

    /// Takes what was used.
    pub(crate) fn charge(&self, charge: Charge) {
        let now = Instant::now();
        let mut state = self.state.lock();
        for (i, used) in charge.each().into_iter().enumerate().filter(|(_, used)| *used > 0) {
            state.buckets[i].take(now, used);
            state.used[i] += used;
        }
    }

    /// What it uses now.
    fn used(&self) -> TenantUse {
        let mut state = self.state.lock();
        let passed = state.since.elapsed();
        if passed >= AVERAGED {
            state.per_second = state.used.map(|used| (used as f64 / passed.as_secs_f64()) as u64);
            (state.used, state.since) = ([0; Rate::TIMED.len()], Instant::now());
        }
        let [fuel_per_second, bytes_in_per_second, bytes_out_per_second] = state.per_second;
        let (instances, guest_memory_bytes) = self.room.used();
        TenantUse {
            fuel_per_second,
            bytes_in_per_second,
            bytes_out_per_second,
            instances,
            guest_memory_bytes,
            memory_bytes: self.memory.held(),
        }
    }
}

impl State {
    fn apply(&mut self) {
        let now = Instant::now();
        for (bucket, rate) in self.buckets.iter_mut().zip(Rate::TIMED) {
            let (rate, burst) = rate_of(rate, &self.limits, self.share);
            bucket.set(now, rate, burst);
        }
    }

    fn longest(&mut self, now: Instant) -> (Rate, Duration) {
        let waits = self.buckets.iter_mut().map(|bucket| bucket.wait(now));
        let waits = Rate::TIMED.into_iter().zip(waits);
        waits.max_by_key(|(_, wait)| *wait).unwrap_or((Rate::Fuel, Duration::ZERO))
    }
}

/// Tokens a second, and those that may be saved up.
fn rate_of(rate: Rate, limits: &WorkerLimits, share: u32) -> (f64, f64) {
    let rate = rate.of(limits).max(1) as f64 * f64::from(share.max(1)) / 1_000.0;
    (rate, rate * limits.burst_seconds as f64)
}

/// Every tenant with pipelines here. What is done again and again is done for those alone that have one awake.
#[derive(Default)]
pub(crate) struct Tenants(Mutex<All>);

#[derive(Default)]
struct All {
    awake: BTreeMap<TenantId, Arc<Tenant>>,
    /// All of their pipelines are parked or paused.
    resting: BTreeMap<TenantId, Arc<Tenant>>,
}

impl Tenants {
    /// Takes over what an assignment says. Tenants that it does not name are forgotten once nothing runs of them; one that comes back before
    /// that owes what it owed.
    pub(crate) fn assign(&self, limits: &BTreeMap<TenantId, WorkerLimits>) {
        let mut all = self.0.lock();
        let stays =
            |name: &TenantId, tenant: &mut Arc<Tenant>| limits.contains_key(name) || Arc::strong_count(tenant) > 1;
        all.awake.retain(stays);
        all.resting.retain(stays);
        for (name, limits) in limits {
            match all.awake.get(name).or_else(|| all.resting.get(name)) {
                Some(tenant) => tenant.set_limits(*limits),
                None => drop(all.awake.insert(name.clone(), Arc::new(Tenant::new(*limits, Instant::now())))),
            }
        }
    }

    /// Takes over which part of their rates this worker may use; all of those that are not named.
    pub(crate) fn share(&self, shares: &BTreeMap<TenantId, u32>) {
        for (name, tenant) in &self.0.lock().awake {
            tenant.set_share(shares.get(name).copied().unwrap_or(1_000));
        }
    }

    /// A tenant; of one that no assignment speaks of, with the limits of whoever was given no other.
    pub(crate) fn get(&self, name: &TenantId) -> Arc<Tenant> {
        let mut all = self.0.lock();
        if let Some(tenant) = all.resting.get(name) {
            return tenant.clone();
        }
        let new = || Arc::new(Tenant::new(WorkerLimits::default(), Instant::now()));
        all.awake.entry(name.clone()).or_insert_with(new).clone()
    }

    /// A pipeline of this tenant is awake from now on.
    pub(crate) fn wake(&self, name: &TenantId) {
        let mut all = self.0.lock();
        if let Some(tenant) = all.resting.remove(name) {
            all.awake.insert(name.clone(), tenant);
        }
        if let Some(tenant) = all.awake.get(name) {
            tenant.awake.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// One of them no longer is.
    pub(crate) fn rest(&self, name: &TenantId) {
        let mut all = self.0.lock();
        let Some(tenant) = all.awake.get(name) else { return };
        let last = tenant.awake.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && let Some((name, tenant)) = all.awake.remove_entry(name) {
            all.resting.insert(name, tenant);
        }
    }

    /// Each that has something awake.
    fn all(&self) -> Vec<(TenantId, Arc<Tenant>)> {
        self.0.lock().awake.iter().map(|(name, tenant)| (name.clone(), tenant.clone())).collect()
    }

    /// What each uses that has something awake.
    pub(crate) fn used(&self) -> BTreeMap<TenantId, TenantUse> {
        self.0.lock().awake.iter().map(|(name, tenant)| (name.clone(), tenant.used())).collect()
    }
}
