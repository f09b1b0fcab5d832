//! A tenant's fuel of the month, whether it was told of it, and that it is held.
//!
//! The month's fuel is what is billed of it: fuel of committed work, counted from the records of usage.
//! Must never: tell a tenant twice in a month, or hold it for what is not on its bill.

use super::plans::{kept_values, table_in};
use super::{Store, now_ms, stored, stored_json, to_json};
use crate::problem::Problem;
use crate::watch::notice;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::code::Code;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::tenant_limits::{Held, TenantLimits};
use bulkhead_core::time::format_rfc3339_ms;

/// Pipelines into whose logs a notice goes, at most.
const TOLD_MAX: i64 = 100;

/// A tenant whose limits are looked at.
pub(crate) struct Watched {
    pub(crate) scope: TenantScope,
    pub(crate) limits: TenantLimits,
    pub(crate) held: Option<Held>,
}

/// A tenant's month.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MonthRow {
    pub(crate) used: u64,
    pub(crate) told: bool,
}

impl Store {
    /// Every tenant, with what it may.
    pub(crate) async fn watched(&self) -> Result<Vec<Watched>, Problem> {
        let mut tx = self.reading_background().await?;
        let plans = table_in(&mut tx).await?;
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as("SELECT tenant, plan, own_limits, held FROM tenants ORDER BY tenant")
                .fetch_all(&mut *tx)
                .await?;
        let watched = rows.into_iter().map(|(tenant, plan, own, held)| {
            let held = if held.is_empty() { None } else { Some(stored_json(&held)?) };
            let limits = plans.effective(&plan, &kept_values(&own)?).limits;
            Ok(Watched { scope: TenantScope::assume(stored(&tenant)?), limits, held })
        });
        watched.collect()
    }

    /// How much fuel of this month a tenant has used, and whether it was told so.
    pub(crate) async fn month(&self, scope: &TenantScope) -> Result<MonthRow, Problem> {
        let used = self.fuel_this_month(scope).await?;
        let mut tx = self.reading_registered(scope).await?;
        let row: Option<(String,)> = sqlx::query_as("SELECT month FROM tenants WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let (told,) = row.ok_or_else(|| Problem::not_found("such tenant"))?;
        Ok(MonthRow { used, told: told == this_month() })
    }

    /// Writes a notice about the month's fuel into the logs of the tenant's pipelines, and notes that it is there.
    pub(crate) async fn tell_month(&self, scope: &TenantScope, code: Code, message: &str) -> Result<(), Problem> {
        let rows: Vec<(String, String)> = {
            let mut tx = self.reading(scope).await?;
            sqlx::query_as(
                "SELECT project, pipeline FROM pipelines WHERE tenant = $1 ORDER BY project, pipeline LIMIT $2",
            )
            .bind(scope.tenant().as_str())
            .bind(TOLD_MAX)
            .fetch_all(&mut *tx)
            .await?
        };
        let mut lines = Vec::new();
        for (project, pipeline) in rows {
            let key = PipelineKey {
                tenant: scope.tenant().clone(),
                project: stored(&project)?,
                pipeline: stored(&pipeline)?,
            };
            lines.push(notice(key, code, message));
        }
        self.add_own_lines(scope, &lines).await?;
        let mut tx = self.begin_registered(scope).await?;
        sqlx::query("UPDATE tenants SET month = $2 WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .bind(this_month())
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Lets a tenant's pipelines pause for this reason, or go on. Workers hear of it.
    pub(crate) async fn hold(&self, scope: &TenantScope, held: Option<&Held>) -> Result<(), Problem> {
        let mut tx = self.begin_registered(scope).await?;
        sqlx::query("UPDATE tenants SET held = $2 WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .bind(held.map_or(Ok(String::new()), to_json)?)
            .execute(&mut *tx)
            .await?;
        self.commit_raised(tx).await.map(drop)
    }
}

/// As in `2026-01`, in UTC.
fn this_month() -> String {
    format_rfc3339_ms(now_ms())[..7].to_owned()
}
