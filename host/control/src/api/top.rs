//! What pipelines do at the moment: a tenant's by pipeline and stage, and for the platform each tenant's sum.
//!
//! Made of what workers said last, so it shows what they run, and nothing of what nobody runs.
//! Must never: show the platform more of a tenant than its sums.

use super::App;
use crate::live::Going;
use crate::policy::Permit;
use crate::policy::action::{ReadBill, ReadUsage};
use crate::problem::Problem;
use crate::throughput::Rate;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a pipeline does.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TopLine)]
pub(super) struct LineView {
    project: String,
    pipeline: String,
    #[serde(flatten)]
    rate: Rate,
    /// Records not yet done; `null` while nobody knows.
    lag: Option<i64>,
    /// Bytes of batches, outputs and idle guests in workers' memory.
    memory_bytes: u64,
    /// Bytes of its stages' state.
    state_bytes: u64,
    /// The same of each stage, as far as it is known apart.
    stages: BTreeMap<String, Rate>,
}

/// What a tenant's pipelines do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Top)]
pub(super) struct TopView {
    items: Vec<LineView>,
}

/// What a tenant does.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TopTenant)]
struct TenantLine {
    tenant: String,
    /// Pipelines that workers run.
    pipelines: u64,
    #[serde(flatten)]
    rate: Rate,
    /// Records not yet done, of pipelines of which it is known.
    lag: i64,
    memory_bytes: u64,
    state_bytes: u64,
}

/// What tenants do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopTenants)]
pub(super) struct TenantsView {
    items: Vec<TenantLine>,
}

pub(super) async fn tenant(permit: Permit<ReadUsage>, State(app): State<App>) -> Result<Json<TopView>, Problem> {
    let going = app.live().going(Some(permit.scope().tenant()));
    let line = |going: Going| LineView {
        project: going.key.project.to_string(),
        pipeline: going.key.pipeline.to_string(),
        rate: going.rate,
        lag: going.lag,
        memory_bytes: going.memory_bytes,
        state_bytes: going.state_bytes,
        stages: going.stages.into_iter().map(|(stage, rate)| (stage.to_string(), rate)).collect(),
    };
    let mut items: Vec<_> = going.into_iter().map(line).collect();
    items.sort_by(|a, b| b.rate.fuel.total_cmp(&a.rate.fuel));
    Ok(Json(TopView { items }))
}

pub(super) async fn tenants(_: Permit<ReadBill>, State(app): State<App>) -> Result<Json<TenantsView>, Problem> {
    let mut tenants: BTreeMap<String, TenantLine> = BTreeMap::new();
    for going in app.live().going(None) {
        let line = tenants.entry(going.key.tenant.to_string()).or_default();
        line.pipelines += 1;
        line.rate += going.rate;
        line.lag += going.lag.unwrap_or(0);
        line.memory_bytes += going.memory_bytes;
        line.state_bytes += going.state_bytes;
    }
    let mut items: Vec<_> = tenants.into_iter().map(|(tenant, line)| TenantLine { tenant, ..line }).collect();
    items.sort_by(|a, b| b.rate.fuel.total_cmp(&a.rate.fuel));
    Ok(Json(TenantsView { items }))
}
