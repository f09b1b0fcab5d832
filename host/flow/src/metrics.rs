//! What the record path tells Prometheus, by tenant and pipeline.
//!
//! Cardinality is bounded: after [`PIPELINES_MAX`] pipelines, further ones share the labels `_other`; a pipeline that is gone takes
//! its series with it. Counters count committed work, so their sum over restarts is what was really done.
//! Must never: carry a label that a record or a guest can choose.

use crate::tenant::Rate;
use bulkhead_core::assignment::{PipelineKey, Totals};
use bulkhead_core::code::Code;
use bulkhead_core::fault::GuestFaultKind;
use bulkhead_core::usage::Wasted;
use parking_lot::Mutex;
use prometheus::{
    CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Pipelines that have series of their own.
pub const PIPELINES_MAX: usize = 1000;

const LABELS: [&str; 3] = ["tenant", "project", "pipeline"];

/// All series of a worker.
#[derive(Clone)]
pub(crate) struct Metrics {
    named: Arc<Mutex<BTreeSet<PipelineKey>>>,
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

/// The series of one pipeline.
pub(crate) struct PipelineMetrics {
    all: Metrics,
    labels: [String; 3],
    records_in: IntCounter,
    records_out: IntCounter,
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    dead_letters: IntCounter,
    fuel: IntCounter,
    pub(crate) buffered: IntGauge,
    pub(crate) guest_memory: IntGauge,
    pub(crate) lag: IntGauge,
    pub(crate) state: IntGauge,
    pub(crate) batch_seconds: Histogram,
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
            named: Arc::default(),
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

    /// The series of a pipeline.
    pub(crate) fn pipeline(&self, key: &PipelineKey) -> PipelineMetrics {
        let mut named = self.named.lock();
        let known = named.contains(key) || (named.len() < PIPELINES_MAX && named.insert(key.clone()));
        let labels = if known {
            [key.tenant.to_string(), key.project.to_string(), key.pipeline.to_string()]
        } else {
            ["_other", "_other", "_other"].map(str::to_owned)
        };
        let of =
            |extra: Option<&'static str>| -> Vec<&str> { labels.iter().map(String::as_str).chain(extra).collect() };
        PipelineMetrics {
            all: self.clone(),
            records_in: self.records.with_label_values(&of(Some("in"))),
            records_out: self.records.with_label_values(&of(Some("out"))),
            bytes_in: self.bytes.with_label_values(&of(Some("in"))),
            bytes_out: self.bytes.with_label_values(&of(Some("out"))),
            dead_letters: self.dead_letters.with_label_values(&of(None)),
            fuel: self.fuel.with_label_values(&of(None)),
            buffered: self.buffered.with_label_values(&of(None)),
            guest_memory: self.guest_memory.with_label_values(&of(None)),
            lag: self.lag.with_label_values(&of(None)),
            state: self.state.with_label_values(&of(None)),
            batch_seconds: self.batch_seconds.with_label_values(&of(None)),
            labels,
        }
    }
}

impl PipelineMetrics {
    /// Counts committed work.
    pub(crate) fn committed(&self, done: &Totals) {
        self.records_in.inc_by(done.records_in);
        self.records_out.inc_by(done.records_out);
        self.bytes_in.inc_by(done.bytes_in);
        self.bytes_out.inc_by(done.bytes_out);
        self.dead_letters.inc_by(done.dead_letters);
        self.fuel.inc_by(done.fuel);
    }

    /// Counts fuel that committed work says was wasted, part of it perhaps by earlier work.
    pub(crate) fn wasted<'a>(&self, wasted: impl Iterator<Item = &'a Wasted>) {
        let [tenant, project, pipeline] = &self.labels;
        for (reason, fuel) in wasted.flat_map(|wasted| Wasted::REASONS.into_iter().zip(wasted.by_reason())) {
            if fuel > 0 {
                self.all.wasted.with_label_values(&[tenant.as_str(), project, pipeline, reason]).inc_by(fuel);
            }
        }
    }

    /// Counts a fault of the tenant's.
    pub(crate) fn guest_fault(&self, kind: GuestFaultKind) {
        self.fault("guest", kind.as_str());
    }

    /// Counts a fault of ours.
    pub(crate) fn host_fault(&self, code: Code) {
        self.fault("host", code.id());
    }

    /// Counts a wait for a limit of the tenant's.
    pub(crate) fn limited(&self, rate: Rate, waited: Duration) {
        let [tenant, project, pipeline] = &self.labels;
        let series = self.all.limited.with_label_values(&[tenant.as_str(), project, pipeline, rate.limit()]);
        series.inc_by(waited.as_secs_f64());
    }

    fn fault(&self, side: &str, kind: &str) {
        let [tenant, project, pipeline] = &self.labels;
        self.all.faults.with_label_values(&[tenant.as_str(), project, pipeline, side, kind]).inc();
    }
}

impl PipelineMetrics {
    /// Takes the pipeline's series away. Counting goes on without effect. Not done on drop: a lane may hold the pipeline for a while
    /// longer, when another of the same name has series already.
    pub(crate) fn remove(&self) {
        let [tenant, project, pipeline] = &self.labels;
        if tenant == "_other" {
            return;
        }
        let labels = [tenant.as_str(), project, pipeline];
        let all = &self.all;
        for direction in ["in", "out"] {
            let labels = [labels[0], labels[1], labels[2], direction];
            // A series that was never touched is not there to remove, which is as good.
            let _ = all.records.remove_label_values(&labels);
            let _ = all.bytes.remove_label_values(&labels);
        }
        for reason in Wasted::REASONS {
            let _ = all.wasted.remove_label_values(&[labels[0], labels[1], labels[2], reason]);
        }
        let _ = all.dead_letters.remove_label_values(&labels);
        let _ = all.fuel.remove_label_values(&labels);
        let _ = all.batch_seconds.remove_label_values(&labels);
        for rate in Rate::ALL {
            let _ = all.limited.remove_label_values(&[labels[0], labels[1], labels[2], rate.limit()]);
        }
        for gauge in [&all.buffered, &all.guest_memory, &all.lag, &all.state] {
            let _ = gauge.remove_label_values(&labels);
        }
        let kinds = GuestFaultKind::ALL.iter().map(|kind| ("guest", kind.as_str()));
        for (side, kind) in kinds.chain(Code::ALL.iter().map(|code| ("host", code.id()))) {
            let _ = all.faults.remove_label_values(&[labels[0], labels[1], labels[2], side, kind]);
        }
        all.named.lock().retain(|key| {
            (key.tenant.as_str(), key.project.as_str(), key.pipeline.as_str()) != (labels[0], labels[1], labels[2])
        });
    }
}
