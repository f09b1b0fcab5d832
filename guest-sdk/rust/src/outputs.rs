//! What a stage emits, kept as the columns that go back to the host.
//!
//! Invariant: a row is there once its `ends` are; bytes behind the last end belong to a draft that is not sent, and are cut
//! off before anything else is written. So an abandoned draft needs no destructor, and a rejected record leaves nothing.
//! Must never: allocate for each record, or return columns that break the contract.

use crate::bindings::contract;
use crate::config::{Port, find, undeclared};
use crate::draft::Draft;
use crate::record::Record;
use std::fmt;

pub(crate) const INHERIT_KEY: u8 = 1;
pub(crate) const INHERIT_HEADERS: u8 = 2;
pub(crate) const INHERIT_TIMESTAMP: u8 = 4;

/// Where a stage sends what it makes of a record.
///
/// An output takes over the key, the headers and the timestamp of the record it is made from, unless it is given its own. In a tick
/// there is no record: an output has then no key and no headers, and the tick's time, unless it is given its own.
///
/// ```
/// use bulkhead_sdk::prelude::*;
/// use bulkhead_sdk::testing::{Case, Input};
///
/// #[stage]
/// fn split(record: Record, out: &mut Outputs) -> StageResult {
///     for word in record.text()?.split(' ') {
///         out.to("words").header("length", word.len().to_string()).value(word);
///     }
///     Ok(())
/// }
///
/// let report = Case::new().outputs(["words"]).records([Input::new("two words").key("k")]).run::<split>();
/// assert_eq!(report.texts("words"), ["two", "words"]);
/// assert_eq!(report.outputs[1].key.as_deref(), Some(b"k".as_slice()));
/// assert_eq!(report.outputs[1].header("length"), Some(b"5".as_slice()));
/// ```
pub struct Outputs<'a> {
    pub(crate) columns: contract::Outputs,
    names: &'a [String],
    /// The record at which the stage is working, and its row.
    record: Record<'a>,
    source: u32,
    /// Number of outputs before that record's first.
    first: usize,
    /// What an output takes over that is given nothing of its own.
    pub(crate) own: Own,
    /// The host's time, in a tick.
    tick: Option<i64>,
}

/// What an output takes over from its record, and the time of one that takes over nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) inherit: u8,
    pub(crate) timestamp: i64,
}

const INHERIT_ALL: Own = Own { inherit: INHERIT_KEY | INHERIT_HEADERS | INHERIT_TIMESTAMP, timestamp: 0 };

/// What [`Outputs::to`] takes: a [`Port`], or an output's name.
pub trait ToPort: sealed::Sealed {
    #[doc(hidden)]
    fn to_port(self, names: &[String]) -> Port;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Port {}
    impl Sealed for &str {}
}

impl ToPort for Port {
    #[inline]
    fn to_port(self, _: &[String]) -> Port {
        self
    }
}

impl ToPort for &str {
    #[inline]
    fn to_port(self, names: &[String]) -> Port {
        find(names, self).unwrap_or_else(|| panic!("{}", undeclared(names, self)))
    }
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(names: &'a [String], record: Record<'a>) -> Self {
        Self { columns: empty(), names, record, source: 0, first: 0, own: INHERIT_ALL, tick: None }
    }

    /// The outputs of a tick: there is no record to take anything over from.
    pub(crate) fn of_tick(names: &'a [String], row: Record<'a>, now: i64) -> Self {
        Self { own: Own { inherit: 0, timestamp: now }, tick: Some(now), ..Self::new(names, row) }
    }

    /// The host's time, in a tick; `None` while a record is worked on.
    #[cfg(feature = "state")]
    pub(crate) fn tick(&self) -> Option<i64> {
        self.tick
    }

    /// Lets outputs take over nothing, and have this time, until [`attach`](Self::attach).
    #[cfg(feature = "state")]
    pub(crate) fn detach(&mut self, timestamp: i64) -> Own {
        std::mem::replace(&mut self.own, Own { inherit: 0, timestamp })
    }

    #[cfg(feature = "state")]
    pub(crate) fn attach(&mut self, own: Own) {
        self.own = own;
    }

    /// Starts an output to a port, or to an output by name. It is sent by the method that gives it a value.
    ///
    /// # Panics
    /// Where the manifest declares no output of that name for this stage. [`Config::output`](crate::Config::output) finds
    /// that out when the stage starts, and is faster.
    #[inline]
    pub fn to(&mut self, port: impl ToPort) -> Draft<'_, 'a> {
        let port = port.to_port(self.names);
        self.cut_draft();
        Draft::new(self, port.0)
    }

    /// How many outputs the current record has so far.
    pub fn len(&self) -> usize {
        self.columns.source.len() - self.first
    }

    /// Whether the current record has no output so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for a batch, guessed from the last.
    pub(crate) fn reserve(&mut self, rows: usize, value_bytes: usize) {
        self.columns.source.reserve(rows);
        self.columns.to.reserve(rows);
        self.columns.inherit.reserve(rows);
        self.columns.values.ends.reserve(rows);
        self.columns.values.data.reserve(value_bytes);
    }

    #[inline]
    pub(crate) fn begin(&mut self, record: Record<'a>, source: u32) {
        self.record = record;
        self.source = source;
        self.first = self.columns.source.len();
    }

    #[inline]
    pub(crate) fn record(&self) -> Record<'a> {
        self.record
    }

    /// Takes back what the current record has emitted.
    #[cold]
    pub(crate) fn take_back(&mut self) {
        let rows = self.first;
        self.columns.source.truncate(rows);
        self.columns.to.truncate(rows);
        self.columns.inherit.truncate(rows);
        self.columns.timestamps.truncate(rows);
        self.columns.headers.record_ends.truncate(rows);
        truncate(&mut self.columns.keys, rows);
        truncate(&mut self.columns.values, rows);
        self.cut_draft();
    }

    /// The columns in the shape that the contract asks for, leaving none behind.
    pub(crate) fn finish(mut self) -> contract::Outputs {
        self.cut_draft();
        let mut columns = self.columns;
        if columns.keys.ends.is_empty() {
            columns.keys.nulls.clear(); // a column left out says null, or inherited, for every row
        }
        let bytes = columns.source.len().div_ceil(8);
        for column in [&mut columns.keys, &mut columns.values] {
            if !column.nulls.is_empty() {
                column.nulls.resize(bytes, 0);
            }
        }
        let headers = columns.headers.names.ends.len();
        if !columns.headers.values.nulls.is_empty() {
            columns.headers.values.nulls.resize(headers.div_ceil(8), 0);
        }
        columns
    }

    /// Cuts off what a draft wrote that was never sent.
    #[inline]
    fn cut_draft(&mut self) {
        let end = |ends: &[u32]| ends.last().map_or(0, |end| *end as usize);
        let columns = &mut self.columns;
        columns.values.data.truncate(end(&columns.values.ends));
        columns.keys.data.truncate(end(&columns.keys.ends));
        self.cut_headers();
    }

    /// Cuts off the headers of a draft that was never sent.
    #[inline]
    pub(crate) fn cut_headers(&mut self) {
        let headers = &mut self.columns.headers;
        let rows = headers.record_ends.last().map_or(0, |end| *end as usize);
        if headers.names.ends.len() > rows {
            headers.names.ends.truncate(rows);
            headers.names.data.truncate(headers.names.ends.last().map_or(0, |end| *end as usize));
            truncate(&mut headers.values, rows);
            headers.values.data.truncate(headers.values.ends.last().map_or(0, |end| *end as usize));
        }
    }

    /// Makes the draft whose bytes lie behind the last ends a row.
    #[inline]
    pub(crate) fn send(&mut self, to: u16, inherit: u8, key_is_null: bool, value_is_null: bool, timestamp: i64) {
        let columns = &mut self.columns;
        let row = columns.source.len();
        columns.source.push(self.source);
        columns.to.push(to);
        columns.inherit.push(inherit);
        columns.values.ends.push(end(columns.values.data.len()));
        if value_is_null {
            set_null(&mut columns.values, row);
        }
        let own_key = inherit & INHERIT_KEY == 0;
        if own_key && key_is_null {
            set_null(&mut columns.keys, row);
        }
        if own_key && !key_is_null || !columns.keys.ends.is_empty() {
            columns.keys.ends.resize(row, 0);
            columns.keys.ends.push(end(columns.keys.data.len()));
        }
        if !columns.headers.names.ends.is_empty() || !columns.headers.record_ends.is_empty() {
            columns.headers.record_ends.resize(row, 0);
            columns.headers.record_ends.push(end(columns.headers.names.ends.len()));
        }
        if inherit & INHERIT_TIMESTAMP == 0 {
            columns.timestamps.resize(row, 0);
        }
        if inherit & INHERIT_TIMESTAMP == 0 || !columns.timestamps.is_empty() {
            columns.timestamps.push(timestamp);
        }
    }
}

impl fmt::Debug for Outputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").field("outputs", &self.names).field("rows", &self.columns.source.len()).finish()
    }
}

fn empty() -> contract::Outputs {
    let column = || contract::NullColumn { data: Vec::new(), ends: Vec::new(), nulls: Vec::new() };
    contract::Outputs {
        source: Vec::new(),
        to: Vec::new(),
        inherit: Vec::new(),
        keys: column(),
        values: column(),
        headers: contract::Headers {
            record_ends: Vec::new(),
            names: contract::BytesColumn { data: Vec::new(), ends: Vec::new() },
            values: column(),
        },
        timestamps: Vec::new(),
    }
}

/// Lengths fit: a wasm memory holds 4 GiB at most, and the host takes far less.
#[inline]
pub(crate) fn end(length: usize) -> u32 {
    u32::try_from(length).expect("a column is below 4 GiB")
}

pub(crate) fn set_null(column: &mut contract::NullColumn, row: usize) {
    let bytes = column.nulls.len().max(row / 8 + 1);
    column.nulls.resize(bytes, 0);
    column.nulls[row / 8] |= 1 << (row % 8);
}

/// Keeps the first `rows` rows, null bits included; the data is cut by `cut_draft`.
fn truncate(column: &mut contract::NullColumn, rows: usize) {
    column.ends.truncate(rows);
    column.nulls.truncate(rows.div_ceil(8));
    if !rows.is_multiple_of(8)
        && let Some(last) = column.nulls.get_mut(rows / 8)
    {
        *last &= (1 << (rows % 8)) - 1;
    }
}
