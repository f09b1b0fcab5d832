//! Records in and out over HTTP: JSON lines in, bounded JSON out.
//!
//! A line is `{"key", "value", "headers", "timestamp"}`, all optional. A `value` that is a JSON string is that text; any other JSON
//! is kept as it was written; bytes go as `valueBase64`. What is read back has the same fields.
//! Must never: write some lines of a request that has a bad one.

use super::App;
use super::body::Limited;
use super::extract::{Names, Params};
use super::topics::missing;
use crate::policy::Permit;
use crate::policy::action::{ProduceRecords, ReadRecords};
use crate::problem::Problem;
use crate::store::now_ms;
use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::{ManifestError, Start};
use bulkhead_core::name::TopicName;
use bulkhead_core::time::parse_rfc3339_ms;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes of one request's lines at most: held in memory, as text and as columns.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines of one request at most.
const LINES_MAX: usize = 50_000;
/// Bad lines that are told; the rest are counted by the client when these are mended.
const ERRORS_MAX: usize = 20;
/// Records that are read unasked, and at most.
const READ_DEFAULT: u32 = 100;
const READ_MAX: u32 = 1_000;
/// Bytes of records that are read at most; a larger record comes alone.
const READ_BYTES_MAX: u64 = 1024 * 1024;
/// How long a read may wait for records.
const WAIT_MS_MAX: u64 = 10_000;

#[derive(Deserialize)]
pub(super) struct Which {
    topic: TopicName,
}

/// A line of a request.
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

type Cell = Option<Vec<u8>>;

pub(super) async fn produce(
    permit: Permit<ProduceRecords>,
    Names(at): Names<Which>,
    State(app): State<App>,
    Limited(body): Limited<BODY_BYTES_MAX>,
) -> Result<Json<Value>, Problem> {
    let mut batch = parse(&body, now_ms())?;
    // Records without a key spread over partitions request by request, so that a request's keep their order.
    let turn = app.inner.next_partition.fetch_add(1, Ordering::Relaxed);
    batch.partition = i32::try_from(turn & 0x7fff_ffff).unwrap_or_default();
    let records = batch.len();
    if app.topics().describe(permit.scope(), &at.topic).await?.is_none() {
        return Err(missing(&at.topic));
    }
    if records > 0 {
        app.topics().produce(permit.scope(), &at.topic, batch).await?;
    }
    Ok(Json(json!({"records": records})))
}

/// All lines as columns, or everything that is wrong with them.
fn parse(body: &[u8], now_ms: i64) -> Result<RecordBatch, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Problem::bad_request("the lines are not UTF-8; send bytes as `valueBase64`"))?;
    let mut batch = RecordBatch::default();
    let mut errors = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if batch.len() == LINES_MAX {
            let detail = format!("a request has at most {LINES_MAX} records; send several");
            return Err(Problem::new(Code::RequestTooLarge, detail));
        }
        if let Err(detail) = parse_line(&mut batch, line, now_ms) {
            errors.push(ManifestError { code: Code::BadRequest, field: format!("line {}", i + 1), detail });
            if errors.len() == ERRORS_MAX {
                break;
            }
        }
    }
    if errors.is_empty() {
        return Ok(batch);
    }
    let detail = "some lines are not records, so none was written; see `errors`, mend them and send all again";
    Err(Problem::bad_request(detail).with_errors(errors))
}

fn parse_line(batch: &mut RecordBatch, line: &str, now_ms: i64) -> Result<(), String> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let key = cell("key", line.key.map(String::into_bytes), line.key_base64)?;
    let value = match line.value.map(RawValue::get) {
        Some(json) if json.starts_with('"') => {
            Some(serde_json::from_str::<String>(json).map_err(|error| error.to_string())?.into_bytes())
        }
        Some("null") | None => None,
        Some(json) => Some(json.as_bytes().to_vec()),
    };
    let value = cell("value", value, line.value_base64)?;
    let timestamp = match line.timestamp {
        None => now_ms,
        Some(RawTime::Ms(ms)) if ms >= 0 => ms,
        Some(RawTime::Ms(_)) => return Err("`timestamp` is milliseconds since 1970, not below 0".to_owned()),
        Some(RawTime::Text(text)) => parse_rfc3339_ms(&text)
            .ok_or("`timestamp` is milliseconds since 1970, or a time like 2026-01-31T12:00:00Z")?,
    };
    let headers = headers(line.headers)?;
    let offset = i64::try_from(batch.len()).unwrap_or(i64::MAX);
    let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()));
    batch.push(offset, timestamp, key.as_deref(), value.as_deref(), headers);
    Ok(())
}

fn cell(name: &str, text: Cell, base64: Option<String>) -> Result<Cell, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("name either `{name}` or `{name}Base64`")),
        (None, Some(base64)) => {
            STANDARD.decode(base64).map(Some).map_err(|error| format!("`{name}Base64` is not Base64: {error}"))
        }
        (text, None) => Ok(text),
    }
}

fn headers(raw: Option<RawHeaders>) -> Result<Vec<(String, Cell)>, String> {
    match raw {
        None => Ok(Vec::new()),
        Some(RawHeaders::Map(map)) => {
            Ok(map.into_iter().map(|(name, value)| (name, value.map(String::into_bytes))).collect())
        }
        Some(RawHeaders::List(list)) => list
            .into_iter()
            .map(|header| {
                let value = cell("value", header.value.map(String::into_bytes), header.value_base64)?;
                Ok((header.name, value))
            })
            .collect(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ReadParams {
    #[serde(default)]
    partition: i32,
    /// `earliest`, `latest`, an offset or a time. Default `earliest`.
    from: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    wait_ms: u64,
}

impl ReadParams {
    fn start(&self) -> Result<Start, Problem> {
        match self.from.as_deref() {
            None | Some("earliest") => Ok(Start::Earliest),
            Some("latest") => Ok(Start::Latest),
            Some(text) => match text.parse::<i64>() {
                Ok(offset) if offset >= 0 => Ok(Start::Offset(offset)),
                _ => parse_rfc3339_ms(text).map(Start::TimeMs).ok_or_else(|| {
                    Problem::bad_request(
                        "`from` is `earliest`, `latest`, an offset or a time like 2026-01-31T12:00:00Z",
                    )
                }),
            },
        }
    }

    fn limits(&self) -> Result<BatchLimits, Problem> {
        let records = self.limit.unwrap_or(READ_DEFAULT);
        if !(1..=READ_MAX).contains(&records) {
            return Err(Problem::bad_request(format!("ask for a `limit` from 1 to {READ_MAX}")));
        }
        if self.wait_ms > WAIT_MS_MAX {
            return Err(Problem::bad_request(format!("ask for a `waitMs` from 0 to {WAIT_MS_MAX}")));
        }
        Ok(BatchLimits { records, bytes: READ_BYTES_MAX, ..BatchLimits::default() })
    }
}

pub(super) async fn read(
    permit: Permit<ReadRecords>,
    Names(at): Names<Which>,
    Params(params): Params<ReadParams>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let (start, limits) = (params.start()?, params.limits()?);
    let topic = app.topics().describe(permit.scope(), &at.topic).await?.ok_or_else(|| missing(&at.topic))?;
    if !(0..topic.partitions).contains(&params.partition) {
        let detail = format!("partition {} (this topic has 0 to {})", params.partition, topic.partitions - 1);
        return Err(Problem::not_found(detail));
    }
    let wait = Duration::from_millis(params.wait_ms);
    let (batch, next) = app.topics().read(permit.scope(), &at.topic, params.partition, start, &limits, wait).await?;
    let records: Vec<_> = (0..batch.len()).map(|i| record(&batch, i)).collect();
    Ok(Json(json!({"partition": params.partition, "records": records, "next": next})))
}

fn record(batch: &RecordBatch, i: usize) -> Value {
    let mut record = Map::new();
    record.insert("offset".to_owned(), batch.offsets[i].into());
    record.insert("timestamp".to_owned(), batch.timestamps[i].into());
    show(&mut record, "key", batch.keys.get(i));
    show(&mut record, "value", batch.values.get(i));
    let headers: Vec<_> = batch
        .headers
        .row(i)
        .map(|(name, value)| {
            let mut header = Map::new();
            header.insert("name".to_owned(), String::from_utf8_lossy(name).into());
            show(&mut header, "value", value);
            Value::Object(header)
        })
        .collect();
    if !headers.is_empty() {
        record.insert("headers".to_owned(), headers.into());
    }
    Value::Object(record)
}

/// A cell as text, or as Base64 under another name where it is none.
fn show(record: &mut Map<String, Value>, name: &str, cell: Option<&[u8]>) {
    match cell.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => record.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => record.insert(name.to_owned(), text.into()),
        Some((bytes, Err(_))) => record.insert(format!("{name}Base64"), STANDARD.encode(bytes).into()),
    };
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
