//! Writing records.
//!
//! Lines are written in batches while the body still arrives, each batch durably before more is read, so a client may send without
//! end. Where a line is bad, those before it are written and the problem's `accepted` counts them.
//! Must never: count a record as accepted that the log has not taken, or write one after a bad one.

use super::Which;
use super::line::{Bad, Record, cell, time};
use super::lines::{Lines, Next};
use crate::api::App;
use crate::api::body::{content_length, read_at_most};
use crate::api::extract::Names;
use crate::api::topics::missing;
use crate::paced::Pace;
use crate::policy::Permit;
use crate::policy::action::ProduceRecords;
use crate::problem::Problem;
use crate::store::now_ms;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::manifest::ManifestError;
use bulkhead_core::name::TopicName;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::parse_rfc3339_ms;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Bytes of a body that is one JSON text: held in memory whole. Lines have no such limit.
const JSON_BYTES_MAX: usize = 8 << 20;
/// Records of such a body.
const JSON_RECORDS_MAX: usize = 50_000;
/// Bad records of such a body that are told; the rest show when these are mended.
const ERRORS_MAX: usize = 20;
/// Bytes by which a line may be longer than twice the topic's limit: for names of fields and many small headers.
const LINE_BYTES_EXTRA: usize = 64 << 10;
/// Records, and bytes, that are written together.
const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;
/// How long records wait for more of the body before they are written.
const LINGER: Duration = Duration::from_millis(200);
/// How long a body may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub(in crate::api) async fn produce(
    permit: Permit<ProduceRecords>,
    Names(at): Names<Which>,
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let scope = permit.scope();
    let max = app.config().produces_per_tenant_max;
    let Some(_slot) = app.inner.produces.enter(scope.tenant(), max) else {
        let detail = format!("{max} requests of this tenant write records already; wait for one to end");
        return Err(Problem::at_places("produces", max, detail));
    };
    let limits = permit.store().limits(scope).await?;
    let pace = Pace {
        rate: limits.bytes_out_per_second as f64,
        burst: limits.bytes_out_per_second.saturating_mul(limits.burst_seconds) as f64,
    };
    app.refuse_full(scope.tenant(), &limits)?;
    tokio::time::sleep(check_rate(&app, scope, pace, PACED)?).await;
    let topic = app.topics().describe(scope, &at.topic).await?.ok_or_else(|| missing(&at.topic))?;
    // Records without a key spread over partitions request by request, so that a request's keep their order.
    let turn = app.inner.next_partition.fetch_add(1, Ordering::Relaxed);
    let mut producer = Producer {
        app: &app,
        scope,
        name: &at.topic,
        partitions: topic.partitions,
        record_max: usize::try_from(topic.max_record_bytes).unwrap_or(usize::MAX),
        turn: i32::try_from(turn & 0x7fff_ffff).unwrap_or_default(),
        batch: RecordBatch::default(),
        bytes: 0,
        accepted: 0,
        pace,
    };
    let done = match kind(&headers) {
        Kind::Lines => producer.lines(body).await,
        Kind::Json => producer.json(content_length(&headers)?, body).await,
        Kind::Raw => producer.raw(&headers, body).await,
    };
    let accepted = producer.accepted;
    match done {
        Ok(()) => Ok(Json(json!({"accepted": accepted}))),
        Err(problem) => Err(problem.with_member("accepted", accepted)),
    }
}

enum Kind {
    Lines,
    Json,
    Raw,
}

/// What the body is. What is neither JSON nor bytes is lines: programs that send lines often name another type.
fn kind(headers: &HeaderMap) -> Kind {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Kind::Json
    } else if essence.eq_ignore_ascii_case("application/octet-stream") {
        Kind::Raw
    } else {
        Kind::Lines
    }
}

/// One request's way to its topic.
struct Producer<'a> {
    app: &'a App,
    scope: &'a TenantScope,
    name: &'a TopicName,
    partitions: i32,
    record_max: usize,
    /// The partition, modulo the topic's, of records that name none.
    turn: i32,
    /// What waits to be written.
    batch: RecordBatch,
    bytes: usize,
    accepted: u64,
    /// How much its tenant may write.
    pace: Pace,
}

/// Longest that a request waits for its tenant's rate before it is read, rather than being told to come again.
const PACED: Duration = Duration::from_secs(1);
/// Longest that a body of lines is let wait for its tenant's rate, rather than told to come again.
const PACED_MAX: Duration = Duration::from_secs(10);

/// Refuses where the tenant owes more bytes than come in so much time.
fn check_rate(app: &App, scope: &TenantScope, pace: Pace, longest: Duration) -> Result<Duration, Problem> {
    let wait = app.inner.written.wait(scope.tenant(), pace);
    if wait > longest {
        let allowed = pace.rate as u64;
        // What is owed was used beyond what a second allows.
        let used = allowed + (pace.rate * wait.as_secs_f64()) as u64;
        return Err(Problem::at_rate("bytesOutPerSecond", used, allowed, wait));
    }
    Ok(wait)
}

impl Producer<'_> {
    async fn lines(&mut self, body: Body) -> Result<(), Problem> {
        let line_max = self.record_max.saturating_mul(2).saturating_add(LINE_BYTES_EXTRA);
        let mut lines = Lines::new(body, line_max);
        let mut heard = Instant::now();
        loop {
            let (number, line) = match lines.next(LINGER).await {
                Next::Line(number, line) => (number, line),
                Next::End => return self.flush().await,
                Next::Quiet => {
                    self.flush().await?;
                    self.check_patience(heard)?;
                    continue;
                }
                Next::TooLong(number) => {
                    self.flush().await?;
                    let detail =
                        format!("line {number} has more than {line_max} bytes; see the topic's `maxRecordBytes`");
                    return Err(Problem::new(Code::RecordTooLarge, detail).with_member("line", number));
                }
                Next::Broken => {
                    self.flush().await?;
                    return Err(Problem::bad_request("the body ended early; send the rest again"));
                }
            };
            // Whoever sends without end is slowed down.
            if self.batch.is_empty() {
                tokio::time::sleep(check_rate(self.app, self.scope, self.pace, PACED_MAX)?).await;
            }
            heard = Instant::now();
            let parsed = std::str::from_utf8(&line)
                .map_err(|_| Bad::new("is not UTF-8; send bytes as `valueBase64`"))
                .and_then(|text| Record::parse(text, now_ms()))
                .and_then(|record| self.check(record));
            match parsed {
                Ok(record) => self.take(&record).await?,
                Err(bad) => {
                    self.flush().await?;
                    let detail = format!("line {number}: {}; the lines before it are written", bad.detail);
                    return Err(Problem::new(bad.code, detail).with_member("line", number));
                }
            }
        }
    }

    fn check_patience(&self, heard: Instant) -> Result<(), Problem> {
        if self.app.stop().is_cancelled() {
            return Err(Problem::new(Code::Unavailable, "the server is stopping; send the rest to another"));
        }
        if heard.elapsed() > SILENCE_MAX {
            let detail = format!("nothing came for {} s; send the rest again", SILENCE_MAX.as_secs());
            return Err(Problem::new(Code::RequestTimeout, detail));
        }
        Ok(())
    }

    /// One JSON text, a record or an array of them: all of it, or nothing.
    async fn json(&mut self, declared: Option<u64>, body: Body) -> Result<(), Problem> {
        let bytes =
            tokio::time::timeout(self.app.config().request_time_max, read_at_most(body, declared, JSON_BYTES_MAX));
        let bytes = bytes.await.map_err(|_| Problem::new(Code::RequestTimeout, "the body came too slowly"))??;
        let unreadable =
            |error: serde_json::Error| Problem::new(Code::RecordInvalid, format!("the body is not JSON: {error}"));
        let array = bytes.trim_ascii_start().starts_with(b"[");
        let items: Vec<&RawValue> = match array {
            true => serde_json::from_slice(&bytes).map_err(unreadable)?,
            false => vec![serde_json::from_slice(&bytes).map_err(unreadable)?],
        };
        if items.len() > JSON_RECORDS_MAX {
            let detail = format!("an array has at most {JSON_RECORDS_MAX} records; send several, or lines");
            return Err(Problem::new(Code::RequestTooLarge, detail));
        }
        let (mut records, mut errors) = (Vec::with_capacity(items.len()), Vec::new());
        for (i, item) in items.iter().enumerate() {
            match Record::parse(item.get(), now_ms()).and_then(|record| self.check(record)) {
                Ok(record) => records.push(record),
                Err(bad) => errors.push(ManifestError { code: bad.code, field: format!("[{i}]"), detail: bad.detail }),
            }
            if errors.len() == ERRORS_MAX {
                break;
            }
        }
        if let Some(first) = errors.first() {
            let detail =
                "some of these are not records, so none was written; see `errors`, mend them and send all again";
            return Err(Problem::new(first.code, detail).with_errors(errors));
        }
        for record in &records {
            self.take(record).await?;
        }
        self.flush().await
    }

    /// One value as it is, with everything else in headers of the request.
    async fn raw(&mut self, headers: &HeaderMap, body: Body) -> Result<(), Problem> {
        let refuse = |bad: Bad| Problem::new(bad.code, bad.detail);
        let mut record = raw_record(headers).and_then(|record| self.check(record)).map_err(refuse)?;
        let too_large = |problem: Problem| match problem.code {
            Code::RequestTooLarge => {
                let detail =
                    format!("the value has more than {} bytes; topic `{}` takes no more", self.record_max, self.name);
                Problem::new(Code::RecordTooLarge, detail)
            }
            _ => problem,
        };
        let value = read_at_most(body, content_length(headers)?, self.record_max);
        let value = tokio::time::timeout(self.app.config().request_time_max, value).await;
        let value =
            value.map_err(|_| Problem::new(Code::RequestTimeout, "the body came too slowly"))?.map_err(too_large)?;
        record.value = Some(value.into());
        let record = self.check(record).map_err(refuse)?;
        self.take(&record).await?;
        self.flush().await
    }

    /// What only the topic can say about a record.
    fn check(&self, record: Record) -> Result<Record, Bad> {
        let bytes = record.bytes();
        if bytes > self.record_max {
            let detail = format!("has {bytes} bytes with framing; topic `{}` takes {}", self.name, self.record_max);
            return Err(Bad { code: Code::RecordTooLarge, detail });
        }
        match record.partition {
            Some(partition) if partition >= self.partitions => Err(Bad::new(format!(
                "names partition {partition}; topic `{}` has 0 to {}",
                self.name,
                self.partitions - 1
            ))),
            _ => Ok(record),
        }
    }

    /// Adds a record to the batch, after writing the batch where the two do not go together or it is full.
    async fn take(&mut self, record: &Record) -> Result<(), Problem> {
        let partition = record.partition.unwrap_or(self.turn);
        if self.batch.partition != partition {
            self.flush().await?;
            self.batch.partition = partition;
        }
        record.push_to(&mut self.batch);
        self.bytes += record.bytes();
        if self.batch.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what waits. It is durable when this returns.
    async fn flush(&mut self) -> Result<(), Problem> {
        let partition = self.batch.partition;
        let batch = std::mem::replace(&mut self.batch, RecordBatch { partition, ..RecordBatch::default() });
        let bytes = std::mem::take(&mut self.bytes);
        if !batch.is_empty() {
            let records = batch.len() as u64;
            self.app.topics().produce(self.scope, self.name, batch).await?;
            self.accepted += records;
            self.app.inner.written.take(self.scope.tenant(), self.pace, bytes as u64);
        }
        Ok(())
    }
}

/// The record that a request's headers tell of, without its value.
fn raw_record(headers: &HeaderMap) -> Result<Record, Bad> {
    const PREFIX: &str = "bulkhead-header-";
    let one = |name: &str| match headers.get(name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.to_owned())),
        Some(Err(_)) => Err(Bad::new(format!("`{name}` is not ASCII; send a key as `Bulkhead-Key-Base64`"))),
    };
    let key = cell("key", one("bulkhead-key")?.map(String::into_bytes), one("bulkhead-key-base64")?)?;
    let timestamp = match one("bulkhead-timestamp")? {
        None => now_ms(),
        Some(text) => time(text.parse().ok().or_else(|| parse_rfc3339_ms(&text)))?,
    };
    let partition = match one("bulkhead-partition")? {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Bad::new("`Bulkhead-Partition` is a number"))?),
    };
    let own = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(PREFIX)?;
        Some((name.as_bytes().to_vec(), Some(value.as_bytes().to_vec())))
    });
    let record = Record { key, value: None, headers: own.collect(), timestamp, partition };
    record.check()?;
    Ok(record)
}
