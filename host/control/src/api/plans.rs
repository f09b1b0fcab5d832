//! Plans, for platform admins: what each says, changed at run time.
//!
//! Must never: show which tenants have a plan.

use super::App;
use super::extract::{Form, Names};
use super::pipelines::tagged;
use crate::condition::Condition;
use crate::plans::PlanTable;
use crate::policy::Permit;
use crate::policy::action::{DeletePlan, ListPlans, WritePlan};
use crate::problem::Problem;
use crate::store::PlanRow;
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bulkhead_core::code::Code;
use bulkhead_core::name::PlanName;
use bulkhead_core::tenant_limits::{LimitValues, TenantLimits};
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Deserialize)]
pub(super) struct Which {
    plan: PlanName,
}

/// What a plan is to say.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPlan {
    /// Limits by name; what is left out is as in `standard`, and what that leaves out as in the table of limits.
    limits: BTreeMap<String, u64>,
}

/// A plan.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Plan)]
pub(super) struct PlanEntry {
    name: String,
    /// All limits of whoever has it, by name.
    limits: BTreeMap<&'static str, u64>,
    /// The names of those that it says itself.
    says: Vec<&'static str>,
    /// Whether it was changed over the API; the operator's file is not asked for it then.
    changed: bool,
    updated_at: String,
    updated_by: String,
}

impl PlanEntry {
    fn of(row: PlanRow, plans: &PlanTable) -> Self {
        let limits = plans.of(&row.name);
        Self {
            limits: TenantLimits::ALL.iter().map(|limit| (limit.name, limit.of(&limits))).collect(),
            says: row.says.iter().map(|(name, _)| name).collect(),
            name: row.name,
            changed: row.by_api,
            updated_at: format_rfc3339_ms(row.updated_ms),
            updated_by: row.updated_by,
        }
    }
}

fn table(rows: &[PlanRow]) -> PlanTable {
    PlanTable(rows.iter().map(|row| (row.name.clone(), row.says.clone())).collect())
}

pub(super) async fn list(permit: Permit<ListPlans>) -> Result<Json<Value>, Problem> {
    let rows = permit.store().plans(permit.reach()).await?;
    let plans = table(&rows);
    let items: Vec<_> = rows.into_iter().map(|row| PlanEntry::of(row, &plans)).collect();
    Ok(Json(json!({"items": items, "next": null})))
}

pub(super) async fn one(permit: Permit<ListPlans>, Names(at): Names<Which>) -> Result<Response, Problem> {
    let rows = permit.store().plans(permit.reach()).await?;
    let plans = table(&rows);
    let found = rows.into_iter().find(|row| row.name == at.plan.as_str());
    let row = found.ok_or_else(|| Problem::not_found(format!("plan `{}`", at.plan)))?;
    Ok((tagged(&row.etag()), Json(PlanEntry::of(row, &plans))).into_response())
}

pub(super) async fn put(
    permit: Permit<WritePlan>,
    Names(at): Names<Which>,
    headers: HeaderMap,
    Form(new): Form<NewPlan>,
) -> Result<Response, Problem> {
    let says = LimitValues::try_from(new.limits).map_err(|error| Problem::of_limit(&error))?;
    let condition = Condition::read(&headers)?;
    let store = permit.store();
    let by = permit.principal().subject();
    let (made, row) = store.put_plan(permit.reach(), (&at.plan, &says), by, &condition).await?;
    let plans = store.plan_table().await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(&row.etag()), Json(PlanEntry::of(row, &plans))).into_response())
}

pub(super) async fn delete(
    permit: Permit<DeletePlan>,
    Names(at): Names<Which>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    permit.store().delete_plan(permit.reach(), &at.plan, &Condition::read(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl App {
    /// Refuses a plan that this host does not have.
    pub(super) fn known_plan(plans: &PlanTable, plan: &PlanName) -> Result<(), Problem> {
        if plans.0.contains_key(plan.as_str()) {
            return Ok(());
        }
        let names: Vec<_> = plans.0.keys().map(String::as_str).collect();
        let detail = format!("there is no plan `{plan}`; there are {}", names.join(", "));
        Err(Problem::new(Code::PlanMissing, detail))
    }
}
