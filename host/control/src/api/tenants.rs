//! Tenants.
//!
//! Must never: show a platform admin more of a tenant than its name, age and projects.

use super::App;
use super::extract::{Form, ListParams, Params, list_json};
use crate::policy::Permit;
use crate::policy::action::{Action, CreateTenant, DeleteTenant, ListTenants, ReadProjects, ReadTenant};
use crate::problem::Problem;
use crate::store::{DEFAULT_PROJECT, Leftover, MetadataPlacement, TenantRow};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bulkhead_core::name::TenantId;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A tenant as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tenant)]
pub(super) struct TenantView {
    tenant: String,
    created_at: String,
    placement: Placement,
    #[serde(skip_serializing_if = "Option::is_none")]
    projects: Option<Vec<String>>,
}

impl TenantView {
    fn of(row: TenantRow, projects: Option<Vec<String>>) -> Self {
        let placement = Placement { metadata: row.placement };
        Self { tenant: row.tenant, created_at: format_rfc3339_ms(row.created_ms), placement, projects }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTenant {
    /// Its name, a DNS label.
    #[schema(value_type = String, max_length = 63)]
    name: TenantId,
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
    let row = permit.store().create_tenant(permit.reach(), &new.name, placement).await?;
    permit.store().first_key(&new.name, app.vault()).await?;
    let view = TenantView::of(row, Some(vec![DEFAULT_PROJECT.to_owned()]));
    Ok((StatusCode::CREATED, Json(json!(view))))
}

pub(super) async fn list(
    permit: Permit<ListTenants>,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    let rows = permit.store().list_tenants(permit.reach(), &page).await?;
    let views: Vec<_> = rows.into_iter().map(|row| TenantView::of(row, None)).collect();
    Ok(Json(list_json(&views, &page, |view| view.tenant.clone())))
}

pub(super) async fn one(permit: Permit<ReadTenant>, State(app): State<App>) -> Result<Json<Value>, Problem> {
    let tenant = permit.scope().tenant();
    let registered = permit.store().registered(tenant).await?;
    let (created_ms, placement) = registered.ok_or_else(|| Problem::not_found("such tenant"))?;
    let projects = permit.store().projects(permit.scope()).await?;
    let projects = app.policy().projects_for(&permit, ReadProjects::NAME, projects, String::as_str).await?;
    Ok(Json(json!(TenantView::of(TenantRow { tenant: tenant.to_string(), created_ms, placement }, Some(projects)))))
}

/// The tenant is gone at once; its groups, topics and objects follow.
pub(super) async fn delete(permit: Permit<DeleteTenant>, State(app): State<App>) -> Result<StatusCode, Problem> {
    permit.store().delete_tenant(permit.scope()).await?;
    let leftover = Leftover::Tenant(permit.scope().clone());
    if app.clear_soon(&leftover).await {
        permit.store().shred_keys(permit.scope(), app.vault()).await?;
        permit.store().strike(&leftover).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    Ok(StatusCode::ACCEPTED)
}
