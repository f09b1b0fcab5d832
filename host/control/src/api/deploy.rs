//! Bringing out pipelines: applying a manifest, going back to a revision, and seeing what either would change.
//!
//! Must never: tell one mistake in a manifest where there are more, or write a dry run down as a change.

use super::App;
use super::body::Limited;
use super::extract::{Form, Names, Params};
use super::pipelines::{PipelineView, Which, modules_of, tagged, view};
use crate::condition::Condition;
use crate::diff::{Change, changes};
use crate::policy::Permit;
use crate::policy::action::{ApplyPipeline, PlanPipeline, ReadPipelines};
use crate::problem::Problem;
use crate::store::{Applied, Deployed, PipelineRow, Store, Terms, Wanted, manifest_problem};
use crate::token::Principal;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestPartsExt};
use bulkhead_core::code::Code;
use bulkhead_core::limits::MANIFEST_BYTES_MAX;
use bulkhead_core::manifest::{self, ManifestError, ModuleRef, PipelineSpec, Start, StartError};
use bulkhead_core::name::{PipelineName, TopicName};
use bulkhead_core::scope::TenantScope;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// How to bring out.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct DeployParams {
    /// Only tell what would change.
    #[serde(default)]
    dry_run: bool,
    /// Where to begin: `earliest`, `latest`, `offset:N` or `time:` and an RFC 3339 time. Positions that the pipeline has become void.
    start: Option<String>,
}

impl DeployParams {
    fn start(&self) -> Result<Option<Start>, Problem> {
        let start = self.start.as_deref().map(str::parse).transpose();
        start.map_err(|error: StartError| Problem::bad_request(format!("`start`: {error}")))
    }
}

/// The right to bring out, or only to see what it would do: which one the query says, so that the audit tells them apart.
pub(super) enum Deploying {
    Change(Permit<ApplyPipeline>),
    DryRun(Permit<PlanPipeline>),
}

impl FromRequestParts<App> for Deploying {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        // As strict as the query's own reading: whatever else it may say instead of `true` is refused there.
        let dry = parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "dryRun=true"));
        if dry {
            parts.extract_with_state(app).await.map(Self::DryRun)
        } else {
            parts.extract_with_state(app).await.map(Self::Change)
        }
    }
}

impl Deploying {
    fn parts(&self) -> (&Store, &TenantScope, &Principal) {
        match self {
            Self::Change(permit) => (permit.store(), permit.scope(), permit.principal()),
            Self::DryRun(permit) => (permit.store(), permit.scope(), permit.principal()),
        }
    }

    fn agree(&self, params: &DeployParams) -> Result<(), Problem> {
        if params.dry_run == matches!(self, Self::DryRun(_)) {
            return Ok(());
        }
        Err(Problem::bad_request("write `dryRun=true` plainly, without percent signs"))
    }
}

/// A pipeline that was brought out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeployedView {
    applied: Applied,
    #[serde(flatten)]
    pipeline: PipelineView,
}

/// What bringing out would do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanView {
    /// Always true.
    dry_run: bool,
    applied: Applied,
    /// The revision that runs; null where there is no such pipeline.
    revision: Option<u64>,
    /// Where it would begin; null where it would go on from its positions.
    start: Option<String>,
    /// The digest that each stage's module resolves to.
    modules: BTreeMap<String, String>,
    changes: Vec<Change>,
}

/// Applies a manifest.
pub(super) async fn apply(
    deploying: Deploying,
    Names(at): Names<Which>,
    Params(params): Params<DeployParams>,
    State(app): State<App>,
    headers: HeaderMap,
    Limited(body): Limited<{ MANIFEST_BYTES_MAX as usize }>,
) -> Result<Response, Problem> {
    let (store, scope, _) = deploying.parts();
    store.need_project(scope, &at.project).await?;
    let (text, spec) = parse(&body)?;
    let mut errors = name_errors(&at.pipeline, &spec);
    errors.extend(topic_errors(&app, scope, &spec).await?);
    // A name that is used again may have to wait for its former pipeline; try to help it along.
    if !params.dry_run
        && let Some(leftover) = store.left_pipeline(scope, &at.project, &at.pipeline).await?
        && app.clear_soon(&leftover).await
    {
        store.strike(&leftover).await?;
    }
    if errors.is_empty() {
        begin_state(&app, &deploying, &at, &spec, &params).await?;
    }
    deploy(&app, &deploying, &at, Wanted::Manifest { text, spec, errors }, (&params, &headers)).await
}

/// Where to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Rollback)]
pub(super) struct Back {
    /// The revision whose manifest and modules are to run again, as a new revision.
    revision: u64,
}

/// Goes back to what a revision ran.
pub(super) async fn rollback(
    deploying: Deploying,
    Names(at): Names<Which>,
    Params(params): Params<DeployParams>,
    State(app): State<App>,
    headers: HeaderMap,
    Form(back): Form<Back>,
) -> Result<Response, Problem> {
    let (store, scope, _) = deploying.parts();
    let then = store.revision(scope, &at.project, &at.pipeline, back.revision).await?;
    let errors = topic_errors(&app, scope, &then.spec).await?;
    if errors.is_empty() {
        begin_state(&app, &deploying, &at, &then.spec, &params).await?;
    }
    deploy(&app, &deploying, &at, Wanted::Revision { number: back.revision, errors }, (&params, &headers)).await
}

/// Makes the place for state where this revision is the first to grant some.
async fn begin_state<M>(
    app: &App,
    deploying: &Deploying,
    at: &Which,
    spec: &PipelineSpec<M>,
    params: &DeployParams,
) -> Result<(), Problem> {
    let (store, scope, _) = deploying.parts();
    if params.dry_run || !spec.has_state() {
        return Ok(());
    }
    match store.find_pipeline(scope, &at.project, &at.pipeline).await? {
        Some(before) if before.spec.has_state() => Ok(()),
        _ => app.keep_state(scope, &at.project, spec).await,
    }
}

async fn deploy(
    app: &App,
    deploying: &Deploying,
    at: &Which,
    wanted: Wanted<'_>,
    (params, headers): (&DeployParams, &HeaderMap),
) -> Result<Response, Problem> {
    deploying.agree(params)?;
    let (store, scope, principal) = deploying.parts();
    let limits = store.limits(scope).await?;
    let terms = Terms {
        by: principal.subject(),
        condition: &Condition::read(headers)?,
        start: params.start()?,
        dry_run: params.dry_run,
        limits: &limits,
        vault: app.vault(),
    };
    let Deployed { applied, before, spec, now } =
        store.deploy(scope, &at.project, &at.pipeline, wanted, &terms).await?;
    let Some(row) = now.filter(|_| !params.dry_run) else {
        let plan = PlanView {
            dry_run: true,
            applied,
            revision: before.as_ref().map(|row| row.revision),
            start: terms.start.map(|start| start.to_string()),
            modules: modules_of(&spec),
            changes: changes(before.as_ref().map(|row| &row.spec), &spec)?,
        };
        return Ok(Json(plan).into_response());
    };
    let etag = row.etag();
    let pipeline = view(app, (store, scope), &at.project, row).await?;
    let status = if applied == Applied::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(&etag), Json(DeployedView { applied, pipeline })).into_response())
}

/// Which revisions to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffParams {
    /// The revision to compare with; the one that runs where it is left out.
    from: Option<u64>,
    /// The revision that is compared; the manifest in the body where it is left out.
    to: Option<u64>,
}

/// What differs.
#[derive(Serialize, ToSchema)]
pub(super) struct DiffView {
    /// The revision compared with; null where there is no such pipeline yet.
    from: Option<u64>,
    /// The revision compared; null for the manifest in the body.
    to: Option<u64>,
    changes: Vec<Change>,
}

/// Compares a manifest, or a revision, with what runs or another revision.
pub(super) async fn diff(
    permit: Permit<ReadPipelines>,
    Names(at): Names<Which>,
    Params(params): Params<DiffParams>,
    State(app): State<App>,
    Limited(body): Limited<{ MANIFEST_BYTES_MAX as usize }>,
) -> Result<Json<DiffView>, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    store.need_project(scope, &at.project).await?;
    let current = store.find_pipeline(scope, &at.project, &at.pipeline).await?;
    let revision = async |number| store.revision(scope, &at.project, &at.pipeline, number).await;
    let from = match params.from {
        Some(number) => Some((number, revision(number).await?.spec)),
        None => current.map(|PipelineRow { revision, spec, .. }| (revision, spec)),
    };
    let to = match params.to {
        Some(_) if !body.is_empty() => {
            return Err(Problem::bad_request("compare either the revision `to` or the manifest in the body, not both"));
        }
        Some(number) => revision(number).await?.spec,
        None => store.resolve(scope, &at.project, parse(&body)?.1, app.vault()).await?,
    };
    let changes = changes(from.as_ref().map(|(_, spec)| spec), &to)?;
    Ok(Json(DiffView { from: from.map(|(number, _)| number), to: params.to, changes }))
}

fn parse(body: &[u8]) -> Result<(&str, PipelineSpec<ModuleRef>), Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the manifest is not UTF-8 text: {error}");
        manifest_problem(vec![ManifestError { code: Code::ManifestSyntax, field: "(all)".to_owned(), detail }])
    })?;
    let spec = manifest::parse(text).map_err(manifest_problem)?;
    Ok((text, spec))
}

fn name_errors(path: &PipelineName, spec: &PipelineSpec<ModuleRef>) -> Vec<ManifestError> {
    if *path == spec.name {
        return Vec::new();
    }
    let detail = format!("is `{}`, but the path says `{path}`; make them the same", spec.name);
    vec![ManifestError { code: Code::FieldInvalid, field: "name".to_owned(), detail }]
}

/// One error for each field that names a topic which is not there.
async fn topic_errors<M>(
    app: &App,
    scope: &TenantScope,
    spec: &PipelineSpec<M>,
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
