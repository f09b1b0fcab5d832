//! Rows as the bytes of an object: JSON lines, CSV, Parquet.
//!
//! Must never: write a row that was not read by the schema given.

mod parquet;
mod text;

use crate::rows::{Row, Schema};
use bulkhead_core::bucket::Format;
use bytes::Bytes;

/// Why rows could not be written: a fault of ours, since the schema has read them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(pub(crate) String);

/// The bytes of an object that holds these rows in this order.
///
/// # Errors
/// Rows that are not of the schema.
pub fn encode<'a>(
    format: Format,
    schema: &Schema,
    rows: impl Iterator<Item = &'a Row> + Clone,
) -> Result<Bytes, EncodeError> {
    match format {
        Format::Jsonl => text::jsonl(schema, rows),
        Format::Csv => text::csv(schema, rows),
        Format::Parquet => parquet::parquet(schema, rows),
    }
}
