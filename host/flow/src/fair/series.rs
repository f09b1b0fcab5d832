//! What the fair queue tells Prometheus of each tenant: its share of the executor threads, and how long its work waited for them.
//!
//! Cardinality is bounded: after [`TENANTS_MAX`] tenants, further ones share the label `_other`; a tenant without work here any more takes
//! its series with it.
//! Must never: count a fuel twice.

use bulkhead_core::name::TenantId;
use parking_lot::Mutex;
use prometheus::{Counter, CounterVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Tenants that have series of their own.
const TENANTS_MAX: usize = 1_000;
const OTHERS: &str = "_other";

/// The series of all tenants.
#[derive(Clone)]
pub(crate) struct TenantSeries {
    named: Arc<Mutex<BTreeSet<TenantId>>>,
    fuel: IntCounterVec,
    turns: IntCounterVec,
    waited: CounterVec,
    waits: Histogram,
}

/// The series of one tenant.
pub(crate) struct TurnSeries {
    fuel: IntCounter,
    turns: IntCounter,
    waited: Counter,
    waits: Histogram,
    /// Fuel that earlier turns were charged with too much, and that is not to be counted again.
    ahead: AtomicI64,
}

impl TenantSeries {
    /// Registers all series.
    ///
    /// # Errors
    /// Where the registry already has one of them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let whole = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let made = IntCounterVec::new(Opts::new(name, help), &["tenant"])?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let fuel = whole(
            "bulkhead_fair_fuel_total",
            "Fuel that a tenant was charged with on the executor threads, committed or not: what was burnt, or a fuel a nanosecond where that is more",
        )?;
        let turns = whole("bulkhead_fair_turns_total", "Turns that a tenant's work had on the executor threads")?;
        let help = "Seconds that a tenant's ready work waited for its turns";
        let waited = CounterVec::new(Opts::new("bulkhead_fair_wait_seconds_total", help), &["tenant"])?;
        registry.register(Box::new(waited.clone()))?;
        let buckets = prometheus::exponential_buckets(0.000_05, 4.0, 10)?;
        let help = "How long ready work of any tenant waited for its turn";
        let waits = Histogram::with_opts(HistogramOpts::new("bulkhead_fair_wait_seconds", help).buckets(buckets))?;
        registry.register(Box::new(waits.clone()))?;
        Ok(Self { named: Arc::default(), fuel, turns, waited, waits })
    }

    /// The series of a tenant.
    pub(crate) fn of(&self, tenant: &TenantId) -> Arc<TurnSeries> {
        let mut named = self.named.lock();
        let known = named.contains(tenant) || (named.len() < TENANTS_MAX && named.insert(tenant.clone()));
        let label = [if known { tenant.as_str() } else { OTHERS }];
        Arc::new(TurnSeries {
            fuel: self.fuel.with_label_values(&label),
            turns: self.turns.with_label_values(&label),
            waited: self.waited.with_label_values(&label),
            waits: self.waits.clone(),
            ahead: AtomicI64::new(0),
        })
    }

    /// Takes away the series of tenants that have nothing here any more.
    pub(crate) fn keep(&self, here: impl Fn(&TenantId) -> bool) {
        self.named.lock().retain(|tenant| {
            let stays = here(tenant);
            if !stays {
                // A series that was never touched is not there to remove, which is as good.
                let _ = self.fuel.remove_label_values(&[tenant.as_str()]);
                let _ = self.turns.remove_label_values(&[tenant.as_str()]);
                let _ = self.waited.remove_label_values(&[tenant.as_str()]);
            }
            stays
        });
    }
}

impl TurnSeries {
    pub(super) fn waited(&self, waited: Duration) {
        self.waited.inc_by(waited.as_secs_f64());
        self.waits.observe(waited.as_secs_f64());
    }

    pub(super) fn charged(&self, cost: i64) {
        self.turns.inc();
        let sum = self.ahead.fetch_add(cost, Ordering::Relaxed) + cost;
        if sum > 0 {
            self.ahead.fetch_sub(sum, Ordering::Relaxed);
            self.fuel.inc_by(sum.unsigned_abs());
        }
    }
}
