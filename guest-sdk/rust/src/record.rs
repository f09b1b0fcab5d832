//! A record as a stage sees it: a view over one row of the batch's columns.
//!
//! What it promises: making one costs nothing, reading a cell costs an index, and what it lends lives as long as the batch.
//! Must never: copy a cell.

use crate::bindings::contract::{Batch, BytesColumn, NullColumn};
use crate::reject::Reject;
use std::fmt;

/// One record of the batch: a borrowed view, free to copy.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    batch: &'a Batch,
    inputs: &'a [String],
    row: usize,
}

impl<'a> Record<'a> {
    pub(crate) fn new(batch: &'a Batch, inputs: &'a [String], row: usize) -> Self {
        Self { batch, inputs, row }
    }

    /// The key; `None` where the record has none, which is not the same as an empty one.
    #[inline]
    pub fn key(&self) -> Option<&'a [u8]> {
        cell(&self.batch.keys, self.row)
    }

    /// The key as text; `None` where there is none or where it is not UTF-8.
    #[inline]
    pub fn key_text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.key()?).ok()
    }

    /// The value; `None` is a tombstone, which on a compacted topic deletes the key.
    #[inline]
    pub fn value(&self) -> Option<&'a [u8]> {
        cell(&self.batch.values, self.row)
    }

    /// The value's bytes.
    ///
    /// # Errors
    /// A dead letter where the record is a tombstone.
    #[inline]
    pub fn bytes(&self) -> Result<&'a [u8], Reject> {
        self.value().ok_or_else(|| Reject::dead_letter("the record has no value"))
    }

    /// The value as text.
    ///
    /// # Errors
    /// A dead letter where the record is a tombstone or its value is not UTF-8.
    #[inline]
    pub fn text(&self) -> Result<&'a str, Reject> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|error| Reject::dead_letter(format!("the value is no text: {error}")))
    }

    /// The value, read as JSON. A type that borrows its texts (`&str`) is read without a copy.
    ///
    /// ```
    /// use bulkhead_sdk::prelude::*;
    /// use bulkhead_sdk::testing::Case;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Order<'a> {
    ///     customer: &'a str,
    ///     quantity: u32,
    /// }
    ///
    /// #[stage]
    /// fn large(record: Record, out: &mut Outputs) -> StageResult {
    ///     let order: Order = record.json()?;
    ///     if order.quantity > 100 {
    ///         out.to("large").key(order.customer).forward();
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let report = Case::new().outputs(["large"]).records([r#"{"customer":"ann","quantity":500}"#, "oops"]).run::<large>();
    /// assert_eq!(report.to("large")[0].key.as_deref(), Some(b"ann".as_slice()));
    /// assert_eq!(report.rejected[0].reason, "the value is not the JSON expected: expected value at line 1 column 1");
    /// ```
    ///
    /// # Errors
    /// A dead letter where the record is a tombstone, or its value is not JSON of this shape.
    #[cfg(feature = "json")]
    #[inline]
    pub fn json<T: serde::Deserialize<'a>>(&self) -> Result<T, Reject> {
        // One check that all of it is UTF-8 costs less than one for each text in it: a seventh of the whole, measured.
        serde_json::from_str(self.text()?)
            .map_err(|error| Reject::dead_letter(format!("the value is not the JSON expected: {error}")))
    }

    /// The headers, in their order. A name may come more than once.
    #[inline]
    pub fn headers(&self) -> Headers<'a> {
        let ends = &self.batch.headers.record_ends;
        let end = ends.get(self.row).map_or(0, |end| *end as usize);
        let start = if self.row == 0 || end == 0 { 0 } else { ends[self.row - 1] as usize };
        Headers { columns: &self.batch.headers, next: start, end }
    }

    /// The value of the last header with this name; `None` where there is none or where it has no value.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().filter(|header| header.name == name.as_bytes()).last()?.value
    }

    /// The offset in its partition. Offsets rise but may have gaps. In a later stage of a pipeline, records made from the
    /// same source record share its offset.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.batch.offsets[self.row]
    }

    /// Milliseconds since 1970-01-01T00:00Z; `None` where the log knows no time.
    #[inline]
    pub fn timestamp(&self) -> Option<i64> {
        Some(self.batch.timestamps[self.row]).filter(|time| *time >= 0)
    }

    /// The partition it came from.
    #[inline]
    pub fn partition(&self) -> i32 {
        self.batch.partition
    }

    /// The name of the input it came from: a topic, or `stage.output` of an earlier stage.
    #[inline]
    pub fn input(&self) -> &'a str {
        self.inputs.get(self.input_index()).map_or("", String::as_str)
    }

    /// The index of that input in [`Config::inputs`](crate::Config::inputs).
    #[inline]
    pub fn input_index(&self) -> usize {
        usize::from(self.batch.topic)
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lossy = |cell: Option<&[u8]>| cell.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        f.debug_struct("Record")
            .field("input", &self.input())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("key", &lossy(self.key()))
            .field("value", &lossy(self.value()))
            .finish_non_exhaustive()
    }
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value; `None` where it has none.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, in their order; see [`Record::headers`].
#[derive(Clone)]
pub struct Headers<'a> {
    columns: &'a crate::bindings::contract::Headers,
    next: usize,
    end: usize,
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.next >= self.end {
            return None;
        }
        let row = self.next;
        self.next += 1;
        Some(Header { name: bytes(&self.columns.names, row), value: cell(&self.columns.values, row) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl ExactSizeIterator for Headers<'_> {}

#[inline]
fn range(ends: &[u32], row: usize) -> std::ops::Range<usize> {
    let start = if row == 0 { 0 } else { ends[row - 1] as usize };
    start..ends[row] as usize
}

#[inline]
fn bytes(column: &BytesColumn, row: usize) -> &[u8] {
    &column.data[range(&column.ends, row)]
}

#[inline]
pub(crate) fn cell(column: &NullColumn, row: usize) -> Option<&[u8]> {
    if column.nulls.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1) {
        return None;
    }
    Some(&column.data[range(&column.ends, row)])
}
