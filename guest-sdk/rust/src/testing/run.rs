//! Runs a case natively, over the same columns and code as in the sandbox.
//!
//! Must never: skip the columns. What would break there has to break here.

use super::{Between, Case, Emitted, Rejected, Report, Step};
use crate::bindings::contract;
use crate::bindings::ticking::exports::bulkhead::stage::ticker::Moment;
use crate::bucket::lend;
use crate::log::Level;
use crate::outputs::{INHERIT_HEADERS, INHERIT_KEY, INHERIT_TIMESTAMP, end, set_null};
use crate::record::{Record, cell};
use crate::stage::Instance;
use crate::state::{call, native};
use crate::tick::Tick;
use crate::{InitError, Stage};
use std::cell::RefCell;
use std::ops::Range;

thread_local! {
    static LOGS: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Keeps a line for the report of the run on this thread.
pub(crate) fn capture(level: Level, message: String) {
    eprintln!("{level:?} {message}");
    LOGS.with_borrow_mut(|logs| logs.push((level, message)));
}

pub(crate) fn run<S: Stage>(case: &Case) -> Result<Report, InitError> {
    LOGS.take();
    call::reset();
    native::take();
    lend(case.buckets.clone());
    crate::secrets::host::lend(case.secrets.clone());
    let mut instance = Instance::<S>::start(case.contract())?;
    let mut report = Report::default();
    let mut done = 0;
    for step in case.steps() {
        match step {
            Step::Batch(rows) => {
                let batch = columns(case, rows.clone());
                let outcome = instance.process(&batch);
                collect(case, &batch, rows.start, false, &outcome.outputs, &mut report);
                reject(rows.start, outcome.exceptions, &mut report);
                done = rows.end;
            }
            Step::Between(Between::Tick { input, partition, now }) => {
                assert!(S::TICKS, "the case has a tick and the stage none: name one in `#[stage(tick = function)]`");
                let at = Moment { topic: input, partition, now };
                let outputs = instance.tick(at);
                collect(case, &Tick::new(at).row(), done, true, &outputs, &mut report);
            }
            Step::Between(Between::Restart) => instance = Instance::start(case.contract())?,
        }
        if report.rejected.last().is_some_and(|rejected| rejected.retry) {
            break;
        }
    }
    report.logs = LOGS.take();
    report.state = native::take();
    let lent = lend(Default::default());
    report.buckets = lent.into_iter().map(|(grant, (_, bucket))| (grant, bucket.objects())).collect();
    Ok(report)
}

pub(crate) fn columns(case: &Case, rows: Range<usize>) -> contract::Batch {
    let mut batch = contract::Batch {
        topic: case.records[rows.start].input,
        partition: case.records[rows.start].partition,
        offsets: rows.clone().map(|i| case.offset(i)).collect(),
        timestamps: case.records[rows.clone()].iter().map(|record| record.timestamp).collect(),
        keys: column(),
        values: column(),
        headers: contract::Headers {
            record_ends: Vec::new(),
            names: contract::BytesColumn { data: Vec::new(), ends: Vec::new() },
            values: column(),
        },
    };
    for record in &case.records[rows] {
        push(&mut batch.keys, record.key.as_deref());
        push(&mut batch.values, record.value.as_deref());
        for (name, value) in &record.headers {
            batch.headers.names.data.extend_from_slice(name);
            batch.headers.names.ends.push(end(batch.headers.names.data.len()));
            push(&mut batch.headers.values, value.as_deref());
        }
        batch.headers.record_ends.push(end(batch.headers.names.ends.len()));
    }
    if batch.headers.names.ends.is_empty() {
        batch.headers.record_ends.clear();
    }
    batch
}

fn column() -> contract::NullColumn {
    contract::NullColumn { data: Vec::new(), ends: Vec::new(), nulls: Vec::new() }
}

fn push(column: &mut contract::NullColumn, value: Option<&[u8]>) {
    match value {
        Some(value) => column.data.extend_from_slice(value),
        None => set_null(column, column.ends.len()),
    }
    column.ends.push(end(column.data.len()));
}

/// Adds what a batch or a tick emitted; `first` is the place in the case of its first record.
fn collect(
    case: &Case,
    batch: &contract::Batch,
    first: usize,
    by_tick: bool,
    outputs: &contract::Outputs,
    report: &mut Report,
) {
    // The columns that go out have the shape of those that come in, so the same view reads both.
    let own = contract::Batch {
        topic: 0,
        partition: 0,
        offsets: Vec::new(),
        timestamps: outputs.timestamps.clone(),
        keys: outputs.keys.clone(),
        values: outputs.values.clone(),
        headers: outputs.headers.clone(),
    };
    for row in 0..outputs.source.len() {
        let (source, inherit) = (outputs.source[row] as usize, outputs.inherit[row]);
        let from = |bit: u8| if inherit & bit != 0 { (batch, source) } else { (&own, row) };
        let (keys, key_row) = from(INHERIT_KEY);
        let (headers, header_row) = from(INHERIT_HEADERS);
        let key = if keys.keys.ends.is_empty() { None } else { cell(&keys.keys, key_row) };
        let headers = Record::new(headers, &[], header_row).headers();
        let own_time = inherit & INHERIT_TIMESTAMP == 0 && !outputs.timestamps.is_empty();
        report.outputs.push(Emitted {
            record: first + source,
            by_tick,
            to: case.outputs[usize::from(outputs.to[row])].clone(),
            key: key.map(<[u8]>::to_vec),
            value: cell(&outputs.values, row).map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
            timestamp: if own_time { outputs.timestamps[row] } else { batch.timestamps[source] },
        });
    }
}

fn reject(first: usize, exceptions: Vec<contract::Exception>, report: &mut Report) {
    report.rejected.extend(exceptions.into_iter().map(|exception| Rejected {
        record: first + exception.index as usize,
        retry: exception.action == contract::Action::Retry,
        reason: exception.reason,
    }));
}
