//! Records from a file, as batches; and what happens between two of them, where a line says so: `{"tick": {"now": 60000}}` tells the stage
//! the time, `{"restart": true}` drops its instance.
//!
//! Must never: hold more than a batch, or guess at a line that is no record: it says which line.

use super::clock::Moment;
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

/// What a line says that is no record.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Between {
    Tick(Moment),
    Restart(bool),
}

/// What comes next.
pub(super) enum Step {
    /// Records, of which the first has this place among all.
    Batch(usize, Box<RecordBatch>),
    /// The stage is told the time.
    Tick(Moment),
    /// The instance is dropped.
    Restart,
}

/// What a line says: one record, as a batch of one, or something else.
enum Said {
    Record(Box<RecordBatch>),
    Other(Step),
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
    /// Lines read so far.
    lines_read: usize,
    /// Records among them.
    read: usize,
    /// What was read and comes after the batch.
    ahead: Option<Said>,
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
        Self { lines: Box::new(input.split(b'\n')), ndjson, records, inputs, lines_read: 0, read: 0, ahead: None }
    }

    /// The next batch, or what happens before it.
    ///
    /// # Errors
    /// Where a line is no record.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Step>> {
        let next = match self.ahead.take() {
            Some(ahead) => Some(ahead),
            None => self.line()?,
        };
        let mut batch = match next {
            None => return Ok(None),
            Some(Said::Other(step)) => return Ok(Some(step)),
            Some(Said::Record(record)) => record,
        };
        let first = self.read - 1;
        while batch.len() < self.records {
            match self.line()? {
                Some(Said::Record(record)) if (record.topic, record.partition) == (batch.topic, batch.partition) => {
                    batch.push_row(&record, 0);
                }
                other => {
                    self.ahead = other;
                    break;
                }
            }
        }
        Ok(Some(Step::Batch(first, batch)))
    }

    /// What the next line says.
    fn line(&mut self) -> anyhow::Result<Option<Said>> {
        let Some(line) = self.lines.next().transpose()? else { return Ok(None) };
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        self.lines_read += 1;
        let said = if self.ndjson {
            let no_record = |why| format!("line {} is no record: {why}", self.lines_read);
            self.parse(line).map_err(|why| Complaint::new(Code::LocalFailure, no_record(why)))?
        } else {
            let mut batch = RecordBatch::default();
            batch.push(self.place(), START_MS, None, Some(line), []);
            Said::Record(Box::new(batch))
        };
        self.read += usize::from(matches!(said, Said::Record(_)));
        Ok(Some(said))
    }

    /// The place of the next record among all, which is its offset where it has none.
    fn place(&self) -> i64 {
        i64::try_from(self.read).unwrap_or(i64::MAX)
    }

    fn parse(&self, text: &[u8]) -> Result<Said, String> {
        let no_record = match serde_json::from_slice(text) {
            Ok(line) => return Ok(Said::Record(Box::new(self.record(line)?))),
            Err(error) => error.to_string(),
        };
        match serde_json::from_slice(text) {
            Ok(Between::Tick(moment)) => self.known(moment.input).map(|()| Said::Other(Step::Tick(moment))),
            Ok(Between::Restart(true)) => Ok(Said::Other(Step::Restart)),
            Ok(Between::Restart(false)) => Err("`restart` is true, or not there".to_owned()),
            Err(_) => Err(no_record),
        }
    }

    fn known(&self, input: u16) -> Result<(), String> {
        if usize::from(input) < self.inputs {
            return Ok(());
        }
        Err(format!("`input` is {input}, but the stage has {} inputs", self.inputs))
    }

    /// A record, as a batch of one.
    fn record(&self, line: Line<'_>) -> Result<RecordBatch, String> {
        self.known(line.input)?;
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
        let mut batch = RecordBatch { topic: line.input, partition: line.partition, ..RecordBatch::default() };
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()));
        let (offset, timestamp) = (line.offset.unwrap_or_else(|| self.place()), line.timestamp.unwrap_or(START_MS));
        batch.push(offset, timestamp, key.as_deref(), value.as_deref(), headers);
        Ok(batch)
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

    /// The next batch, with the place of its first record.
    fn next(batches: &mut Batches) -> Option<(usize, Box<RecordBatch>)> {
        match batches.next().unwrap()? {
            Step::Batch(first, batch) => Some((first, batch)),
            Step::Tick(_) | Step::Restart => panic!("a batch is next"),
        }
    }

    #[test]
    fn batches_hold_neighbours_of_one_partition_and_know_their_place() {
        let text = r#"{"value":"a"}
{"value":{"b": 1},"key":"k"}
{"valueBase64":"/w==","partition":1}
{"value":null,"partition":1,"offset":70,"timestamp":5}
"#;
        let mut batches = batches(text, true, 10);
        let (first, batch) = next(&mut batches).unwrap();
        assert_eq!((first, batch.len(), batch.values.get(1)), (0, 2, Some(br#"{"b": 1}"#.as_slice())));
        let (first, batch) = next(&mut batches).unwrap();
        assert_eq!((first, batch.partition, &batch.offsets[..]), (2, 1, &[2, 70][..]));
        assert_eq!((batch.values.get(0), batch.values.get(1)), (Some([0xff].as_slice()), None));
        assert!(next(&mut batches).is_none());
    }

    #[test]
    fn what_happens_between_records_ends_a_batch_and_is_no_record() {
        let text =
            "{}\n{}\n{\"tick\":{\"now\":7,\"partition\":1}}\n{\"restart\":true}\n{}\n{\"value\":\"x\",\"vlaue\":1}";
        let mut batches = batches(text, true, 10);
        assert!(next(&mut batches).is_some_and(|(first, batch)| first == 0 && batch.len() == 2));
        let moment = Moment { input: 0, partition: 1, now: 7 };
        assert!(matches!(batches.next().unwrap(), Some(Step::Tick(told)) if told == moment));
        assert!(matches!(batches.next().unwrap(), Some(Step::Restart)));
        // The line that cannot be read is the sixth, and would have been the fourth record.
        assert!(batches.next().err().unwrap().to_string().contains("line 6"));
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        for (line, words) in [
            ("{}\n{\"vlaue\":1}", "line 2"),
            ("{\"input\":2}", "2 inputs"),
            ("x", "line 1"),
            ("{\"restart\":false}", "line 1"),
        ] {
            let mut batches = batches(line, true, 10);
            let said = batches.next().err().unwrap().to_string();
            assert!(said.contains(words), "{said}");
        }
        let mut plain = batches("x\r\ny", false, 1);
        assert_eq!(next(&mut plain).unwrap().1.values.get(0), Some(b"x".as_slice()));
        assert_eq!(next(&mut plain).unwrap().0, 1);
    }
}
