//! Between the host's columns and the guest's: borrowed on the way in, moved on the way out, so nothing is copied but to and from the
//! guest's memory itself.
//!
//! Must never: let an outcome pass that breaks the contract or its limits.

use crate::bindings::bulkhead::stage::types as wit;
use bulkhead_core::columns::{Action, BytesColumn, Exception, Headers, NullColumn, Outcome, Outputs, RecordBatch};
use bulkhead_core::fault::{GuestFault, GuestFaultKind};
use bulkhead_core::limits::{REASON_BYTES_MAX, StageLimits};

/// The batch as the guest is given it.
pub(crate) fn lower(batch: &RecordBatch) -> wit::Batch<'_> {
    wit::Batch {
        topic: batch.topic,
        partition: batch.partition,
        offsets: &batch.offsets,
        timestamps: &batch.timestamps,
        keys: lower_null(&batch.keys),
        values: lower_null(&batch.values),
        headers: wit::HeadersParam {
            record_ends: &batch.headers.record_ends,
            names: wit::BytesColumnParam { data: &batch.headers.names.data, ends: &batch.headers.names.ends },
            values: lower_null(&batch.headers.values),
        },
    }
}

fn lower_null(column: &NullColumn) -> wit::NullColumnParam<'_> {
    wit::NullColumnParam { data: &column.data, ends: &column.ends, nulls: &column.nulls }
}

/// The outcome for a batch of `records` rows of a stage with `ports` outputs, checked.
///
/// # Errors
/// The first rule or limit that it breaks.
pub(crate) fn lift(
    outcome: wit::Outcome,
    records: usize,
    ports: usize,
    limits: &StageLimits,
) -> Result<Outcome, GuestFault> {
    let exceptions = outcome.exceptions.into_iter().map(lift_exception).collect();
    check_outcome(Outcome { outputs: lift_outputs(outcome.outputs), exceptions }, records, ports, limits)
}

/// What a guest returned for a batch of `records` rows of a stage with `ports` outputs, once it keeps the contract and its limits. Public for
/// those who try outcomes by the million, without a guest.
///
/// # Errors
/// The first rule or limit that it breaks.
pub fn check_outcome(
    mut outcome: Outcome,
    records: usize,
    ports: usize,
    limits: &StageLimits,
) -> Result<Outcome, GuestFault> {
    check_outputs(&outcome.outputs, records, ports, limits)?;
    check_exceptions(&outcome.exceptions, records)?;
    for Exception { reason, .. } in &mut outcome.exceptions {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    }
    Ok(outcome)
}

/// The outputs of a tick, checked: they are made from one row, of which nothing can be inherited.
///
/// # Errors
/// The first rule or limit that they break.
pub(crate) fn lift_tick(outputs: wit::Outputs, ports: usize, limits: &StageLimits) -> Result<Outputs, GuestFault> {
    let outputs = lift_outputs(outputs);
    check_outputs(&outputs, 1, ports, limits)?;
    if outputs.inherit.iter().any(|bits| *bits != 0) {
        return Err(malformed("outputs.inherit must be 0 in a tick, which has no record to inherit from"));
    }
    Ok(outputs)
}

fn check_outputs(outputs: &Outputs, records: usize, ports: usize, limits: &StageLimits) -> Result<(), GuestFault> {
    if outputs.len() > limits.output_records as usize {
        return Err(too_large(format!("{} outputs where {} are allowed", outputs.len(), limits.output_records)));
    }
    if outputs.bytes() as u64 > limits.output_bytes {
        return Err(too_large(format!("{} bytes where {} are allowed", outputs.bytes(), limits.output_bytes)));
    }
    outputs.check(records, ports).map_err(|broken| malformed(broken.to_string()))
}

pub(crate) fn too_large(message: impl Into<String>) -> GuestFault {
    GuestFault::new(GuestFaultKind::OutputTooLarge, message)
}

pub(crate) fn malformed(message: impl Into<String>) -> GuestFault {
    GuestFault::new(GuestFaultKind::MalformedOutput, message)
}

fn check_exceptions(exceptions: &[Exception], records: usize) -> Result<(), GuestFault> {
    if exceptions.is_empty() {
        return Ok(());
    }
    let mut seen = vec![false; records];
    for exception in exceptions {
        match seen.get_mut(exception.index as usize) {
            None => return Err(malformed("exceptions must be of rows of the batch")),
            Some(true) => return Err(malformed("exceptions must be at most one for each row")),
            Some(unseen) => *unseen = true,
        }
    }
    Ok(())
}

fn lift_exception(exception: wit::Exception) -> Exception {
    let action = match exception.action {
        wit::Action::Retry => Action::Retry,
        wit::Action::DeadLetter => Action::DeadLetter,
    };
    Exception { index: exception.index, action, reason: exception.reason }
}

fn lift_outputs(outputs: wit::Outputs) -> Outputs {
    let headers = outputs.headers;
    Outputs {
        source: outputs.source,
        to: outputs.to,
        inherit: outputs.inherit,
        keys: lift_null(outputs.keys),
        values: lift_null(outputs.values),
        headers: Headers {
            record_ends: headers.record_ends,
            names: BytesColumn { data: headers.names.data, ends: headers.names.ends },
            values: lift_null(headers.values),
        },
        timestamps: outputs.timestamps,
    }
}

fn lift_null(column: wit::NullColumnResult) -> NullColumn {
    NullColumn { data: column.data, ends: column.ends, nulls: column.nulls }
}
