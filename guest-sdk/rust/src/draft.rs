//! One output while it is being made.
//!
//! A draft writes straight into the columns that go back to the host; giving it a value sends it. A draft that is dropped
//! without a value is as if it had never been.
//! Must never: need a destructor, or a buffer of its own.

use crate::bindings::contract;
use crate::outputs::{INHERIT_HEADERS, INHERIT_KEY, INHERIT_TIMESTAMP, Outputs, end, set_null};
use std::fmt;
use std::io;

/// An output that is being made; see [`Outputs::to`]. It is sent by [`value`](Self::value), [`json`](Self::json),
/// [`json_with`](Self::json_with), [`forward`](Self::forward), [`tombstone`](Self::tombstone) or [`writer`](Self::writer).
#[must_use = "an output is sent by the method that gives it a value: value, json, forward, tombstone or writer"]
pub struct Draft<'o, 'a> {
    outputs: &'o mut Outputs<'a>,
    to: u16,
    inherit: u8,
    key_is_null: bool,
    timestamp: i64,
}

impl<'o, 'a> Draft<'o, 'a> {
    #[inline]
    pub(crate) fn new(outputs: &'o mut Outputs<'a>, to: u16) -> Self {
        let own = outputs.own;
        let key_is_null = own.inherit & INHERIT_KEY == 0;
        Self { outputs, to, inherit: own.inherit, key_is_null, timestamp: own.timestamp }
    }

    /// Gives it a key of its own instead of the record's. Records with the same key keep their order.
    #[inline]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        let keys = &mut self.outputs.columns.keys;
        keys.data.truncate(keys.ends.last().map_or(0, |end| *end as usize));
        keys.data.extend_from_slice(key.as_ref());
        self.inherit &= !INHERIT_KEY;
        self.key_is_null = false;
        self
    }

    /// Gives it no key.
    #[inline]
    pub fn no_key(mut self) -> Self {
        let keys = &mut self.outputs.columns.keys;
        keys.data.truncate(keys.ends.last().map_or(0, |end| *end as usize));
        self.inherit &= !INHERIT_KEY;
        self.key_is_null = true;
        self
    }

    /// Adds a header, behind those of the record.
    #[inline]
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let mut draft = self.own_headers();
        draft.push_header(name.as_bytes(), Some(value.as_ref()));
        draft
    }

    /// Leaves the record's headers and any added so far behind; those added later stay.
    #[inline]
    pub fn no_headers(mut self) -> Self {
        self.inherit &= !INHERIT_HEADERS;
        self.outputs.cut_headers();
        self
    }

    /// Gives it a time of its own, in milliseconds since 1970-01-01T00:00Z, instead of the record's.
    #[inline]
    pub fn timestamp(mut self, milliseconds: i64) -> Self {
        self.inherit &= !INHERIT_TIMESTAMP;
        self.timestamp = milliseconds;
        self
    }

    /// Sends it with these bytes.
    #[inline]
    pub fn value(self, value: impl AsRef<[u8]>) {
        self.outputs.columns.values.data.extend_from_slice(value.as_ref());
        self.send(false);
    }

    /// Sends it with the record's value, or as a tombstone where the record is one.
    #[inline]
    pub fn forward(self) {
        match self.outputs.record().value() {
            Some(value) => self.value(value),
            None => self.tombstone(),
        }
    }

    /// Sends it without a value, which on a compacted topic deletes the key.
    #[inline]
    pub fn tombstone(self) {
        self.send(true);
    }

    /// Sends it with `value` as JSON, written straight into the column.
    ///
    /// # Errors
    /// A dead letter where `value` cannot be written as JSON, for instance a map whose keys are not texts; nothing is sent.
    #[cfg(feature = "json")]
    #[inline]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Result<(), crate::Reject> {
        let mut writer = self.writer();
        serde_json::to_writer(&mut writer, value)?;
        writer.send();
        Ok(())
    }

    /// Sends it with the record's JSON object and the fields of `more` behind its own.
    ///
    /// The record's text is copied as it is: numbers keep every digit, and fields that the stage knows nothing about stay.
    /// That makes it the right and the fast way to enrich. The stage has read the record as JSON already, so only its
    /// outermost braces are looked at here. A field that both have is then there twice: give `more` only new ones.
    ///
    /// ```
    /// use bulkhead_sdk::prelude::*;
    /// use bulkhead_sdk::testing::Case;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Reading {
    ///     celsius: f64,
    /// }
    ///
    /// #[derive(serde::Serialize)]
    /// struct More {
    ///     freezing: bool,
    /// }
    ///
    /// #[stage]
    /// fn judge(record: Record, out: &mut Outputs) -> StageResult {
    ///     let reading: Reading = record.json()?;
    ///     out.to("judged").json_with(&More { freezing: reading.celsius <= 0.0 })
    /// }
    ///
    /// let report = Case::new().outputs(["judged"]).records([r#"{"celsius": -3.50, "by": "ann"}"#]).run::<judge>();
    /// assert_eq!(report.texts("judged"), [r#"{"celsius": -3.50, "by": "ann","freezing":true}"#]);
    /// ```
    ///
    /// # Errors
    /// A dead letter where the record's value or `more` is not a JSON object; nothing is sent.
    #[cfg(feature = "json")]
    #[inline]
    pub fn json_with<T: serde::Serialize + ?Sized>(self, more: &T) -> Result<(), crate::Reject> {
        let not_an_object = || crate::Reject::dead_letter("the value is not a JSON object, so no field can be added");
        let record = self.outputs.record().bytes()?.trim_ascii();
        let inside = record.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).ok_or_else(not_an_object)?;
        let inside = inside.trim_ascii_end();
        let is_empty = inside.trim_ascii_start().is_empty();

        let values = &mut self.outputs.columns.values.data;
        values.push(b'{');
        values.extend_from_slice(inside);
        let seam = values.len();
        serde_json::to_writer(&mut *values, more)?;
        if values.get(seam) != Some(&b'{') {
            return Err(crate::Reject::dead_letter("only the fields of a struct or a map can be added to a record"));
        }
        // What was written begins with a brace of its own. It becomes the comma between the two, or goes.
        match (is_empty, values.len() - seam > 2) {
            (false, true) => values[seam] = b',',
            _ => drop(values.remove(seam)),
        }
        self.send(false);
        Ok(())
    }

    /// A writer for the value, for what writes to [`io::Write`]. [`ValueWriter::send`] sends it.
    ///
    /// ```
    /// use bulkhead_sdk::prelude::*;
    /// use bulkhead_sdk::testing::Case;
    /// use std::io::Write;
    ///
    /// #[stage]
    /// fn number(record: Record, out: &mut Outputs) -> StageResult {
    ///     let mut value = out.to("numbered").writer();
    ///     write!(value, "{}: ", record.offset())?;
    ///     value.write_all(record.bytes()?)?;
    ///     value.send();
    ///     Ok(())
    /// }
    ///
    /// let report = Case::new().outputs(["numbered"]).records(["a", "b"]).run::<number>();
    /// assert_eq!(report.texts("numbered"), ["0: a", "1: b"]);
    /// ```
    #[inline]
    pub fn writer(self) -> ValueWriter<'o, 'a> {
        ValueWriter { draft: self }
    }

    #[inline]
    fn send(self, value_is_null: bool) {
        self.outputs.send(self.to, self.inherit, self.key_is_null, value_is_null, self.timestamp);
    }

    /// Copies the record's headers, so that others can stand behind them.
    fn own_headers(mut self) -> Self {
        if self.inherit & INHERIT_HEADERS != 0 {
            self.inherit &= !INHERIT_HEADERS;
            for header in self.outputs.record().headers() {
                self.push_header(header.name, header.value);
            }
        }
        self
    }

    fn push_header(&mut self, name: &[u8], value: Option<&[u8]>) {
        let contract::Headers { names, values, .. } = &mut self.outputs.columns.headers;
        let row = names.ends.len();
        names.data.extend_from_slice(name);
        names.ends.push(end(names.data.len()));
        match value {
            Some(value) => values.data.extend_from_slice(value),
            None => set_null(values, row),
        }
        values.ends.push(end(values.data.len()));
    }
}

impl fmt::Debug for Draft<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("to", &self.to).finish_non_exhaustive()
    }
}

/// Writes an output's value straight into its column; see [`Draft::writer`].
#[must_use = "call `send` when the value is written"]
#[derive(Debug)]
pub struct ValueWriter<'o, 'a> {
    draft: Draft<'o, 'a>,
}

impl ValueWriter<'_, '_> {
    /// Sends the output with what was written.
    #[inline]
    pub fn send(self) {
        self.draft.send(false);
    }
}

impl io::Write for ValueWriter<'_, '_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.draft.outputs.columns.values.data.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
