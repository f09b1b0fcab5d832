//! Records, and what happens between them, as `bulkhead run` reads and prints them: a JSON object a line.
//!
//! Must never: take bytes for text; they cross as Base64.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_sdk::testing::{Between, Case, Emitted, Step};
use serde::Deserialize;
use serde_json::{Value, json};

/// The case's records, and its ticks and restarts, a line each.
///
/// # Errors
/// Where a header's name is not UTF-8, which a line cannot carry.
pub(crate) fn lines(case: &Case) -> Result<String> {
    let mut text = String::new();
    for step in case.steps() {
        match step {
            Step::Batch(rows) => {
                for i in rows {
                    text += &format!("{}\n", record(case, i)?);
                }
            }
            Step::Between(Between::Tick { input, partition, now }) => {
                text += &format!("{}\n", json!({"tick": {"input": input, "partition": partition, "now": now}}));
            }
            Step::Between(Between::Restart) => text += "{\"restart\":true}\n",
        }
    }
    Ok(text)
}

fn record(case: &Case, i: usize) -> Result<Value> {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let record = &case.records[i];
    let mut headers = Vec::new();
    for (name, value) in &record.headers {
        let name = std::str::from_utf8(name).context("a header's name is not UTF-8; test it natively")?;
        headers.push(json!({"name": name, "valueBase64": bytes(value)}));
    }
    Ok(json!({
        "keyBase64": bytes(&record.key), "valueBase64": bytes(&record.value), "headers": headers,
        "timestamp": record.timestamp, "offset": case.offset(i), "partition": record.partition,
        "input": record.input,
    }))
}

/// What became of one record, or of a tick.
#[derive(Deserialize)]
pub(crate) struct Line {
    /// The record's place; none of a tick.
    pub(crate) record: Option<usize>,
    pub(crate) outputs: Vec<Value>,
    pub(crate) exception: Option<Exception>,
}

/// Why a record was not handled.
#[derive(Deserialize)]
pub(crate) struct Exception {
    pub(crate) action: String,
    pub(crate) kind: String,
    pub(crate) reason: String,
}

/// What all of them took.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Totals {
    pub(crate) fuel: u64,
    pub(crate) tick_fuel: u64,
    pub(crate) init_fuel: u64,
    pub(crate) memory_bytes: usize,
}

/// A line of the log.
#[derive(Deserialize)]
pub(crate) struct Said {
    pub(crate) level: String,
    pub(crate) message: String,
}

/// An entry of the state.
#[derive(Deserialize)]
pub(crate) struct Entry {
    pub(crate) input: u16,
    pub(crate) partition: i32,
    #[serde(flatten)]
    pub(crate) cells: Value,
}

/// An output as a report has it.
pub(crate) fn emitted(record: usize, by_tick: bool, output: &Value) -> Result<Emitted> {
    let headers = output["headers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let header = |header: &Value| {
        let name = header["name"].as_str().context("a header without a name")?;
        anyhow::Ok((name.as_bytes().to_vec(), cell(header, "value")?))
    };
    Ok(Emitted {
        record,
        to: output["to"].as_str().context("an output without a name")?.to_owned(),
        key: cell(output, "key")?,
        value: cell(output, "value")?,
        headers: headers.iter().map(header).collect::<Result<_>>()?,
        timestamp: output["timestamp"].as_i64().context("an output without a time")?,
        by_tick,
    })
}

/// Bytes that are there as text or as Base64.
pub(crate) fn cell(of: &Value, name: &str) -> Result<Option<Vec<u8>>> {
    match (&of[name], &of[format!("{name}Base64")]) {
        (Value::String(text), _) => Ok(Some(text.clone().into_bytes())),
        (_, Value::String(bytes)) => Ok(Some(STANDARD.decode(bytes)?)),
        _ => Ok(None),
    }
}
