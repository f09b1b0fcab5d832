//! A tenant's fuel of the month, whether it was told of it, and that it is held.
//!
//! The month's fuel is what workers have reported since the month began: what they had reported before is noted at the first look at a month.
//! Must never: begin a month with what was burnt in the one before.

use super::plans::{kept_values, table_in};
use super::{Store, Tx, now_ms, stored, stored_json, to_json};
use crate::problem::Problem;
use crate::watch::notice;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::code::Code;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::tenant_limits::{Held, TenantLimits};
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};

/// Pipelines into whose logs a notice goes, at most.
const TOLD_MAX: i64 = 100;

/// A tenant whose limits are looked at.
pub(crate) struct Watched {
    pub(crate) scope: TenantScope,
    pub(crate) limits: TenantLimits,
    pub(crate) held: Option<Held>,
}

/// What is noted of a month.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Noted {
    /// As in `2026-01`.
    month: String,
    /// Fuel that had been reported before it began.
    before: u64,
    /// Whether its pipelines' logs say that most of it is used.
    told: bool,
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

    /// How much fuel of this month a tenant has used.
    pub(crate) async fn month(&self, scope: &TenantScope) -> Result<MonthRow, Problem> {
        let reported = self.reported_fuel(scope).await?;
        let this = format_rfc3339_ms(now_ms())[..7].to_owned();
        let (noted, created_ms) = {
            let mut tx = self.reading_registered(scope).await?;
            noted(&mut tx, scope).await?
        };
        if noted.month == this {
            return Ok(MonthRow { used: reported.saturating_sub(noted.before), told: noted.told });
        }
        // Of a tenant that was made this month, all counts.
        let before = if format_rfc3339_ms(created_ms).starts_with(&this) { 0 } else { reported };
        let mut tx = self.begin_registered(scope).await?;
        self.note_month(&mut tx, scope, &Noted { month: this, before, told: false }).await?;
        tx.commit().await?;
        Ok(MonthRow { used: reported - before, told: false })
    }

    async fn reported_fuel(&self, scope: &TenantScope) -> Result<u64, Problem> {
        let mut tx = self.reading(scope).await?;
        let (fuel,): (i64,) =
            sqlx::query_as("SELECT CAST(COALESCE(SUM(fuel), 0) AS BIGINT) FROM totals WHERE tenant = $1")
                .bind(scope.tenant().as_str())
                .fetch_one(&mut *tx)
                .await?;
        Ok(fuel.cast_unsigned())
    }

    async fn note_month(&self, tx: &mut Tx, scope: &TenantScope, noted: &Noted) -> Result<(), Problem> {
        sqlx::query("UPDATE tenants SET month = $2 WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .bind(to_json(noted)?)
            .execute(&mut **tx)
            .await?;
        Ok(())
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
        let (noted, _) = noted(&mut tx, scope).await?;
        self.note_month(&mut tx, scope, &Noted { told: true, ..noted }).await?;
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

/// What is noted of a tenant's month, and when the tenant was made.
async fn noted(tx: &mut Tx, scope: &TenantScope) -> Result<(Noted, i64), Problem> {
    let row: Option<(String, i64)> = sqlx::query_as("SELECT month, created_ms FROM tenants WHERE tenant = $1")
        .bind(scope.tenant().as_str())
        .fetch_optional(&mut **tx)
        .await?;
    let (text, created_ms) = row.ok_or_else(|| Problem::not_found("such tenant"))?;
    Ok((if text.is_empty() { Noted::default() } else { stored_json(&text)? }, created_ms))
}
