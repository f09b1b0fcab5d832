//! Records as columns: the shape in which batches leave the log, cross into guests and come back.
//!
//! These types mirror `guest-sdk/wit/stage.wit`, whose comments define each list; a batch is a handful of flat vectors, so
//! that no step costs an allocation for each record. What the host builds is well formed; what a guest returns is checked by
//! [`Outputs::check`] before anything reads a row.
//! Must never: index a guest's columns before they were checked.

/// One byte string for each row; see `bytes-column`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BytesColumn {
    /// All rows' bytes, one after another.
    pub data: Vec<u8>,
    /// Where each row ends in `data`.
    pub ends: Vec<u32>,
}

impl BytesColumn {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a row.
    pub fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.ends.push(end(self.data.len()));
    }

    /// The bytes of row `i`.
    ///
    /// # Panics
    /// Where there is no such row, or the column is malformed.
    pub fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.data[start..self.ends[i] as usize]
    }

    fn check(&self, what: &'static str) -> Result<(), Malformed> {
        check_ends(&self.ends, self.data.len(), what)
    }
}

/// A bytes column whose cells may be null; see `null-column`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NullColumn {
    /// All rows' bytes, one after another.
    pub data: Vec<u8>,
    /// Where each row ends in `data`.
    pub ends: Vec<u32>,
    /// Bitmap of null rows; empty where none is.
    pub nulls: Vec<u8>,
}

impl NullColumn {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a row; `None` is null, which is not the same as empty.
    pub fn push(&mut self, cell: Option<&[u8]>) {
        let row = self.ends.len();
        if let Some(bytes) = cell {
            self.data.extend_from_slice(bytes);
        } else {
            self.nulls.resize(self.nulls.len().max(row / 8 + 1), 0);
            self.nulls[row / 8] |= 1 << (row % 8);
        }
        if !self.nulls.is_empty() && self.nulls.len() <= row / 8 {
            self.nulls.push(0);
        }
        self.ends.push(end(self.data.len()));
    }

    /// The cell of row `i`; `None` where it is null.
    ///
    /// # Panics
    /// Where there is no such row, or the column is malformed.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        if self.nulls.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1) {
            return None;
        }
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        Some(&self.data[start..self.ends[i] as usize])
    }

    fn check(&self, what: &'static str) -> Result<(), Malformed> {
        check_ends(&self.ends, self.data.len(), what)?;
        if !self.nulls.is_empty() && self.nulls.len() != self.ends.len().div_ceil(8) {
            return Err(Malformed { what, rule: "`nulls` must be empty or hold one bit for each row" });
        }
        Ok(())
    }
}

/// The headers of all rows; see `headers`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// How many headers the rows up to and including this one have; empty where no row has any.
    pub record_ends: Vec<u32>,
    /// Names of all headers.
    pub names: BytesColumn,
    /// Values of all headers.
    pub values: NullColumn,
}

impl Headers {
    /// Adds a header to the row that [`Headers::end_row`] ends next.
    pub fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.names.push(name);
        self.values.push(value);
    }

    /// Ends row `row`. Rows may be left out until the first that has headers.
    pub fn end_row(&mut self, row: usize) {
        if self.names.is_empty() {
            return;
        }
        let before = self.record_ends.last().copied().unwrap_or(0);
        self.record_ends.resize(row, before);
        self.record_ends.push(end(self.names.len()));
    }

    /// The headers of row `i`, in order.
    ///
    /// # Panics
    /// Where the columns are malformed.
    pub fn row(&self, i: usize) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> {
        self.range(i).map(|h| (self.names.get(h), self.values.get(h)))
    }

    fn range(&self, i: usize) -> std::ops::Range<usize> {
        match self.record_ends.get(i) {
            None => 0..0,
            Some(end) => {
                let start = if i == 0 { 0 } else { self.record_ends[i - 1] };
                start as usize..*end as usize
            }
        }
    }

    fn check(&self, rows: usize) -> Result<(), Malformed> {
        self.names.check("headers.names")?;
        self.values.check("headers.values")?;
        if self.names.len() != self.values.len() {
            return Err(Malformed { what: "headers", rule: "`names` and `values` must have the same number of rows" });
        }
        if self.record_ends.is_empty() && self.names.is_empty() {
            return Ok(());
        }
        if self.record_ends.len() != rows {
            return Err(Malformed { what: "headers.record-ends", rule: "must be empty or have a row for each output" });
        }
        check_ends(&self.record_ends, self.names.len(), "headers.record-ends")
    }

    /// Bytes of memory held by the cells and their ends.
    pub fn bytes(&self) -> usize {
        self.names.data.len() + self.values.data.len() + 4 * (self.record_ends.len() + 2 * self.names.len())
    }
}

/// Records of one partition of one input, in its order; see `batch`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordBatch {
    /// Index into the pipeline's inputs.
    pub topic: u16,
    /// Partition of that input.
    pub partition: i32,
    /// Offset of each record; rising, with gaps.
    pub offsets: Vec<i64>,
    /// Milliseconds since the epoch of each record; -1 where unknown.
    pub timestamps: Vec<i64>,
    /// Keys.
    pub keys: NullColumn,
    /// Values; null is a tombstone.
    pub values: NullColumn,
    /// Headers.
    pub headers: Headers,
}

impl RecordBatch {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Adds a record.
    pub fn push<'a>(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) {
        let row = self.offsets.len();
        self.offsets.push(offset);
        self.timestamps.push(timestamp);
        self.keys.push(key);
        self.values.push(value);
        for (name, value) in headers {
            self.headers.push(name, value);
        }
        self.headers.end_row(row);
    }

    /// Adds row `i` of `from`.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn push_row(&mut self, from: &RecordBatch, i: usize) {
        self.push(from.offsets[i], from.timestamps[i], from.keys.get(i), from.values.get(i), from.headers.row(i));
    }

    /// The rows of `rows`, in that order.
    ///
    /// # Panics
    /// Where a row does not exist.
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> RecordBatch {
        let mut selected = RecordBatch { topic: self.topic, partition: self.partition, ..RecordBatch::default() };
        for i in rows {
            selected.push_row(self, i);
        }
        selected
    }

    /// Bytes of memory held, for the budgets that bound queues.
    pub fn bytes(&self) -> usize {
        self.keys.data.len() + self.values.data.len() + self.headers.bytes() + 24 * self.offsets.len()
    }
}

/// Take the source row's key.
pub const INHERIT_KEY: u8 = 1;
/// Take the source row's headers.
pub const INHERIT_HEADERS: u8 = 2;
/// Take the source row's timestamp.
pub const INHERIT_TIMESTAMP: u8 = 4;

/// What a stage makes of a batch, a row for each output; see `outputs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Row of the batch that each was made from; never falls.
    pub source: Vec<u32>,
    /// Index of the stage's output that each goes to.
    pub to: Vec<u16>,
    /// `INHERIT_*` bits.
    pub inherit: Vec<u8>,
    /// Keys; empty `ends` where all are inherited or null.
    pub keys: NullColumn,
    /// Values.
    pub values: NullColumn,
    /// Headers; empty where all are inherited or none.
    pub headers: Headers,
    /// Timestamps; empty where none is set.
    pub timestamps: Vec<i64>,
}

impl Outputs {
    /// Number of outputs.
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// Checks what a guest returned for a batch of `records` rows and a stage with `ports` outputs, so that every accessor
    /// here and every later step can index freely.
    ///
    /// # Errors
    /// The first rule that is broken, in words for the stage's author.
    pub fn check(&self, records: usize, ports: usize) -> Result<(), Malformed> {
        let rows = self.source.len();
        let broken = |what, rule| Err(Malformed { what, rule });
        if self.to.len() != rows || self.inherit.len() != rows {
            return broken("outputs", "`source`, `to` and `inherit` must have the same number of rows");
        }
        if self.source.windows(2).any(|w| w[0] > w[1]) {
            return broken("outputs.source", "must not fall from one output to the next");
        }
        if self.source.last().is_some_and(|last| *last as usize >= records) {
            return broken("outputs.source", "must be a row of the batch");
        }
        if self.to.iter().any(|to| *to as usize >= ports) {
            return broken("outputs.to", "must be an output that the manifest declares for the stage");
        }
        if self.inherit.iter().any(|bits| *bits > 7) {
            return broken("outputs.inherit", "knows the bits 1, 2 and 4");
        }
        if self.values.len() != rows {
            return broken("outputs.values", "must have a row for each output");
        }
        if !self.keys.ends.is_empty() && self.keys.len() != rows {
            return broken("outputs.keys", "must be empty or have a row for each output");
        }
        if !self.timestamps.is_empty() && self.timestamps.len() != rows {
            return broken("outputs.timestamps", "must be empty or have a row for each output");
        }
        self.keys.check("outputs.keys")?;
        self.values.check("outputs.values")?;
        self.headers.check(rows)
    }

    /// Key of output `i`, made from `batch`.
    pub fn key<'a>(&'a self, i: usize, batch: &'a RecordBatch) -> Option<&'a [u8]> {
        if self.inherit[i] & INHERIT_KEY != 0 {
            batch.keys.get(self.source[i] as usize)
        } else if self.keys.is_empty() {
            None
        } else {
            self.keys.get(i)
        }
    }

    /// Timestamp of output `i`, made from `batch`: its own, or the source record's.
    pub fn timestamp(&self, i: usize, batch: &RecordBatch) -> i64 {
        if self.inherit[i] & INHERIT_TIMESTAMP != 0 || self.timestamps.is_empty() {
            batch.timestamps[self.source[i] as usize]
        } else {
            self.timestamps[i]
        }
    }

    /// Headers of output `i`, made from `batch`.
    pub fn headers<'a>(
        &'a self,
        i: usize,
        batch: &'a RecordBatch,
    ) -> impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let (headers, row) = if self.inherit[i] & INHERIT_HEADERS != 0 {
            (&batch.headers, self.source[i] as usize)
        } else {
            (&self.headers, i)
        };
        headers.row(row)
    }

    /// Adds an output with everything of its own.
    pub fn push(&mut self, source: u32, to: u16, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.source.push(source);
        self.to.push(to);
        self.inherit.push(0);
        self.keys.push(key);
        self.values.push(value);
        self.timestamps.push(timestamp);
    }

    /// Keeps the outputs whose source row passes. Copies: for the rare batch that holds a faulty record.
    pub fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        let all = std::mem::take(self);
        for i in (0..all.len()).filter(|i| keep(all.source[*i])) {
            let row = self.source.len();
            self.source.push(all.source[i]);
            self.to.push(all.to[i]);
            self.inherit.push(all.inherit[i]);
            self.keys.push(if all.keys.is_empty() { None } else { all.keys.get(i) });
            self.values.push(all.values.get(i));
            for (name, value) in all.headers.row(i) {
                self.headers.push(name, value);
            }
            self.headers.end_row(row);
            if !all.timestamps.is_empty() {
                self.timestamps.push(all.timestamps[i]);
            }
        }
    }

    /// Bytes of memory held, for the budgets that bound queues.
    pub fn bytes(&self) -> usize {
        self.keys.data.len() + self.values.data.len() + self.headers.bytes() + 23 * self.source.len()
    }
}

/// What to do with a record that a stage could not handle; see `action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Try again, a bounded number of times.
    Retry,
    /// Write it to the dead-letter topic.
    DeadLetter,
}

/// A record that a stage could not handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Row of the batch.
    pub index: u32,
    /// What to do with it.
    pub action: Action,
    /// The stage's words.
    pub reason: String,
}

/// What a stage returned for a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Outputs in order.
    pub outputs: Outputs,
    /// Records it could not handle.
    pub exceptions: Vec<Exception>,
}

/// Framing of one record at most: a record batch of Kafka's that holds only this one.
const RECORD_FRAMING_BYTES: usize = 100;
/// Framing of one header at most.
const HEADER_FRAMING_BYTES: usize = 10;

/// What a record counts against its topic's limit, uncompressed; never less than what the log itself counts.
pub fn record_bytes<'a>(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> usize {
    let len = |cell: Option<&[u8]>| cell.map_or(0, <[u8]>::len);
    let headers: usize = headers.into_iter().map(|(name, value)| HEADER_FRAMING_BYTES + name.len() + len(value)).sum();
    RECORD_FRAMING_BYTES + len(key) + len(value) + headers
}

/// Columns that break their rules: the guest's fault, never the host's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}")]
pub struct Malformed {
    /// The list at fault.
    pub what: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// Columns are bounded to 8 MiB batches, so a length always fits; a longer one would be a host bug worth a clear panic.
fn end(length: usize) -> u32 {
    u32::try_from(length).expect("a column is far below 4 GiB")
}

fn check_ends(ends: &[u32], data: usize, what: &'static str) -> Result<(), Malformed> {
    if ends.windows(2).any(|w| w[0] > w[1]) {
        return Err(Malformed { what, rule: "must have ends that never fall" });
    }
    if ends.last().copied().unwrap_or(0) as usize != data {
        return Err(Malformed { what, rule: "must have a last end that is the length of its data" });
    }
    Ok(())
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
