//! A record as JSON: how it is read from a line, and how it is shown.
//!
//! A line is `{"key", "value", "headers", "timestamp", "partition"}`, all optional. A `value` that is a JSON string is that text; any
//! other JSON is kept as it was written; bytes go as `valueBase64`. What is shown has the same fields.
//! Must never: change a byte of a key, a value or a header between the two.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::code::Code;
use bulkhead_core::columns::{RecordBatch, record_bytes};
use bulkhead_core::limits::RECORD_HEADERS_MAX;
use bulkhead_core::time::parse_rfc3339_ms;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Bytes, or null.
pub(super) type Cell = Option<Vec<u8>>;

/// A record that is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::api) struct Record {
    pub(in crate::api) key: Cell,
    pub(in crate::api) value: Cell,
    pub(in crate::api) headers: Vec<(Vec<u8>, Cell)>,
    pub(in crate::api) timestamp: i64,
    /// Where it is to go; `None` where its key or the request says.
    pub(in crate::api) partition: Option<i32>,
}

/// Why a text is not a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) code: Code,
    pub(super) detail: String,
}

impl Bad {
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self { code: Code::RecordInvalid, detail: detail.into() }
    }
}

/// A record as it is written by people.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Line<'a> {
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    value_base64: Option<String>,
    headers: Option<RawHeaders>,
    timestamp: Option<RawTime>,
    partition: Option<i32>,
}

/// `{"name": "value"}`, or a list where a name stands twice or a value is not text.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawHeaders {
    Map(BTreeMap<String, Option<String>>),
    List(Vec<RawHeader>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawHeader {
    name: String,
    value: Option<String>,
    value_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawTime {
    Ms(i64),
    Text(String),
}

impl Record {
    /// Reads one from JSON. Its time is `now_ms` where it has none.
    pub(super) fn parse(json: &str, now_ms: i64) -> Result<Self, Bad> {
        let line: Line<'_> = serde_json::from_str(json).map_err(|error| Bad::new(error.to_string()))?;
        let key = cell("key", line.key.map(String::into_bytes), line.key_base64)?;
        let value = match line.value.map(RawValue::get) {
            Some(json) if json.starts_with('"') => {
                let text: String = serde_json::from_str(json).map_err(|error| Bad::new(error.to_string()))?;
                Some(text.into_bytes())
            }
            Some("null") | None => None,
            Some(json) => Some(json.as_bytes().to_vec()),
        };
        let value = cell("value", value, line.value_base64)?;
        let timestamp = match line.timestamp {
            None => now_ms,
            Some(RawTime::Ms(ms)) => time(Some(ms))?,
            Some(RawTime::Text(text)) => time(parse_rfc3339_ms(&text))?,
        };
        let record = Self { key, value, headers: headers(line.headers)?, timestamp, partition: line.partition };
        record.check()?;
        Ok(record)
    }

    /// The rules that hold however the record came.
    pub(super) fn check(&self) -> Result<(), Bad> {
        if self.headers.len() > RECORD_HEADERS_MAX {
            let detail = format!("has {} headers; a record has at most {RECORD_HEADERS_MAX}", self.headers.len());
            return Err(Bad { code: Code::TooManyHeaders, detail });
        }
        match self.partition {
            Some(_) if self.key.is_some() => {
                Err(Bad::new("has a key, which chooses the partition; leave `partition` out"))
            }
            Some(partition) if partition < 0 => Err(Bad::new("`partition` is 0 or more")),
            _ => Ok(()),
        }
    }

    /// What it counts against its topic's limit.
    pub(super) fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref()));
        record_bytes(self.key.as_deref(), self.value.as_deref(), headers)
    }

    /// Adds it to a batch, whose offsets mean nothing.
    pub(in crate::api) fn push_to(&self, batch: &mut RecordBatch) {
        let offset = i64::try_from(batch.len()).unwrap_or(i64::MAX);
        let headers = self.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref()));
        batch.push(offset, self.timestamp, self.key.as_deref(), self.value.as_deref(), headers);
    }
}

/// A time that a person gave.
pub(super) fn time(ms: Option<i64>) -> Result<i64, Bad> {
    let rule = "`timestamp` is milliseconds since 1970, not below 0, or a time like 2026-01-31T12:00:00Z";
    ms.filter(|ms| *ms >= 0).ok_or_else(|| Bad::new(rule))
}

/// A cell that is text or Base64.
pub(super) fn cell(name: &str, text: Cell, base64: Option<String>) -> Result<Cell, Bad> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(Bad::new(format!("name either `{name}` or `{name}Base64`"))),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64);
            bytes.map(Some).map_err(|error| Bad::new(format!("`{name}Base64` is not Base64: {error}")))
        }
        (text, None) => Ok(text),
    }
}

fn headers(raw: Option<RawHeaders>) -> Result<Vec<(Vec<u8>, Cell)>, Bad> {
    match raw {
        None => Ok(Vec::new()),
        Some(RawHeaders::Map(map)) => {
            Ok(map.into_iter().map(|(name, value)| (name.into_bytes(), value.map(String::into_bytes))).collect())
        }
        Some(RawHeaders::List(list)) => list
            .into_iter()
            .map(|header| {
                let value = cell("value", header.value.map(String::into_bytes), header.value_base64)?;
                Ok((header.name.into_bytes(), value))
            })
            .collect(),
    }
}

/// Row `i` as clients see it, with its first `own` headers.
pub(in crate::api) fn show(batch: &RecordBatch, i: usize, own: usize) -> Map<String, Value> {
    let mut record = Map::new();
    record.insert("offset".to_owned(), batch.offsets[i].into());
    record.insert("timestamp".to_owned(), batch.timestamps[i].into());
    show_cell(&mut record, "key", batch.keys.get(i));
    show_cell(&mut record, "value", batch.values.get(i));
    let headers: Vec<_> = batch
        .headers
        .row(i)
        .take(own)
        .map(|(name, value)| {
            let mut header = Map::new();
            header.insert("name".to_owned(), String::from_utf8_lossy(name).into());
            show_cell(&mut header, "value", value);
            Value::Object(header)
        })
        .collect();
    if !headers.is_empty() {
        record.insert("headers".to_owned(), headers.into());
    }
    record
}

/// A cell as text, or as Base64 under another name where it is none.
fn show_cell(record: &mut Map<String, Value>, name: &str, cell: Option<&[u8]>) {
    match cell.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => record.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => record.insert(name.to_owned(), text.into()),
        Some((bytes, Err(_))) => record.insert(format!("{name}Base64"), STANDARD.encode(bytes).into()),
    };
}
