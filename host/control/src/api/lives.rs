//! A tenant's life, as the platform rules it: plan and name, suspension and going on.
//!
//! Must never: look into a tenant.

use super::App;
use super::extract::Form;
use super::pipelines::tagged;
use super::tenants::{DISPLAY_NAME_CHARS_MAX, TenantView};
use crate::condition::Condition;
use crate::policy::Permit;
use crate::policy::action::{ResumeTenant, SuspendTenant, UpdateTenant};
use crate::problem::Problem;
use crate::store::{Change, LifeRow};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bulkhead_core::name::PlanName;
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Characters of a suspension's reason at most: the tenant is shown it.
const REASON_CHARS_MAX: usize = 500;

/// What is to be changed of a tenant; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TenantChange {
    /// Its plan: one of `/api/v1/plans`.
    #[schema(value_type = Option<String>)]
    plan: Option<PlanName>,
    /// What it is called where people look; its name stays.
    display_name: Option<String>,
    /// Limits that it has instead of its plan's, by name; null for what the plan says.
    #[serde(default)]
    limits: BTreeMap<String, Option<u64>>,
}

/// Why a tenant is suspended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Suspension {
    /// In words for the tenant.
    reason: String,
}

fn answer(app: &App, row: LifeRow) -> Response {
    (tagged(&row.etag()), Json(TenantView::of(app, row, None))).into_response()
}

pub(super) async fn update(
    permit: Permit<UpdateTenant>,
    State(app): State<App>,
    headers: HeaderMap,
    Form(change): Form<TenantChange>,
) -> Result<Response, Problem> {
    if let Some(plan) = &change.plan {
        App::known_plan(&permit.store().plan_table().await?, plan)?;
    }
    check_display_name(change.display_name.as_deref().unwrap_or_default())?;
    let condition = Condition::read(&headers)?;
    let TenantChange { plan, display_name, limits } = change;
    let change = Change { plan: plan.map(String::from), display_name, limits };
    let row = permit.store().change_tenant(permit.scope(), &change, &condition).await?;
    Ok(answer(&app, row))
}

pub(super) async fn suspend(
    permit: Permit<SuspendTenant>,
    State(app): State<App>,
    headers: HeaderMap,
    Form(suspension): Form<Suspension>,
) -> Result<Response, Problem> {
    let reason = suspension.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        let detail = format!("say why in 1 to {REASON_CHARS_MAX} characters on one line; the tenant is shown it");
        return Err(Problem::bad_request(detail));
    }
    let row = permit.store().suspend(permit.scope(), reason, &Condition::read(&headers)?).await?;
    Ok(answer(&app, row))
}

pub(super) async fn resume(
    permit: Permit<ResumeTenant>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = permit.store().resume(permit.scope(), &Condition::read(&headers)?).await?;
    Ok(answer(&app, row))
}

/// A name for people: short, and on one line.
pub(super) fn check_display_name(name: &str) -> Result<(), Problem> {
    if name.chars().count() > DISPLAY_NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let detail = format!("a `displayName` has at most {DISPLAY_NAME_CHARS_MAX} characters, on one line");
        return Err(Problem::bad_request(detail));
    }
    Ok(())
}
