//! Tenants' logs: taken from workers, searched, and followed as they grow.
//!
//! Must never: let a worker fill one tenant's log with another's lines: each line names its pipeline, which must be there.

use super::App;
use super::body::Limited;
use super::extract::{Names, Params, list_json, page};
use super::sse::{self, Events};
use super::worker::{check_slot, check_tenants};
use crate::policy::Permit;
use crate::policy::action::{ReadLogs, SendLogs};
use crate::problem::Problem;
use crate::store::{LogEntry, LogFilter, Page, Store};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bulkhead_core::log_line::{LogLevel, WorkerLines};
use bulkhead_core::name::ProjectId;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::parse_rfc3339_ms;
use serde::Deserialize;
use serde_json::json;

/// Bytes of one worker's batch of lines, and lines in it.
const BATCH_BYTES_MAX: usize = 4 << 20;
const BATCH_LINES_MAX: usize = 1_000;
/// Lines that a stream takes at a time.
const STREAM_LINES: u32 = 200;

#[derive(Deserialize)]
pub(super) struct InProject {
    project: ProjectId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogParams {
    #[serde(default)]
    pipeline: String,
    #[serde(default)]
    stage: String,
    level: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    after: String,
}

impl LogParams {
    fn filter(&self) -> Result<LogFilter, Problem> {
        let level = self.level.as_deref().map_or(Ok(LogLevel::Trace), str::parse);
        Ok(LogFilter {
            pipeline: self.pipeline.clone(),
            stage: self.stage.clone(),
            level: level.map_err(|error: bulkhead_core::log_line::NoLevel| Problem::bad_request(error.to_string()))?,
            since_ms: moment(self.since.as_deref(), 0)?,
            until_ms: moment(self.until.as_deref(), i64::MAX)?,
        })
    }
}

pub(super) fn moment(text: Option<&str>, or: i64) -> Result<i64, Problem> {
    let Some(text) = text else { return Ok(or) };
    let rule = "`since` and `until` are times like 2026-01-31T12:00:00Z, or milliseconds since 1970";
    text.parse().ok().or_else(|| parse_rfc3339_ms(text)).ok_or_else(|| Problem::bad_request(rule))
}

pub(super) async fn read(
    permit: Permit<ReadLogs>,
    Names(at): Names<InProject>,
    Params(params): Params<LogParams>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    let (filter, page) = (params.filter()?, page(&params.after, params.limit)?);
    store.need_project(scope, &at.project).await?;
    if sse::wanted(&headers) {
        let after = match sse::last_event_id(&headers) {
            Some(id) => id.to_owned(),
            None if params.since.is_some() => String::new(),
            None => store.newest_line(scope).await?,
        };
        let tail =
            Tail { scope: scope.clone(), project: at.project, filter, page: Page { after, limit: STREAM_LINES } };
        return sse::stream(&app, permit, tail);
    }
    let lines = store.lines(scope, &at.project, &filter, &page).await?;
    Ok(Json(list_json(&lines, &page, |line| line.id.clone())).into_response())
}

/// A project's lines as they come.
struct Tail {
    scope: TenantScope,
    project: ProjectId,
    filter: LogFilter,
    page: Page,
}

impl Events for Tail {
    async fn next(&mut self, store: &Store) -> Result<Option<String>, Problem> {
        let lines: Vec<LogEntry> = store.lines(&self.scope, &self.project, &self.filter, &self.page).await?;
        let Some(last) = lines.last() else { return Ok(None) };
        self.page.after.clone_from(&last.id);
        let mut text = String::new();
        for line in &lines {
            sse::event(&mut text, &line.id, "line", &json!(line).to_string());
        }
        Ok(Some(text))
    }
}

/// Lines of a worker's stages.
pub(super) async fn take(
    permit: Permit<SendLogs>,
    Limited(body): Limited<BATCH_BYTES_MAX>,
) -> Result<StatusCode, Problem> {
    let sent: WorkerLines = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not a worker's lines: {error}")))?;
    check_slot(permit.reach(), &sent.worker)?;
    check_tenants(permit.reach(), sent.lines.iter().map(|line| &line.key.tenant))?;
    if sent.lines.len() > BATCH_LINES_MAX {
        return Err(Problem::bad_request(format!("send at most {BATCH_LINES_MAX} lines at once")));
    }
    permit.store().add_lines(permit.reach(), &sent.worker, &sent.lines).await?;
    Ok(StatusCode::NO_CONTENT)
}
