//! What is unusual, for Prometheus: a series only while it is so.
//!
//! Must never: have more than [`SERIES_MAX`] series of tenants, or one of a pipeline that is gone.

use super::signal::Signal;
use super::watch::Change;
use bulkhead_core::assignment::PipelineKey;
use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use std::collections::HashSet;
use std::sync::Arc;

/// Series at a time; what is unusual beyond them is counted, told in logs and shown, and has none.
const SERIES_MAX: usize = 1_000;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    now: IntGaugeVec,
    begun: IntCounterVec,
    named: Arc<Mutex<HashSet<(PipelineKey, &'static str)>>>,
}

impl Series {
    /// Registers them.
    ///
    /// # Errors
    /// Where the registry has metrics of these names already.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let now = IntGaugeVec::new(
            Opts::new("bulkhead_pipeline_unusual", "1 while a signal of a pipeline is unusual against its own past."),
            &["tenant", "project", "pipeline", "signal"],
        )?;
        let begun = IntCounterVec::new(
            Opts::new("bulkhead_pipeline_unusual_total", "How often a signal of some pipeline became unusual."),
            &["signal"],
        )?;
        registry.register(Box::new(now.clone()))?;
        registry.register(Box::new(begun.clone()))?;
        for signal in Signal::ALL {
            begun.with_label_values(&[signal.name()]).reset();
        }
        Ok(Self { now, begun, named: Arc::default() })
    }

    pub(super) fn changed(&self, key: &PipelineKey, signal: Signal, change: &Change) {
        let Change::Began(_) = change else { return self.remove(key, signal) };
        self.begun.with_label_values(&[signal.name()]).inc();
        let mut named = self.named.lock();
        if named.len() < SERIES_MAX {
            named.insert((key.clone(), signal.name()));
            self.now.with_label_values(&labels(key, signal)).set(1);
        }
    }

    /// Takes a pipeline's series away.
    pub(super) fn forget(&self, key: &PipelineKey) {
        Signal::ALL.into_iter().for_each(|signal| self.remove(key, signal));
    }

    fn remove(&self, key: &PipelineKey, signal: Signal) {
        if self.named.lock().remove(&(key.clone(), signal.name())) {
            // It was set when it was named.
            let _ = self.now.remove_label_values(&labels(key, signal));
        }
    }
}

fn labels(key: &PipelineKey, signal: Signal) -> [&str; 4] {
    [key.tenant.as_str(), key.project.as_str(), key.pipeline.as_str(), signal.name()]
}
