//! A tenant's limits, each with how much of it is used: for the tenant itself, and for whoever runs the platform.
//!
//! Must never: show more of a tenant than numbers.

use super::App;
use crate::policy::Permit;
use crate::policy::action::ReadLimits;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use bulkhead_core::tenant_limits::{TenantLimits, Unit};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A limit of a tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Limit)]
pub(super) struct LimitView {
    name: &'static str,
    #[schema(value_type = String)]
    unit: Unit,
    /// How much there may be.
    limit: u64,
    /// How much there is now; null where that is not counted over the whole tenant, or not known.
    used: Option<u64>,
    /// Where the limit comes from: `override` (the tenant's own), `plan`, or `default`.
    from: &'static str,
    /// What it is where no plan says.
    default: u64,
    /// The least that it may be set to.
    min: u64,
    /// The most.
    max: u64,
    /// What it limits, and what happens there.
    says: &'static str,
}

pub(super) async fn list(permit: Permit<ReadLimits>, State(app): State<App>) -> Result<Json<Value>, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    let effective = store.effective(scope).await?;
    let mut used = store.counts(scope).await?;
    used.insert("topics", app.topics().list(scope).await?.len() as u64);
    used.insert("compileSecondsPerHour", app.inner.compiled.used(scope.tenant()) / 1_000);
    if let Some(sample) = app.samples().of(scope.tenant()) {
        used.extend(sample.topic_bytes.map(|bytes| ("topicBytes", bytes)));
        used.extend(sample.object_bytes.map(|bytes| ("objectBytes", bytes)));
    }
    used.insert("fuelPerMonth", store.month(scope).await?.used);
    used.extend(app.live().used(scope.tenant()));
    let items: Vec<_> = TenantLimits::ALL
        .iter()
        .map(|limit| LimitView {
            name: limit.name,
            unit: limit.unit,
            limit: limit.of(&effective.limits),
            used: used.get(limit.name).copied(),
            from: effective.origin(limit),
            default: limit.default,
            min: limit.min,
            max: limit.max,
            says: limit.says.trim(),
        })
        .collect();
    Ok(Json(json!({"items": items, "next": null})))
}
