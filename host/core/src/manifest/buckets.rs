//! The parts of a manifest that name buckets: a stage's grants, and outputs whose rows become objects.
//!
//! Must never: give an output whose rows could not all be written: every column has a name and a type that each format has.

use super::Check;
use super::bound::shown;
use super::raw::{RawBucketGrant, RawColumn, RawOutput, RawRoll};
use crate::bucket::{BucketGrant, BucketOutput, Column, ColumnType, KeyPrefix};
use crate::code::Code;
use crate::limits::{self, RollLimits};
use std::collections::BTreeMap;

/// Bytes of a column's name at most.
const COLUMN_NAME_BYTES_MAX: usize = 64;

/// A stage's grants, by name.
pub(super) fn grants(
    check: &mut Check,
    stage: &str,
    raw: BTreeMap<String, RawBucketGrant>,
) -> Option<Vec<BucketGrant>> {
    let field = format!("{stage}.buckets");
    if raw.len() > limits::BUCKET_GRANTS_MAX {
        let detail = format!("has {} entries; at most {} are allowed", raw.len(), limits::BUCKET_GRANTS_MAX);
        check.error(Code::LimitExceeded, &field, detail);
    }
    let grants = raw.into_iter().map(|(name, grant)| {
        let at = format!("{field}.{}", shown(&name));
        let name = check.name(&at, &name);
        let bucket = check.name(format!("{at}.bucket"), &grant.bucket);
        let prefix = prefix(check, &at, &grant.prefix);
        Some(BucketGrant { name: name?, bucket: bucket?, prefix: prefix?, access: grant.access })
    });
    // All of them are looked at, so that all mistakes are told.
    grants.collect::<Vec<_>>().into_iter().collect()
}

fn prefix(check: &mut Check, at: &str, text: &str) -> Option<KeyPrefix> {
    text.parse()
        .map_err(|error: crate::bucket::KeyError| {
            check.error(Code::KeyRefused, format!("{at}.prefix"), error.to_string());
        })
        .ok()
}

/// An output with a `bucket`.
pub(super) fn output(check: &mut Check, at: &str, raw: RawOutput) -> Option<BucketOutput> {
    let bucket = check.name(format!("{at}.bucket"), raw.bucket.as_deref().unwrap_or_default());
    let prefix = prefix(check, at, raw.prefix.as_deref().unwrap_or_default());
    if raw.format.is_none() {
        check.error(Code::FieldInvalid, format!("{at}.format"), "say `jsonl`, `csv` or `parquet`");
    }
    let columns = columns(check, at, raw.columns.unwrap_or_default());
    let (roll, by) = roll(check, at, raw.roll.unwrap_or_default(), &columns);
    Some(BucketOutput { bucket: bucket?, prefix: prefix?, format: raw.format?, columns, roll, by })
}

fn columns(check: &mut Check, at: &str, raw: Vec<RawColumn>) -> Vec<Column> {
    let field = format!("{at}.columns");
    if raw.is_empty() || raw.len() > limits::COLUMNS_MAX {
        let detail = format!("has {} columns; must have 1 to {}", raw.len(), limits::COLUMNS_MAX);
        check.error(Code::LimitExceeded, &field, detail);
    }
    check.unique(&field, raw.iter().map(|column| column.name.as_str()));
    for column in raw.iter().filter(|column| !is_column(&column.name)) {
        let shown = shown(&column.name);
        let detail = format!("`{shown}` is no column name: use 1 to 64 of a-z, A-Z, 0-9, _ and -");
        check.error(Code::FieldInvalid, &field, detail);
    }
    raw.into_iter().map(|RawColumn { name, kind, nullable }| Column { name, kind, nullable }).collect()
}

fn is_column(name: &str) -> bool {
    (1..=COLUMN_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn roll(check: &mut Check, at: &str, raw: RawRoll, columns: &[Column]) -> (RollLimits, Option<usize>) {
    let (or, max) = (RollLimits::default(), RollLimits::MAX);
    let field = |name: &str| format!("{at}.roll.{name}");
    let roll = RollLimits {
        records: check.limit(field("records"), raw.records, or.records, max.records),
        bytes: check.limit(field("bytes"), raw.bytes, or.bytes, max.bytes),
        every_ms: check.limit(field("everyMs"), raw.every_ms, or.every_ms, max.every_ms),
    };
    if roll.every_ms < RollLimits::EVERY_MS_MIN {
        let detail = format!("{} is below {}", roll.every_ms, RollLimits::EVERY_MS_MIN);
        check.error(Code::LimitExceeded, field("everyMs"), detail);
    }
    let Some(by) = raw.by else { return (roll, None) };
    let found = columns.iter().position(|column| column.name == by);
    match found.map(|index| columns[index].kind) {
        None => check.error(Code::FieldInvalid, field("by"), format!("there is no column `{}`", shown(&by))),
        Some(ColumnType::String | ColumnType::Int64 | ColumnType::Boolean) => {}
        Some(_) => {
            check.error(
                Code::FieldInvalid,
                field("by"),
                "rows are kept apart by a string, int64 or boolean column only",
            );
        }
    }
    (roll, found)
}
