//! The workers' side: what to run, the bytes of it, and how it goes.
//!
//! Must never: make a worker believe that it has nothing to run because something here failed.

use super::App;
use super::body::Limited;
use super::extract::{Names, Params};
use crate::policy::action::{FetchAssignment, FetchModule, SendReport};
use crate::policy::{Fleet, Permit};
use crate::problem::Problem;
use crate::store::{Reporter, now_ms};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::assignment::{ReportAnswer, WorkerReport};
use bulkhead_core::code::Code;
use bulkhead_core::name::{ModuleDigest, TenantId};
use bulkhead_core::scope::WorkerScope;
use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

/// How long a poll may wait for a change.
const WAIT_S_MAX: u64 = 60;
/// Bytes of one report at most: some 20,000 pipelines.
const REPORT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of the name of a worker's boot.
const BOOT_BYTES_MAX: usize = 64;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Poll {
    /// The worker's slot.
    worker: String,
    /// Seconds to wait for a change.
    #[serde(default)]
    wait: u64,
}

/// The assignment, or 304 where `If-None-Match` names the one there is; with `wait`, up to so many seconds for a newer one.
pub(super) async fn assignment(
    permit: Permit<FetchAssignment>,
    Params(poll): Params<Poll>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check_slot(permit.reach(), &poll.worker)?;
    if poll.wait > WAIT_S_MAX {
        return Err(Problem::bad_request(format!("ask for a `wait` from 0 to {WAIT_S_MAX} seconds")));
    }
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(poll.wait);
    let mut generations = app.inner.parts.generations.clone();
    loop {
        let generation = *generations.borrow_and_update();
        if etag(generation) != known {
            return Ok(full(current(&permit, &app, generation).await?));
        }
        let changed = async {
            tokio::select! {
                () = app.stop().cancelled() => false,
                changed = generations.changed() => changed.is_ok(),
            }
        };
        if !timeout_at(until, changed).await.unwrap_or(false) {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag_value(generation))]).into_response());
        }
    }
}

fn etag(generation: u64) -> String {
    format!("\"g{generation}\"")
}

fn etag_value(generation: u64) -> HeaderValue {
    // Digits and quotes are always a header value.
    HeaderValue::from_str(&etag(generation)).unwrap_or(HeaderValue::from_static("\"\""))
}

fn full((generation, json): (u64, Bytes)) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::ETAG, etag_value(generation)), (header::CONTENT_TYPE, kind)], json).into_response()
}

/// The assignment of this generation or a newer one, made once for all workers of the same scope that ask.
async fn current(permit: &Permit<FetchAssignment>, app: &App, generation: u64) -> Result<(u64, Bytes), Problem> {
    let mut made = app.inner.assignment.lock().await;
    let scope = permit.reach().tenant();
    if let Some((at, json)) = made.get(&scope.cloned()).filter(|(at, _)| *at >= generation) {
        return Ok((*at, json.clone()));
    }
    let assignment = permit.store().assignment(permit.reach()).await?;
    let json = Bytes::from(serde_json::to_vec(&assignment).map_err(Problem::internal)?);
    // What is older is no longer asked for; so this holds one for each scope that has workers.
    made.retain(|_, (at, _)| *at >= generation);
    made.insert(scope.cloned(), (assignment.generation, json.clone()));
    Ok((assignment.generation, json))
}

pub(super) async fn report(
    permit: Permit<SendReport>,
    State(app): State<App>,
    Limited(body): Limited<REPORT_BYTES_MAX>,
) -> Result<Response, Problem> {
    let mut report: WorkerReport = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not a worker's report: {error}")))?;
    check_slot(permit.reach(), &report.worker)?;
    check_tenants(permit.reach(), report.pipelines.iter().map(|pipeline| &pipeline.key.tenant))?;
    if report.boot.is_empty() || report.boot.len() > BOOT_BYTES_MAX {
        return Err(Problem::bad_request(format!("`boot` has 1 to {BOOT_BYTES_MAX} bytes")));
    }
    // Control has begun anew since: what there is to merge comes with the next.
    let complete = !app.live().knows(&report);
    let reporter = Reporter { worker: &report.worker, boot: &report.boot };
    let away = permit.store().merge_report(permit.reach(), reporter, &app.live().changed(&report)).await?;
    let mut news = app.inner.news.of(&report, now_ms());
    news.extend(app.anomalies().hear(&report, now_ms()));
    permit.store().add_lines(permit.reach(), &report.worker, &news).await?;
    // As if nothing had been said of them, so that the worker's next report is merged.
    report.pipelines.retain(|pipeline| !away.contains(&pipeline.key.tenant));
    let worker = report.worker.clone();
    let complete = complete || !away.is_empty();
    app.live().hear(report);
    let shares = app.live().shares(&worker);
    if shares.is_empty() && !complete {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(ReportAnswer { shares, complete }).into_response())
}

#[derive(Deserialize)]
pub(super) struct Which {
    digest: ModuleDigest,
}

/// The bytes of a module that the tenant has.
pub(super) async fn module(
    permit: Permit<FetchModule>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found(format!("module {}", at.digest));
    if !permit.store().has_module(permit.scope(), &at.digest).await? {
        return Err(missing());
    }
    let (length, bytes) = app.blobs().read(permit.scope(), &at.digest).await?.ok_or_else(missing)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/wasm")),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// A worker speaks for the slot of its token, and for no other.
pub(super) fn check_slot(fleet: &Fleet, worker: &str) -> Result<(), Problem> {
    WorkerScope::new(worker)
        .map_err(|error| Problem::bad_request(format!("`worker` is not a slot's name: {error}")))?;
    if fleet.is_in(worker) {
        return Ok(());
    }
    let detail = format!("this token is not for the slot `{worker}`; start the worker with the slot of its token");
    Err(Problem::new(Code::Forbidden, detail))
}

/// A worker of one tenant speaks of that tenant's pipelines only.
pub(super) fn check_tenants<'a>(fleet: &Fleet, mut tenants: impl Iterator<Item = &'a TenantId>) -> Result<(), Problem> {
    if tenants.all(|tenant| fleet.works_for(tenant)) {
        return Ok(());
    }
    Err(Problem::not_found("such tenant for this worker"))
}
