//! Between a case and the host's columns.
//!
//! Must never: fill in what a guest left out; that is for the columns' own accessors.

use bulkhead_core::columns::{Action, Exception, Outputs, RecordBatch};
use bulkhead_core::grant::Capability;
use bulkhead_core::limits::SCRATCH_BYTES;
use bulkhead_core::secret::SecretValue;
use bulkhead_engine::{GrantedSecret, StageConfig};
use bulkhead_sdk::log::Level;
use bulkhead_sdk::testing::{Case, Emitted, Rejected, Report};
use std::ops::Range;
use std::sync::Arc;

pub(crate) fn config(case: &Case, limits: bulkhead_core::limits::StageLimits) -> StageConfig {
    StageConfig {
        pipeline: case.pipeline.clone(),
        stage: case.stage.clone(),
        inputs: case.inputs.clone(),
        outputs: case.outputs.clone(),
        settings: case.settings.clone(),
        limits,
        // A case needs no manifest.
        grants: Capability::ALL.iter().copied().collect(),
        scratch: Some(SCRATCH_BYTES),
    }
}

/// The secrets that a case lends.
///
/// # Panics
/// Where a name is none.
pub(crate) fn secrets(case: &Case) -> Vec<GrantedSecret> {
    let granted = case.secrets.iter().map(|(name, value)| GrantedSecret {
        name: name.parse().unwrap_or_else(|error| panic!("`{name}`: {error}")),
        value: Arc::new(SecretValue::new(value.clone())),
    });
    granted.collect()
}

pub(crate) fn batch(case: &Case, rows: Range<usize>) -> RecordBatch {
    let first = &case.records[rows.start];
    let mut batch = RecordBatch { topic: first.input, partition: first.partition, ..RecordBatch::default() };
    for i in rows {
        let record = &case.records[i];
        let headers = record.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref()));
        batch.push(case.offset(i), record.timestamp, record.key.as_deref(), record.value.as_deref(), headers);
    }
    batch
}

/// What a tick's outputs are made from: one record that has a time and nothing else.
pub(crate) fn moment(input: u16, partition: i32, now: i64) -> RecordBatch {
    let mut row = RecordBatch { topic: input, partition, ..RecordBatch::default() };
    row.push(-1, now, None, None, []);
    row
}

/// Adds what was emitted; `first` is the place in the case of the first record.
pub(crate) fn collect(
    case: &Case,
    batch: &RecordBatch,
    (first, by_tick): (usize, bool),
    outputs: &Outputs,
    report: &mut Report,
) {
    for i in 0..outputs.len() {
        let headers = outputs.headers(i, batch).map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)));
        report.outputs.push(Emitted {
            record: first + outputs.source[i] as usize,
            by_tick,
            to: case.outputs[usize::from(outputs.to[i])].clone(),
            key: outputs.key(i, batch).map(<[u8]>::to_vec),
            value: outputs.values.get(i).map(<[u8]>::to_vec),
            headers: headers.collect(),
            timestamp: outputs.timestamp(i, batch),
        });
    }
}

/// Adds the records that were rejected.
pub(crate) fn reject(first: usize, exceptions: &[Exception], report: &mut Report) {
    report.rejected.extend(exceptions.iter().map(|exception| Rejected {
        record: first + exception.index as usize,
        retry: exception.action == Action::Retry,
        reason: exception.reason.clone(),
    }));
}

pub(crate) fn level(level: bulkhead_engine::Level) -> Level {
    match level {
        bulkhead_engine::Level::Trace => Level::Trace,
        bulkhead_engine::Level::Debug => Level::Debug,
        bulkhead_engine::Level::Info => Level::Info,
        bulkhead_engine::Level::Warn => Level::Warn,
        bulkhead_engine::Level::Error => Level::Error,
    }
}
