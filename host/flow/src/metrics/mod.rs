//! What the record path tells Prometheus, by tenant and pipeline.
//!
//! Cardinality is bounded: [`PIPELINES_MAX`] pipelines have series of their own, further ones share the labels `_other`. A pipeline that is gone
//! takes its series with it. One that is parked keeps them, or a counter could come and go between two scrapes, until another needs the place:
//! then the one that is parked for longest gives it up. Counters count committed work, so their sum over restarts is what was really done.
//! Must never: carry a label that a record or a guest can choose.

mod names;
mod pipeline;

pub(crate) use pipeline::PipelineMetrics;

use names::Names;
use parking_lot::Mutex;
use prometheus::{CounterVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::sync::Arc;

/// Pipelines that have series of their own at one time.
pub const PIPELINES_MAX: usize = 1000;

const LABELS: [&str; 3] = ["tenant", "project", "pipeline"];

/// All series of a worker.
#[derive(Clone)]
pub(crate) struct Metrics {
    names: Arc<Mutex<Names>>,
    records: IntCounterVec,
    bytes: IntCounterVec,
    dead_letters: IntCounterVec,
    fuel: IntCounterVec,
    wasted: IntCounterVec,
    faults: IntCounterVec,
    limited: CounterVec,
    buffered: IntGaugeVec,
    guest_memory: IntGaugeVec,
    lag: IntGaugeVec,
    state: IntGaugeVec,
    batch_seconds: HistogramVec,
    pub(crate) commit_seconds: HistogramVec,
    pub(crate) commits: IntCounterVec,
    pub(crate) lane_batches: IntGaugeVec,
    pub(crate) lane_bytes: IntGaugeVec,
}

impl Metrics {
    /// Registers all series.
    ///
    /// # Errors
    /// Where the registry already has one of them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let with = |extra: &[&'static str]| -> Vec<&'static str> { LABELS.iter().chain(extra).copied().collect() };
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let made = IntCounterVec::new(Opts::new(format!("bulkhead_{name}"), help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let made = IntGaugeVec::new(Opts::new(format!("bulkhead_{name}"), help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let seconds = |name: &str, help: &str, labels: &[&str]| -> Result<HistogramVec, prometheus::Error> {
            let buckets = prometheus::exponential_buckets(0.0005, 2.5, 13)?;
            let made =
                HistogramVec::new(HistogramOpts::new(format!("bulkhead_{name}"), help).buckets(buckets), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        Ok(Self {
            names: Arc::default(),
            records: counter("records_total", "Records committed", &with(&["direction"]))?,
            bytes: counter("bytes_total", "Bytes of keys, values and headers committed", &with(&["direction"]))?,
            dead_letters: counter("dead_letters_total", "Records that became dead letters", &LABELS)?,
            fuel: counter("fuel_total", "Fuel used by committed work", &LABELS)?,
            wasted: counter("wasted_fuel_total", "Fuel that went into nothing that committed", &with(&["reason"]))?,
            faults: counter("faults_total", "Faults by side and kind", &with(&["side", "kind"]))?,
            limited: {
                let help = "Seconds that partitions waited for a limit of their tenant, by its name";
                let made = CounterVec::new(Opts::new("bulkhead_limited_seconds_total", help), &with(&["limit"]))?;
                registry.register(Box::new(made.clone()))?;
                made
            },
            buffered: gauge("buffered_bytes", "Batches and outputs held until their commit", &LABELS)?,
            guest_memory: gauge("guest_memory_bytes", "Linear memory of idle instances", &LABELS)?,
            lag: gauge("lag_records", "Records between committed positions and the ends of owned partitions", &LABELS)?,
            state: gauge("state_bytes", "State of stages in owned partitions, as its limit counts it", &LABELS)?,
            batch_seconds: seconds("batch_seconds", "From a batch's start in its first stage to its lane", &LABELS)?,
            commit_seconds: seconds("commit_seconds", "Time of a commit", &["lane"])?,
            commits: counter("commits_total", "Transactions by outcome", &["lane", "outcome"])?,
            lane_batches: gauge("lane_batches", "Batches waiting in a lane", &["lane"])?,
            lane_bytes: gauge("lane_bytes", "Bytes of the transaction that a lane commits", &["lane"])?,
        })
    }
}
