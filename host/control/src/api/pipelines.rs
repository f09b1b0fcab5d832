//! Pipelines: seeing how they fare, pausing, deleting. Bringing them out is in [`super::deploy`].
//!
//! Must never: answer a change with what somebody else made of the pipeline meanwhile.

use super::App;
use super::extract::{ListParams, Names, Params, list_json};
use crate::anomalies::UnusualView;
use crate::condition::Condition;
use crate::live::Fares;
use crate::policy::Permit;
use crate::policy::action::{DeletePipeline, PausePipeline, ReadPipelines};
use crate::problem::Problem;
use crate::store::{PipelineRow, Store};
use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, HeaderName};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bulkhead_core::assignment::{PipelineKey, Totals};
use bulkhead_core::manifest::PipelineSpec;
use bulkhead_core::name::{PipelineName, ProjectId};
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Deserialize)]
pub(super) struct InProject {
    pub(super) project: ProjectId,
}

#[derive(Deserialize)]
pub(super) struct Which {
    pub(super) project: ProjectId,
    pub(super) pipeline: PipelineName,
}

/// A pipeline as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Pipeline)]
pub(super) struct PipelineView {
    #[schema(value_type = String)]
    name: PipelineName,
    revision: u64,
    paused: bool,
    /// It waits for its workers to leave, then begins anew at the start that was asked for.
    starting_over: bool,
    created_at: String,
    updated_at: String,
    status: Status,
    /// As written; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    /// The digest that each stage's module was resolved to.
    modules: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(flatten)]
    fares: Fares,
    totals: TotalsView,
    /// What differs from the pipeline's own past now.
    unusual: Vec<UnusualView>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Totals)]
struct TotalsView {
    records_in: u64,
    records_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    dead_letters: u64,
    fuel: u64,
}

impl From<Totals> for TotalsView {
    fn from(totals: Totals) -> Self {
        let Totals { records_in, records_out, bytes_in, bytes_out, dead_letters, fuel } = totals;
        Self { records_in, records_out, bytes_in, bytes_out, dead_letters, fuel }
    }
}

/// The digest of each stage's module.
pub(super) fn modules_of(spec: &PipelineSpec) -> BTreeMap<String, String> {
    spec.stages.iter().map(|stage| (stage.name.to_string(), stage.module.to_string())).collect()
}

/// The header that names a thing's state.
pub(super) fn tagged(etag: &str) -> [(HeaderName, String); 1] {
    [(ETAG, etag.to_owned())]
}

pub(super) async fn view(
    app: &App,
    (store, scope): (&Store, &TenantScope),
    project: &ProjectId,
    row: PipelineRow,
) -> Result<PipelineView, Problem> {
    let totals = store.totals(scope, project, &row.name).await?;
    let key = PipelineKey { tenant: scope.tenant().clone(), project: project.clone(), pipeline: row.name.clone() };
    let fares = app.live().fares(&key, row.first_revision);
    let modules = modules_of(&row.spec);
    Ok(PipelineView {
        name: row.name,
        revision: row.revision,
        paused: row.paused,
        starting_over: row.starting_over,
        created_at: format_rfc3339_ms(row.created_ms),
        updated_at: format_rfc3339_ms(row.updated_ms),
        status: Status { fares, totals: totals.into(), unusual: app.anomalies().of(&key) },
        manifest: Some(row.manifest),
        modules,
    })
}

async fn answer(
    app: &App,
    reach: (&Store, &TenantScope),
    project: &ProjectId,
    row: PipelineRow,
) -> Result<Response, Problem> {
    let etag = row.etag();
    Ok((tagged(&etag), Json(view(app, reach, project, row).await?)).into_response())
}

pub(super) async fn list(
    permit: Permit<ReadPipelines>,
    Names(at): Names<InProject>,
    Params(params): Params<ListParams>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    let (store, scope) = (permit.store(), permit.scope());
    store.need_project(scope, &at.project).await?;
    let mut views = Vec::new();
    for row in store.pipelines(scope, &at.project, &page).await? {
        views.push(PipelineView { manifest: None, ..view(&app, (store, scope), &at.project, row).await? });
    }
    Ok(Json(list_json(&views, &page, |view| view.name.to_string())))
}

pub(super) async fn one(
    permit: Permit<ReadPipelines>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Response, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    let row = store.pipeline(scope, &at.project, &at.pipeline).await?;
    answer(&app, (store, scope), &at.project, row).await
}

pub(super) async fn pause(
    permit: Permit<PausePipeline>,
    Names(at): Names<Which>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    set_paused(&app, &permit, &at, &headers, true).await
}

pub(super) async fn resume(
    permit: Permit<PausePipeline>,
    Names(at): Names<Which>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    set_paused(&app, &permit, &at, &headers, false).await
}

async fn set_paused(
    app: &App,
    permit: &Permit<PausePipeline>,
    at: &Which,
    headers: &HeaderMap,
    paused: bool,
) -> Result<Response, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    let condition = Condition::read(headers)?;
    let row = store.set_paused(scope, &at.project, &at.pipeline, paused, &condition).await?;
    answer(app, (store, scope), &at.project, row).await
}

/// The pipeline is gone at once (204), or as soon as its workers have let go of it (202). Its dead letters and its published objects are the
/// tenant's and stay.
pub(super) async fn delete(
    permit: Permit<DeletePipeline>,
    Names(at): Names<Which>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let condition = Condition::read(&headers)?;
    let leftover = permit.store().delete_pipeline(permit.scope(), &at.project, &at.pipeline, &condition).await?;
    if app.clear_soon(&leftover).await {
        permit.store().strike(&leftover).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    Ok(StatusCode::ACCEPTED)
}
