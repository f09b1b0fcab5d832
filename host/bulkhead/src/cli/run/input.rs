//! Records from a file, as batches.
//!
//! Must never: hold more than a batch, or guess at a line that is no record: it says which line.

use crate::cli::failure::Complaint;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The time of a record that has none: 2013-01-01T00:00Z, at which the sandbox's clock begins too.
pub(super) const START_MS: i64 = 1_356_998_400_000;

/// A record as a line of JSON.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Line<'a> {
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    value_base64: Option<String>,
    headers: Vec<Header>,
    timestamp: Option<i64>,
    offset: Option<i64>,
    partition: i32,
    /// Index of the stage's input.
    input: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Header {
    name: String,
    value: Option<String>,
    value_base64: Option<String>,
}

/// The batches of a file: neighbours of one input and partition.
pub(super) struct Batches {
    lines: Box<dyn Iterator<Item = std::io::Result<Vec<u8>>>>,
    ndjson: bool,
    records: usize,
    inputs: usize,
    /// Records read so far.
    read: usize,
    /// A record that was read and belongs to the next batch.
    ahead: Option<RecordBatch>,
}

impl Batches {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub(super) fn open(file: &Path, ndjson: bool, records: u32, inputs: usize) -> anyhow::Result<Self> {
        let input: Box<dyn BufRead> = if file == Path::new("-") {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            Box::new(BufReader::new(std::fs::File::open(file).map_err(|error| crate::cli::unreadable(file, &error))?))
        };
        Ok(Self::new(input, ndjson, records as usize, inputs))
    }

    fn new(input: impl BufRead + 'static, ndjson: bool, records: usize, inputs: usize) -> Self {
        Self { lines: Box::new(input.split(b'\n')), ndjson, records, inputs, read: 0, ahead: None }
    }

    /// The next batch, with the place of its first record in the file.
    ///
    /// # Errors
    /// Where a line is no record.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<(usize, RecordBatch)>> {
        let Some(mut batch) = (match self.ahead.take() {
            Some(record) => Some(record),
            None => self.record()?,
        }) else {
            return Ok(None);
        };
        while batch.len() < self.records {
            match self.record()? {
                Some(record) if (record.topic, record.partition) == (batch.topic, batch.partition) => {
                    batch.push_row(&record, 0);
                }
                other => {
                    self.ahead = other;
                    break;
                }
            }
        }
        let first = self.read - batch.len() - usize::from(self.ahead.is_some());
        Ok(Some((first, batch)))
    }

    /// The next record, as a batch of one.
    fn record(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        let Some(line) = self.lines.next().transpose()? else { return Ok(None) };
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let place = i64::try_from(self.read).unwrap_or(i64::MAX);
        self.read += 1;
        let mut batch = RecordBatch::default();
        if !self.ndjson {
            batch.push(place, START_MS, None, Some(line), []);
            return Ok(Some(batch));
        }
        self.parse(line, place, &mut batch)
            .map_err(|why| Complaint::new(Code::LocalFailure, format!("line {} is no record: {why}", self.read)))?;
        Ok(Some(batch))
    }

    fn parse(&self, line: &[u8], place: i64, batch: &mut RecordBatch) -> Result<(), String> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if usize::from(line.input) >= self.inputs {
            return Err(format!("`input` is {}, but the stage has {} inputs", line.input, self.inputs));
        }
        let key = cell("key", line.key.map(String::into_bytes), line.key_base64)?;
        let value = match line.value.map(RawValue::get) {
            None | Some("null") => None,
            Some(text) if text.starts_with('"') => {
                Some(serde_json::from_str::<String>(text).map_err(|error| error.to_string())?.into_bytes())
            }
            Some(json) => Some(json.as_bytes().to_vec()),
        };
        let value = cell("value", value, line.value_base64)?;
        let mut headers = Vec::new();
        for header in line.headers {
            let value = cell("value", header.value.map(String::into_bytes), header.value_base64)?;
            headers.push((header.name, value));
        }
        (batch.topic, batch.partition) = (line.input, line.partition);
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()));
        let (offset, timestamp) = (line.offset.unwrap_or(place), line.timestamp.unwrap_or(START_MS));
        batch.push(offset, timestamp, key.as_deref(), value.as_deref(), headers);
        Ok(())
    }
}

fn cell(name: &str, text: Option<Vec<u8>>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("name either `{name}` or `{name}Base64`")),
        (None, Some(base64)) => {
            STANDARD.decode(base64).map(Some).map_err(|error| format!("`{name}Base64` is not Base64: {error}"))
        }
        (text, None) => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(text: &'static str, ndjson: bool, records: usize) -> Batches {
        Batches::new(text.as_bytes(), ndjson, records, 2)
    }

    #[test]
    fn batches_hold_neighbours_of_one_partition_and_know_their_place() {
        let text = r#"{"value":"a"}
{"value":{"b": 1},"key":"k"}
{"valueBase64":"/w==","partition":1}
{"value":null,"partition":1,"offset":70,"timestamp":5}
"#;
        let mut batches = batches(text, true, 10);
        let (first, batch) = batches.next().unwrap().unwrap();
        assert_eq!((first, batch.len(), batch.values.get(1)), (0, 2, Some(br#"{"b": 1}"#.as_slice())));
        let (first, batch) = batches.next().unwrap().unwrap();
        assert_eq!((first, batch.partition, &batch.offsets[..]), (2, 1, &[2, 70][..]));
        assert_eq!((batch.values.get(0), batch.values.get(1)), (Some([0xff].as_slice()), None));
        assert!(batches.next().unwrap().is_none());
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        for (line, words) in [("{}\n{\"vlaue\":1}", "line 2"), ("{\"input\":2}", "2 inputs"), ("x", "line 1")] {
            let mut batches = batches(line, true, 10);
            let said = batches.next().unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
        let mut plain = batches("x\r\ny", false, 1);
        assert_eq!(plain.next().unwrap().unwrap().1.values.get(0), Some(b"x".as_slice()));
        assert_eq!(plain.next().unwrap().unwrap().0, 1);
    }
}
