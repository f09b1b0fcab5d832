//! Reading records: bounded JSON, or a stream for who asks for one.
//!
//! Must never: wait for records on a thread that others need.

use super::{Which, line, stream};
use crate::api::App;
use crate::api::extract::{Names, Params};
use crate::api::opened::opened;
use crate::api::sse;
use crate::api::topics::missing;
use crate::policy::Permit;
use crate::policy::action::ReadRecords;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::time::parse_rfc3339_ms;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Records that are read unasked, and at most.
const READ_DEFAULT: u32 = 100;
const READ_MAX: u32 = 1_000;
/// Bytes of records that are read at most; a larger record comes alone.
const READ_BYTES_MAX: u64 = 1024 * 1024;
/// How long a read may wait for records.
const WAIT_MS_MAX: u64 = 10_000;
/// Shortest and longest pause between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct ReadParams {
    /// Which partition; by default 0, and all of them in a stream.
    pub(super) partition: Option<i32>,
    /// `earliest`, `latest`, `offset:N` or `time:RFC3339`, the last two without their names too. Default `earliest`.
    from: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    wait_ms: u64,
}

impl ReadParams {
    pub(super) fn start(&self) -> Result<Start, Problem> {
        let text = self.from.as_deref().unwrap_or("earliest");
        let offset = || text.parse().ok().filter(|offset| *offset >= 0).map(Start::Offset);
        let time = || parse_rfc3339_ms(text).map(Start::TimeMs);
        let found = text.parse().ok().or_else(offset).or_else(time);
        let rule = "`from` is `earliest`, `latest`, `offset:12` or `time:2026-01-31T12:00:00Z`";
        found.ok_or_else(|| Problem::bad_request(rule))
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

pub(in crate::api) async fn read(
    permit: Permit<ReadRecords>,
    Names(at): Names<Which>,
    Params(params): Params<ReadParams>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (start, limits) = (params.start()?, params.limits()?);
    let topic = app.topics().describe(permit.scope(), &at.topic).await?.ok_or_else(|| missing(&at.topic))?;
    if let Some(partition) = params.partition.filter(|partition| !(0..topic.partitions).contains(partition)) {
        let detail = format!("partition {partition} (this topic has 0 to {})", topic.partitions - 1);
        return Err(Problem::not_found(detail));
    }
    if sse::wanted(&headers) {
        let resume = sse::last_event_id(&headers);
        let tail = stream::Tail::start(&app, permit.scope(), at.topic, params.partition, &topic, start, resume).await?;
        return sse::stream(&app, permit, tail);
    }
    let partition = params.partition.unwrap_or(0);
    let until = Instant::now() + Duration::from_millis(params.wait_ms);
    let (mut from, mut pause) = (start, PAUSE_MIN);
    let (batch, next) = loop {
        let (batch, next) = app.topics().read(permit.scope(), &at.topic, partition, from, &limits).await?;
        if !batch.is_empty() || Instant::now() >= until {
            break (batch, next);
        }
        // What came in between must not be passed over by what `latest` means then.
        from = Start::Offset(next);
        tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    };
    let batch = opened(&app, permit.store(), permit.scope(), &at.topic, batch).await?;
    let records: Vec<_> = (0..batch.len()).map(|i| line::show(&batch, i, usize::MAX)).collect();
    Ok(Json(json!({"partition": partition, "records": records, "next": next})).into_response())
}
