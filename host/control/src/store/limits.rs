//! What a tenant may, how much of it there is in the metadata, and what workers are told of it.
//!
//! Plans are where all share, and so is the list of tenants with what each has instead; what a tenant has made is in its own home.
//! Must never: count another tenant's rows, or leave a tenant out of what workers are told: it would run without limits.

use super::plans::{kept_values, table_in};
use super::{Store, stored};
use crate::plans::Effective;
use crate::policy::Fleet;
use crate::problem::Problem;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::tenant_limits::{Held, TenantLimits, WorkerLimits};
use std::collections::BTreeMap;

/// How much of what is limited a tenant has in the metadata, by the limit's name.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// A number for each of these, in this order.
const COUNTED: [&str; 10] = [
    "modules",
    "moduleBytes",
    "projects",
    "pipelines",
    "stages",
    "entries",
    "roles",
    "roleBindings",
    "logLines",
    "logBytes",
];

type Row = (i64, i64, i64, i64, i64, i64, i64, i64, i64, i64);

impl Store {
    /// What a tenant may.
    pub(crate) async fn limits(&self, scope: &TenantScope) -> Result<TenantLimits, Problem> {
        Ok(self.effective(scope).await?.limits)
    }

    /// The same, with where each limit comes from.
    pub(crate) async fn effective(&self, scope: &TenantScope) -> Result<Effective, Problem> {
        self.limits_to_decide(scope.tenant()).await?.ok_or_else(|| Problem::not_found("such tenant"))
    }

    /// The same for who has no scope yet; `None` where there is no such tenant.
    pub(crate) async fn limits_to_decide(&self, tenant: &TenantId) -> Result<Option<Effective>, Problem> {
        let mut tx = self.reading_to_decide(tenant).await?;
        let row: Option<(String, String)> = sqlx::query_as("SELECT plan, own_limits FROM tenants WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let Some((plan, own)) = row else { return Ok(None) };
        Ok(Some(table_in(&mut tx).await?.effective(&plan, &kept_values(&own)?)))
    }

    /// How much there is of what the metadata counts.
    pub(crate) async fn counts(&self, scope: &TenantScope) -> Result<Counts, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Row = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM modules WHERE tenant = $1),
                    (SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM modules WHERE tenant = $1),
                    (SELECT COUNT(*) FROM projects WHERE tenant = $1),
                    (SELECT COUNT(*) FROM pipelines WHERE tenant = $1),
                    (SELECT CAST(COALESCE(SUM(stages), 0) AS BIGINT) FROM pipelines WHERE tenant = $1),
                    (SELECT COUNT(*) FROM entries WHERE tenant = $1),
                    (SELECT COUNT(*) FROM custom_roles WHERE tenant = $1),
                    (SELECT COUNT(*) FROM tenant_bindings WHERE tenant = $1)
                      + (SELECT COUNT(*) FROM project_bindings WHERE tenant = $1),
                    (SELECT CAST(COALESCE(SUM(lines), 0) AS BIGINT) FROM log_usage WHERE tenant = $1),
                    (SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM log_usage WHERE tenant = $1)",
        )
        .bind(scope.tenant().as_str())
        .fetch_one(&mut *tx)
        .await?;
        let numbers = [row.0, row.1, row.2, row.3, row.4, row.5, row.6, row.7, row.8, row.9];
        Ok(COUNTED.into_iter().zip(numbers.map(i64::cast_unsigned)).collect())
    }

    /// What workers keep of the limits of each tenant, or of the one that they work for; and which of them are held, and why.
    pub(super) async fn worker_limits(
        &self,
        fleet: &Fleet,
    ) -> Result<(BTreeMap<TenantId, WorkerLimits>, BTreeMap<TenantId, Held>), Problem> {
        let whose = fleet.tenant().map_or("", TenantId::as_str);
        // Not as the fleet, which sees no tenant's row but those of the suspended: of what is read here it is told limits alone.
        let mut tx = self.reading_background().await?;
        let plans = table_in(&mut tx).await?;
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as("SELECT tenant, plan, own_limits, held FROM tenants WHERE ($1 = '' OR tenant = $1)")
                .bind(whose)
                .fetch_all(&mut *tx)
                .await?;
        let (mut told, mut all_held) = (BTreeMap::new(), BTreeMap::new());
        for (tenant, plan, own, held) in rows {
            let tenant: TenantId = stored(&tenant)?;
            if !held.is_empty() {
                all_held.insert(tenant.clone(), super::stored_json(&held)?);
            }
            let effective = plans.effective(&plan, &kept_values(&own)?);
            told.insert(tenant, WorkerLimits::from(&effective.limits));
        }
        Ok((told, all_held))
    }
}
