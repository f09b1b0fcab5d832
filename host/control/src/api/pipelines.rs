//! Pipelines: applying manifests, seeing how they fare, pausing, deleting.
//!
//! Must never: tell one mistake in a manifest where there are more.

use super::App;
use super::body::Limited;
use super::extract::{ListParams, Names, Params, list_json};
use crate::live::Fares;
use crate::policy::Permit;
use crate::policy::action::{Action, ApplyPipeline, DeletePipeline, PausePipeline, ReadPipelines};
use crate::problem::Problem;
use crate::store::{Applied, Leftover, PipelineRow, manifest_problem};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bulkhead_core::assignment::{PipelineKey, Totals};
use bulkhead_core::code::Code;
use bulkhead_core::limits::MANIFEST_BYTES_MAX;
use bulkhead_core::manifest::{self, ManifestError, ModuleRef, PipelineSpec};
use bulkhead_core::name::{PipelineName, ProjectId, TopicName};
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
pub(super) struct InProject {
    project: ProjectId,
}

#[derive(Deserialize)]
pub(super) struct Which {
    project: ProjectId,
    pipeline: PipelineName,
}

/// A pipeline as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PipelineView {
    name: PipelineName,
    revision: u64,
    paused: bool,
    created_at: String,
    updated_at: String,
    status: Status,
    /// As written; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    /// The digest that each stage's module was resolved to.
    modules: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(flatten)]
    fares: Fares,
    totals: TotalsView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
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

async fn view<A: Action<Reach = TenantScope>>(
    app: &App,
    permit: &Permit<A>,
    project: &ProjectId,
    row: PipelineRow,
) -> Result<PipelineView, Problem> {
    let scope = permit.scope();
    let totals = permit.store().totals(scope, project, &row.name).await?;
    let key = PipelineKey { tenant: scope.tenant().clone(), project: project.clone(), pipeline: row.name.clone() };
    let fares = app.live().fares(&key, row.first_revision);
    let modules = row.spec.stages.iter().map(|stage| (stage.name.to_string(), stage.module.to_string())).collect();
    Ok(PipelineView {
        name: row.name,
        revision: row.revision,
        paused: row.paused,
        created_at: format_rfc3339_ms(row.created_ms),
        updated_at: format_rfc3339_ms(row.updated_ms),
        status: Status { fares, totals: totals.into() },
        manifest: Some(row.manifest),
        modules,
    })
}

async fn view_one<A: Action<Reach = TenantScope>>(
    app: &App,
    permit: &Permit<A>,
    at: &Which,
) -> Result<Json<Value>, Problem> {
    let row = permit.store().pipeline(permit.scope(), &at.project, &at.pipeline).await?;
    Ok(Json(json!(view(app, permit, &at.project, row).await?)))
}

pub(super) async fn list(
    permit: Permit<ReadPipelines>,
    Names(at): Names<InProject>,
    Params(params): Params<ListParams>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    permit.store().need_project(permit.scope(), &at.project).await?;
    let mut views = Vec::new();
    for row in permit.store().pipelines(permit.scope(), &at.project, &page).await? {
        views.push(PipelineView { manifest: None, ..view(&app, &permit, &at.project, row).await? });
    }
    Ok(Json(list_json(&views, &page, |view| view.name.to_string())))
}

pub(super) async fn one(
    permit: Permit<ReadPipelines>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    view_one(&app, &permit, &at).await
}

pub(super) async fn apply(
    permit: Permit<ApplyPipeline>,
    Names(at): Names<Which>,
    State(app): State<App>,
    Limited(body): Limited<{ MANIFEST_BYTES_MAX as usize }>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    store.need_project(scope, &at.project).await?;
    let (text, spec) = parse(&body)?;
    let mut errors = name_errors(&at.pipeline, &spec);
    errors.extend(topic_errors(&app, scope, &spec).await?);
    // A name that is used again may have to wait for its former pipeline; try to help it along.
    if store.has_left_group(scope, &at.project, &at.pipeline).await? {
        let leftover = Leftover::Group(scope.clone(), at.project.clone(), at.pipeline.clone());
        if app.clear_soon(&leftover).await {
            store.strike(&leftover).await?;
        }
    }
    if errors.is_empty() {
        keep_state(&app, &permit, &at.project, &spec).await?;
    }
    let applied = store.apply(scope, &at.project, spec, text, errors, app.config().quotas.pipelines).await?;
    let status = if applied == Applied::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, view_one(&app, &permit, &at).await?))
}

pub(super) async fn pause(
    permit: Permit<PausePipeline>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    permit.store().set_paused(permit.scope(), &at.project, &at.pipeline, true).await?;
    view_one(&app, &permit, &at).await
}

pub(super) async fn resume(
    permit: Permit<PausePipeline>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    permit.store().set_paused(permit.scope(), &at.project, &at.pipeline, false).await?;
    view_one(&app, &permit, &at).await
}

/// The pipeline is gone at once (204), or as soon as its workers have let go of its positions (202).
pub(super) async fn delete(
    permit: Permit<DeletePipeline>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<StatusCode, Problem> {
    permit.store().delete_pipeline(permit.scope(), &at.project, &at.pipeline).await?;
    let leftover = Leftover::Group(permit.scope().clone(), at.project, at.pipeline);
    if app.clear_soon(&leftover).await {
        permit.store().strike(&leftover).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    Ok(StatusCode::ACCEPTED)
}

fn parse(body: &[u8]) -> Result<(&str, PipelineSpec<ModuleRef>), Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the manifest is not UTF-8 text: {error}");
        manifest_problem(vec![ManifestError { code: Code::ManifestSyntax, field: "(all)".to_owned(), detail }])
    })?;
    let spec = manifest::parse(text).map_err(manifest_problem)?;
    Ok((text, spec))
}

/// Makes the place for state where a manifest is the first to grant some. Only then: that a place vanished which was made before is for
/// the worker to say, and no empty one may hide it.
async fn keep_state(
    app: &App,
    permit: &Permit<ApplyPipeline>,
    project: &ProjectId,
    spec: &PipelineSpec<ModuleRef>,
) -> Result<(), Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    if !spec.has_state() {
        return Ok(());
    }
    match store.pipeline(scope, project, &spec.name).await {
        Ok(before) if before.spec.has_state() => return Ok(()),
        Ok(_) => {}
        Err(problem) if problem.code == Code::NotFound => {}
        Err(problem) => return Err(problem),
    }
    let mut partitions = 1;
    for input in &spec.inputs {
        let topic = app.topics().describe(scope, &input.topic).await?;
        partitions = partitions.max(topic.map_or(1, |topic| topic.partitions));
    }
    Ok(app.topics().keep_state(scope, project, &spec.name, partitions).await?)
}

fn name_errors(path: &PipelineName, spec: &PipelineSpec<ModuleRef>) -> Vec<ManifestError> {
    if *path == spec.name {
        return Vec::new();
    }
    let detail = format!("is `{}`, but the path says `{path}`; make them the same", spec.name);
    vec![ManifestError { code: Code::FieldInvalid, field: "name".to_owned(), detail }]
}

/// One error for each field that names a topic which is not there.
async fn topic_errors(
    app: &App,
    scope: &TenantScope,
    spec: &PipelineSpec<ModuleRef>,
) -> Result<Vec<ManifestError>, Problem> {
    let mut there: BTreeMap<&TopicName, bool> = BTreeMap::new();
    let mut errors = Vec::new();
    for (field, topic) in spec.topics() {
        let exists = match there.get(topic) {
            Some(exists) => *exists,
            None => app.topics().describe(scope, topic).await?.is_some(),
        };
        there.insert(topic, exists);
        if !exists {
            let detail = format!("there is no topic `{topic}`; make it first");
            errors.push(ManifestError { code: Code::TopicMissing, field, detail });
        }
    }
    Ok(errors)
}
