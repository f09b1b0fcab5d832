//! Rows of a declared output: what a stage returned, held against the output's columns.
//!
//! The same check runs in the record path, where a row that does not fit costs its record, and again where rows become an object,
//! which therefore never meets one.
//! Must never: accept a value that one of the formats could not write.

use bulkhead_core::bucket::{BucketOutput, Column, ColumnType};
use bulkhead_core::limits::KEY_PART_BYTES_MAX;
use bulkhead_core::time::parse_rfc3339_ms;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// Of a string column.
    Text(String),
    /// Of an int64 column, or a timestamp's milliseconds.
    Int(i64),
    /// Of a double column.
    Double(f64),
    /// Of a boolean column.
    Bool(bool),
}

/// A row: a cell for each column.
pub type Row = Vec<Cell>;

/// Why a row does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RowFault {
    /// In words, with the column's name; nothing of the value but its kind.
    pub reason: String,
}

/// What the rows of an output are held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    columns: Vec<Column>,
    by: Option<usize>,
}

fn fault(reason: impl Into<String>) -> RowFault {
    RowFault { reason: reason.into() }
}

impl Schema {
    /// The schema of an output.
    pub fn new(output: &BucketOutput) -> Self {
        Self { columns: output.columns.clone(), by: output.by }
    }

    /// A schema of these columns, by none of which rows are kept apart.
    pub fn of(columns: Vec<Column>) -> Self {
        Self { columns, by: None }
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Reads a row from a record's value.
    ///
    /// # Errors
    /// Where it does not fit; the first reason found.
    pub fn row(&self, value: Option<&[u8]>) -> Result<Row, RowFault> {
        let value = value.ok_or_else(|| fault("the row is null; a row is a JSON object"))?;
        let mut fields: Map<String, Value> = serde_json::from_slice(value).map_err(|error| {
            fault(format!("the row is no JSON object (line {}, column {})", error.line(), error.column()))
        })?;
        let mut row = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            row.push(cell(column, fields.remove(&column.name).unwrap_or(Value::Null))?);
        }
        if let Some(unknown) = fields.keys().next() {
            let shown: String = unknown.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(fault(format!("there is no column `{shown}`")));
        }
        if let Some(by) = self.by
            && self.segment(&row).is_some_and(|segment| segment.len() > KEY_PART_BYTES_MAX)
        {
            let name = &self.columns[by].name;
            return Err(fault(format!("column `{name}` is part of the object's key and has too long a value for it")));
        }
        Ok(row)
    }

    /// The part of the object's key that keeps a row's kind apart, `column=VALUE`; `None` where no column does.
    pub fn segment(&self, row: &Row) -> Option<String> {
        let by = self.by?;
        let value = match &row[by] {
            Cell::Null => "__NULL__".to_owned(),
            Cell::Text(text) => escaped(text),
            Cell::Int(number) => number.to_string(),
            Cell::Bool(yes) => yes.to_string(),
            Cell::Double(number) => number.to_string(),
        };
        Some(format!("{}={value}", self.columns[by].name))
    }
}

/// Percent-encoded but for what every store and tool takes as it is. A text that looks like the name of null is encoded too.
fn escaped(text: &str) -> String {
    if text.is_empty() {
        return "__EMPTY__".to_owned();
    }
    let reserved = text.starts_with("__");
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') || (byte == b'_' && !reserved);
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn cell(column: &Column, value: Value) -> Result<Cell, RowFault> {
    let name = &column.name;
    let wanted = match column.kind {
        ColumnType::String => "a text",
        ColumnType::Int64 => "a whole number of 64 bits",
        ColumnType::Double => "a number",
        ColumnType::Boolean => "true or false",
        ColumnType::Timestamp => "milliseconds since 1970, or a text like 2026-01-31T12:00:00Z",
    };
    let found = match &value {
        Value::Null if column.nullable => return Ok(Cell::Null),
        Value::Null => {
            return Err(fault(format!("column `{name}` is missing or null and not nullable; it takes {wanted}")));
        }
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let cell = match (column.kind, value) {
        (ColumnType::String, Value::String(text)) => Some(Cell::Text(text)),
        (ColumnType::Int64, Value::Number(number)) => number.as_i64().map(Cell::Int),
        (ColumnType::Double, Value::Number(number)) => number.as_f64().map(Cell::Double),
        (ColumnType::Boolean, Value::Bool(yes)) => Some(Cell::Bool(yes)),
        (ColumnType::Timestamp, Value::Number(number)) => number.as_i64().map(Cell::Int),
        (ColumnType::Timestamp, Value::String(text)) => parse_rfc3339_ms(&text).map(Cell::Int),
        _ => None,
    };
    cell.ok_or_else(|| fault(format!("column `{name}` takes {wanted}; the row has {found} that is not")))
}

/// Bytes that a row takes in memory, about.
pub fn bytes_held(row: &Row) -> u64 {
    let texts: usize = row.iter().map(|cell| if let Cell::Text(text) = cell { text.len() } else { 0 }).sum();
    (size_of::<Row>() + size_of_val(row.as_slice()) + texts) as u64
}
