//! Columns: what a guest returns for a batch, and the host's own use of it afterwards.
//!
//! An outcome is made well and then broken in some places, or not: of random lists alone hardly one would come near the rules. One that
//! was not broken must be taken; one that is taken can be read row by row, thinned out and read again.
//! Must never: repeat the rules that it tests; it says what they are for.

use arbitrary::{Result, Unstructured};
use bulkhead_core::columns::{Action, Exception, NullColumn, Outcome, Outputs, RecordBatch};
use bulkhead_core::fault::GuestFaultKind;
use bulkhead_core::limits::{REASON_BYTES_MAX, StageLimits};
use bulkhead_engine::check_outcome;

/// Rows of a batch, and outputs, at most.
const ROWS_MAX: usize = 12;
/// Bytes of a refusal at most: it is kept in a dead letter.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

type Cell = Option<Vec<u8>>;

/// A row as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    timestamp: i64,
    key: Cell,
    value: Cell,
    headers: Vec<(Vec<u8>, Cell)>,
}

/// See the module's documentation.
pub fn run(data: &[u8]) {
    // Too few bytes for a whole case make none.
    _ = case(&mut Unstructured::new(data));
}

fn case(input: &mut Unstructured<'_>) -> Result<()> {
    let rows = (0..input.int_in_range(0..=ROWS_MAX)?).map(|_| row(input)).collect::<Result<Vec<_>>>()?;
    let batch = batch(&rows);
    let ports: usize = input.int_in_range(1..=4)?;
    let (mut outcome, sound) = outcome(input, rows.len(), ports)?;
    let broken = input.int_in_range(0..=4)?;
    for _ in 0..broken {
        break_one(input, &mut outcome)?;
    }
    let limits = StageLimits {
        output_bytes: if input.ratio(1, 8)? { 64 } else { StageLimits::MAX.output_bytes },
        output_records: if input.ratio(1, 8)? { 3 } else { StageLimits::MAX.output_records },
        ..StageLimits::default()
    };
    match check_outcome(outcome.clone(), rows.len(), ports, &limits) {
        Ok(taken) => {
            assert!(taken.outputs.len() <= limits.output_records as usize);
            assert!(taken.outputs.bytes() as u64 <= limits.output_bytes);
            use_all(&taken, &batch, ports);
        }
        Err(fault) => {
            assert!(!fault.message.is_empty() && fault.message.len() <= MESSAGE_BYTES_MAX, "{}", fault.message);
            let too_large = fault.kind == GuestFaultKind::OutputTooLarge;
            assert!(too_large || fault.kind == GuestFaultKind::MalformedOutput, "{fault:?}");
            assert!(too_large || broken > 0 || !sound, "a sound outcome was refused: {fault:?}");
        }
    }
    Ok(())
}

fn cell(input: &mut Unstructured<'_>) -> Result<Cell> {
    let bytes: usize = input.int_in_range(0..=9)?;
    Ok(if bytes == 9 { None } else { Some(input.bytes(bytes)?.to_vec()) })
}

fn row(input: &mut Unstructured<'_>) -> Result<Row> {
    let headers = input.int_in_range(0..=3)?;
    let headers = (0..headers).map(|_| Ok((cell(input)?.unwrap_or_default(), cell(input)?)));
    let headers = headers.collect::<Result<Vec<_>>>()?;
    Ok(Row { timestamp: input.int_in_range(-1..=1_000)?, key: cell(input)?, value: cell(input)?, headers })
}

/// What the host makes of rows, which must give them back.
fn batch(rows: &[Row]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for (i, row) in rows.iter().enumerate() {
        let headers = row.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref()));
        batch.push(2 * i as i64, row.timestamp, row.key.as_deref(), row.value.as_deref(), headers);
    }
    let selected = batch.select(0..rows.len());
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(&row_of(&batch, i), row);
        assert_eq!(&row_of(&selected, i), row);
    }
    assert_eq!((batch.len(), selected.bytes()), (rows.len(), batch.bytes()));
    batch
}

fn row_of(batch: &RecordBatch, i: usize) -> Row {
    let owned = |cell: Option<&[u8]>| cell.map(<[u8]>::to_vec);
    Row {
        timestamp: batch.timestamps[i],
        key: owned(batch.keys.get(i)),
        value: owned(batch.values.get(i)),
        headers: batch.headers.row(i).map(|(name, value)| (name.to_vec(), owned(value))).collect(),
    }
}

/// An outcome as a guest should make it, and whether it is sound: without rows in the batch, it cannot have outputs.
fn outcome(input: &mut Unstructured<'_>, rows: usize, ports: usize) -> Result<(Outcome, bool)> {
    let mut outcome = Outcome::default();
    let made: usize = input.int_in_range(0..=ROWS_MAX)?;
    let mut source = 0;
    for i in 0..made {
        source = input.int_in_range(source..=source.max(rows.saturating_sub(1) as u32))?;
        let port = input.choose_index(ports)? as u16;
        let row = row(input)?;
        outcome.outputs.push(source, port, row.timestamp, row.key.as_deref(), row.value.as_deref());
        outcome.outputs.inherit[i] = input.int_in_range(0..=7)?;
        row.headers.iter().for_each(|(name, value)| outcome.outputs.headers.push(name, value.as_deref()));
        outcome.outputs.headers.end_row(i);
    }
    if input.arbitrary()? {
        outcome.outputs.keys = NullColumn::default();
    }
    if input.arbitrary()? {
        outcome.outputs.timestamps.clear();
    }
    for index in 0..rows as u32 {
        if input.ratio(1, 6)? {
            let action = if input.arbitrary()? { Action::Retry } else { Action::DeadLetter };
            let reason = "é".repeat(if input.ratio(1, 8)? { REASON_BYTES_MAX } else { 3 });
            outcome.exceptions.push(Exception { index, action, reason });
        }
    }
    Ok((outcome, made == 0 || rows > 0))
}

/// Breaks one of the lists, or leaves it as it was by chance.
fn break_one(input: &mut Unstructured<'_>, outcome: &mut Outcome) -> Result<()> {
    let Outputs { source, to, inherit, keys, values, headers, timestamps } = &mut outcome.outputs;
    match input.int_in_range(0..=13)? {
        0 => list(input, source),
        1 => list(input, to),
        2 => list(input, inherit),
        3 => list(input, &mut keys.ends),
        4 => list(input, &mut keys.data),
        5 => list(input, &mut keys.nulls),
        6 => list(input, &mut values.ends),
        7 => list(input, &mut values.data),
        8 => list(input, &mut values.nulls),
        9 => list(input, &mut headers.record_ends),
        10 => list(input, &mut headers.names.ends),
        11 => list(input, &mut headers.values.nulls),
        12 => list(input, timestamps),
        _ => {
            let exception = Exception { index: input.arbitrary()?, action: Action::Retry, reason: String::new() };
            outcome.exceptions.push(exception);
            Ok(())
        }
    }
}

fn list<T: for<'a> arbitrary::Arbitrary<'a> + Copy>(input: &mut Unstructured<'_>, list: &mut Vec<T>) -> Result<()> {
    let at = input.choose_index(list.len() + 1)?;
    match input.int_in_range(0..=2)? {
        0 if at < list.len() => list[at] = input.arbitrary()?,
        1 if at < list.len() => drop(list.remove(at)),
        _ => list.insert(at, input.arbitrary()?),
    }
    Ok(())
}

/// What the host does with an outcome that was taken.
fn use_all(outcome: &Outcome, batch: &RecordBatch, ports: usize) {
    let outputs = &outcome.outputs;
    let before: Vec<_> = (0..outputs.len()).map(|i| read(outputs, i, batch)).collect();
    assert!(outputs.to.iter().all(|to| usize::from(*to) < ports));
    let own: usize = (0..outputs.len()).map(|i| outputs.headers.row(i).len()).sum();
    assert_eq!(own, outputs.headers.names.len(), "each header belongs to one row");
    let mut rows: Vec<u32> = outcome.exceptions.iter().map(|exception| exception.index).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), outcome.exceptions.len(), "a row has one exception");
    for Exception { index, reason, .. } in &outcome.exceptions {
        assert!((*index as usize) < batch.len() && reason.len() <= REASON_BYTES_MAX);
    }

    let mut thinned = outputs.clone();
    thinned.retain(|row| row % 2 == 0);
    thinned.check(batch.len(), ports).expect("what was sound stays sound");
    let kept: Vec<_> = before.into_iter().filter(|(source, _)| source % 2 == 0).collect();
    assert_eq!((0..thinned.len()).map(|i| read(&thinned, i, batch)).collect::<Vec<_>>(), kept);
}

fn read(outputs: &Outputs, i: usize, batch: &RecordBatch) -> (u32, Row) {
    let owned = |cell: Option<&[u8]>| cell.map(<[u8]>::to_vec);
    let row = Row {
        timestamp: outputs.timestamp(i, batch),
        key: owned(outputs.key(i, batch)),
        value: owned(outputs.values.get(i)),
        headers: outputs.headers(i, batch).map(|(name, value)| (name.to_vec(), owned(value))).collect(),
    };
    (outputs.source[i], row)
}
