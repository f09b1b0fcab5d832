//! Lines of an answer as a file for a spreadsheet or a data frame, by the writer of stages' outputs to buckets.
//!
//! Must never: change a figure.

use bulkhead_bucket::format::encode;
use bulkhead_bucket::rows::{Row, Schema};
use bulkhead_control::port::Refusal;
use bulkhead_core::bucket::{Column, Format};
use bulkhead_core::code::Code;
use bytes::Bytes;
use serde_json::Value;

/// The bytes of a file in which each line is a row.
///
/// # Errors
/// In words, where a line has not these columns.
pub(crate) fn write(format: Format, columns: Vec<Column>, lines: &[Value]) -> Result<Bytes, String> {
    let schema = Schema::of(columns);
    let row = |line: &Value| schema.row(Some(line.to_string().as_bytes())).map_err(|fault| fault.reason);
    let rows = lines.iter().map(row).collect::<Result<Vec<Row>, _>>()?;
    encode(format, &schema, rows.iter()).map_err(|error| error.to_string())
}

/// [`write()`] as control wants it.
pub(crate) fn parquet(columns: &[Column], lines: &[Value]) -> Result<Bytes, Refusal> {
    write(Format::Parquet, columns.to_vec(), lines)
        .map_err(|why| Refusal::new(Code::Internal, "the figures cannot be written").because(why))
}
