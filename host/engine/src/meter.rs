//! Fuel: how much a batch may burn, which record burnt it, and when the guest gives way to others.
//!
//! The guest's `mark(i)` splits a batch's fuel into records. Before the first mark a guest has as much as all its records together, so that
//! one which never marks can run; from the first mark on each record has its own cap, and running out names it. A batch may burn
//! (records + 1) × cap: the extra one is for what comes before the first mark.
//!
//! Setting a store's fuel restarts wasmtime's count towards the next yield, and each mark sets it; so a guest of many
//! small records would never yield. [`Meter`] therefore counts towards the yield itself, and when one is due shortens the interval
//! so that it happens within the next record.
//! Must never: charge less than was burnt, or name a record that had less than its cap.

use crate::failure::Misuse;
use crate::state::State;
use std::num::NonZeroU64;
use wasmtime::{AsContextMut, Result, StoreContextMut, Trap};

/// Fuel between two yields: some 0.1 to 0.3 ms of a guest's work.
pub const YIELD_INTERVAL_FUEL: u64 = 1_000_000;
/// Fuel for an instance's start and its `init`, together.
pub const INIT_FUEL_MAX: u64 = 2_000_000_000;

/// The fuel of one store.
#[derive(Debug)]
pub(crate) struct Meter {
    cap: u64,
    interval: Option<NonZeroU64>,
    /// Rows of the batch under way; 0 outside of `process`.
    records: u32,
    /// The row of the last mark.
    record: Option<u32>,
    /// What the whole call may burn.
    budget: u64,
    /// Burnt up to the last mark.
    burnt: u64,
    /// What the store was given at the last mark.
    granted: u64,
    /// What the store held when it was last set.
    level: u64,
    /// Burnt since the last yield, up to when the store was last set.
    since_yield: u64,
    /// The store's interval now: shorter than `interval` while a yield is overdue.
    current: u64,
}

impl Meter {
    /// For a stage with this cap for each record. `None` never yields.
    pub(crate) fn new(cap: u64, interval: Option<NonZeroU64>) -> Self {
        let current = interval.map_or(0, NonZeroU64::get);
        Self {
            cap,
            interval,
            records: 0,
            record: None,
            budget: 0,
            burnt: 0,
            granted: 0,
            level: 0,
            since_yield: 0,
            current,
        }
    }

    /// The row of the last mark of this call.
    pub(crate) fn record(&self) -> Option<u32> {
        self.record
    }

    /// The row to blame for running out of fuel: none where it had less than its cap, because others had burnt the batch's.
    pub(crate) fn record_out_of_fuel(&self) -> Option<u32> {
        self.record.filter(|_| self.granted == self.cap)
    }

    /// Most that a trap can have burnt without the store knowing.
    fn unseen(&self) -> u64 {
        self.interval.map_or(YIELD_INTERVAL_FUEL, NonZeroU64::get)
    }
}

/// Before the guest's start and its `init`.
pub(crate) fn begin_init(mut store: StoreContextMut<'_, State>) -> Result<()> {
    if let Some(interval) = store.data().meter.interval {
        store.fuel_async_yield_interval(Some(interval.get()))?;
    }
    begin(store, 0, INIT_FUEL_MAX, INIT_FUEL_MAX)
}

/// Before a batch of `records` rows.
pub(crate) fn begin_batch(store: StoreContextMut<'_, State>, records: u32) -> Result<()> {
    let cap = store.data().meter.cap;
    let all = cap.saturating_mul(u64::from(records));
    begin(store, records, all, all.saturating_add(cap))
}

/// Before a tick, which may burn `fuel` and marks nothing.
pub(crate) fn begin_tick(store: StoreContextMut<'_, State>, fuel: u64) -> Result<()> {
    begin(store, 0, fuel, fuel)
}

fn begin(mut store: StoreContextMut<'_, State>, records: u32, granted: u64, budget: u64) -> Result<()> {
    let meter = &mut store.data_mut().meter;
    meter.records = records;
    meter.record = None;
    meter.burnt = 0;
    meter.granted = granted;
    meter.budget = budget;
    meter.since_yield = 0;
    meter.level = granted;
    store.set_fuel(granted)
}

/// The guest begins with a row.
pub(crate) fn mark(mut store: StoreContextMut<'_, State>, index: u32) -> Result<()> {
    let left = store.get_fuel()?;
    let meter = &mut store.data_mut().meter;
    if meter.records == 0 {
        return Err(Misuse::new("`mark` was called outside of `process`").into());
    }
    if index >= meter.records {
        return Err(Misuse::new(format!("`mark({index})` in a batch of {} records", meter.records)).into());
    }
    if let Some(before) = meter.record.filter(|before| index <= *before) {
        return Err(Misuse::new(format!("`mark({index})` after `mark({before})`: indexes must rise")).into());
    }
    meter.burnt += meter.granted - left;
    meter.granted = meter.cap.min(meter.budget - meter.burnt);
    meter.record = Some(index);
    let granted = meter.granted;
    set(&mut store, left, granted)
}

/// Burns fuel for work that the host does on the guest's behalf.
pub(crate) fn charge(mut store: StoreContextMut<'_, State>, fuel: u64) -> Result<()> {
    let left = store.get_fuel()?;
    let rest = left.saturating_sub(fuel);
    store.data_mut().meter.since_yield += fuel.min(left);
    set(&mut store, left, rest)?;
    if rest == 0 { Err(Trap::OutOfFuel.into()) } else { Ok(()) }
}

/// Gives the store `level` fuel where it has `left`, and sees to the next yield.
fn set(store: &mut StoreContextMut<'_, State>, left: u64, level: u64) -> Result<()> {
    let meter = &mut store.data_mut().meter;
    let burnt = meter.level.saturating_sub(left);
    meter.level = level;
    if let Some(interval) = meter.interval.map(NonZeroU64::get) {
        if burnt >= meter.current {
            // It yielded by itself, at each `current`.
            meter.since_yield = burnt % meter.current;
        } else {
            meter.since_yield += burnt;
        }
        // Overdue: half of what the last stretch burnt, so that the next one, which is most likely alike, meets it. A guest that
        // burns less each time to escape comes down to nothing soon.
        let wanted = if meter.since_yield >= interval { (burnt / 2).max(1) } else { interval };
        if wanted != meter.current {
            meter.current = wanted;
            store.fuel_async_yield_interval(Some(wanted))?;
        }
    }
    store.set_fuel(level)
}

/// What the call under way has burnt, as far as the store knows: up to the last point at which the guest gave it back.
pub(crate) fn burnt(store: &StoreContextMut<'_, State>) -> u64 {
    let left = store.get_fuel().unwrap_or(0);
    let meter = &store.data().meter;
    meter.burnt + meter.granted.saturating_sub(left)
}

/// What a call has burnt that ended well.
pub(crate) fn finished(mut store: impl AsContextMut<Data = State>) -> u64 {
    let store = store.as_context_mut();
    let left = store.get_fuel().unwrap_or(0);
    let meter = &store.data().meter;
    meter.burnt + meter.granted.saturating_sub(left)
}

/// What to charge for a call that ended in a fault. A trap leaves the fuel of its last stretch unknown, but that is at most the
/// yield interval.
pub(crate) fn faulted(mut store: impl AsContextMut<Data = State>, out_of_fuel: bool) -> u64 {
    let store = store.as_context_mut();
    let left = store.get_fuel().unwrap_or(0);
    let meter = &store.data().meter;
    let seen = meter.granted.saturating_sub(left);
    let last = if out_of_fuel { meter.granted } else { seen.saturating_add(meter.unseen()).min(meter.granted) };
    meter.burnt + last
}
