//! Tenants.
//!
//! Must never: show a platform admin more of a tenant than its name, age, plan, suspension and projects.

use super::App;
use super::erasures::ErasureView;
use super::extract::{Form, ListParams, Params, list_json};
use super::lives::check_display_name;
use super::pipelines::tagged;
use crate::policy::Permit;
use crate::policy::action::{Action, CreateTenant, DeleteTenant, ListTenants, ReadProjects, ReadTenant};
use crate::problem::Problem;
use crate::store::{DEFAULT_PROJECT, LifeRow, MetadataPlacement, TenantRow};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::code::Code;
use bulkhead_core::name::{PlanName, TenantId};
use bulkhead_core::reserved::reserved;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Characters of the name that people are shown, at most.
pub(super) const DISPLAY_NAME_CHARS_MAX: usize = 200;

/// A tenant as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tenant)]
pub(super) struct TenantView {
    tenant: String,
    created_at: String,
    placement: Placement,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    display_name: String,
    /// There while it is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended: Option<SuspendedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    projects: Option<Vec<String>>,
}

/// That a tenant is suspended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SuspendedTenant)]
pub(super) struct SuspendedView {
    since: String,
    reason: String,
    /// Whether every worker that has reported lately has stopped its stages: from then on, nothing of it is committed.
    stopped: bool,
}

impl TenantView {
    pub(super) fn of(app: &App, row: LifeRow, projects: Option<Vec<String>>) -> Self {
        let suspended = row.suspended.map(|suspended| SuspendedView {
            since: format_rfc3339_ms(suspended.since_ms),
            reason: suspended.reason,
            stopped: app.live().unsettled(suspended.told_generation).is_empty(),
        });
        Self {
            tenant: row.tenant,
            created_at: format_rfc3339_ms(row.created_ms),
            placement: Placement { metadata: row.placement },
            plan: Some(row.plan),
            display_name: row.display_name,
            suspended,
            projects,
        }
    }

    fn listed(row: TenantRow) -> Self {
        let created_at = format_rfc3339_ms(row.created_ms);
        Self {
            tenant: row.tenant,
            created_at,
            placement: Placement { metadata: row.placement },
            plan: None,
            display_name: String::new(),
            suspended: None,
            projects: None,
        }
    }
}

/// A tenant to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct NewTenant {
    /// Its name, a DNS label that is not kept from tenants.
    #[schema(value_type = String, max_length = 63)]
    name: TenantId,
    /// One of `/api/v1/plans`; `standard` unasked.
    #[schema(value_type = Option<String>)]
    plan: Option<PlanName>,
    /// What it is called where people look.
    #[serde(default)]
    display_name: String,
    /// Where what is kept of it is to live; by default where all tenants' is.
    #[serde(default)]
    placement: WantedPlacement,
}

/// Where a tenant is to live, by layer.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedPlacement {
    /// Metadata: `shared` tables, a `schema` or a `database` of its own; by default what the operator chose. The last two need PostgreSQL.
    metadata: Option<MetadataPlacement>,
}

/// Where a tenant lives, by layer.
#[derive(Serialize, ToSchema)]
pub(super) struct Placement {
    /// Metadata: `shared` tables, a `schema` or a `database` of its own.
    metadata: MetadataPlacement,
}

pub(super) async fn create(
    permit: Permit<CreateTenant>,
    State(app): State<App>,
    Form(new): Form<NewTenant>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let placement = new.placement.metadata.unwrap_or(app.config().metadata_placement);
    free(&new.name)?;
    check_display_name(&new.display_name)?;
    if let Some(plan) = &new.plan {
        App::known_plan(&permit.store().plan_table().await?, plan)?;
    }
    let plan = new.plan.map_or_else(|| crate::plans::STANDARD.to_owned(), String::from);
    let row = permit.store().create_tenant(permit.reach(), &new.name, placement, (&plan, &new.display_name)).await?;
    permit.store().first_key(&new.name, app.vault()).await?;
    let projects = Some(vec![DEFAULT_PROJECT.to_owned()]);
    let view = TenantView { plan: Some(plan), display_name: new.display_name, projects, ..TenantView::listed(row) };
    Ok((StatusCode::CREATED, Json(json!(view))))
}

/// Refuses a name that is kept from tenants.
pub(crate) fn free(name: &TenantId) -> Result<(), Problem> {
    match reserved(name) {
        None => Ok(()),
        Some(reason) => {
            let detail = format!("no tenant can be called `{name}`: {reason}; choose another name");
            Err(Problem::new(Code::TenantNameReserved, detail))
        }
    }
}

pub(super) async fn list(
    permit: Permit<ListTenants>,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    let rows = permit.store().list_tenants(permit.reach(), &page).await?;
    let views: Vec<_> = rows.into_iter().map(TenantView::listed).collect();
    Ok(Json(list_json(&views, &page, |view| view.tenant.clone())))
}

pub(super) async fn one(permit: Permit<ReadTenant>, State(app): State<App>) -> Result<Response, Problem> {
    let row = permit.store().life(permit.scope().tenant()).await?.ok_or_else(|| Problem::not_found("such tenant"))?;
    let projects = permit.store().projects(permit.scope()).await?;
    let projects = app.policy().projects_for(&permit, ReadProjects::NAME, projects, String::as_str).await?;
    Ok((tagged(&row.etag()), Json(TenantView::of(&app, row, Some(projects)))).into_response())
}

/// The tenant is gone at once. What it has elsewhere is erased within the request where that is quick, and in the background otherwise.
pub(super) async fn delete(permit: Permit<DeleteTenant>, State(app): State<App>) -> Result<Response, Problem> {
    let erasure = app.begin_erasure(&permit).await?;
    let status = if erasure.complete { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = [(header::LOCATION, format!("/api/v1/erasures/{}", erasure.id))];
    Ok((status, location, Json(ErasureView::of(&app, &erasure)?)).into_response())
}
