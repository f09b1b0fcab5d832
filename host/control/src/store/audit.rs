//! The audit: who did what, or tried to, and when.
//!
//! Must never: change a row, or show a tenant rows of another, an earlier tenant of its name included.

use super::{Page, Store, now_ms, stored};
use crate::problem::Problem;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use serde::Serialize;
use utoipa::ToSchema;

/// Bytes of a path that are kept: paths are the client's and as long as it likes.
const TARGET_BYTES_MAX: usize = 512;

/// A decision to be written down.
pub(crate) struct AuditRow<'a> {
    pub(crate) subject: &'a str,
    /// Whose audit it belongs to: the actor's tenant, or the one acted on for the platform's own.
    pub(crate) tenant: Option<&'a str>,
    pub(crate) token: &'a str,
    pub(crate) action: &'static str,
    pub(crate) target: &'a str,
    /// Why it was denied; `None` where it was allowed.
    pub(crate) reason: Option<&'a str>,
    pub(crate) request_id: &'a str,
}

/// A decision as it was written down.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    id: String,
    at: String,
    subject: String,
    action: String,
    target: String,
    allowed: bool,
    reason: Option<String>,
    request_id: String,
}

impl Store {
    /// Writes a decision. It is durable when this returns.
    pub(crate) async fn record(&self, row: &AuditRow<'_>) -> Result<(), Problem> {
        let target = row.target.get(..row.target.floor_char_boundary(TARGET_BYTES_MAX)).unwrap_or_default();
        let tenant: Option<TenantId> = row.tenant.map(stored).transpose()?;
        let mut tx = self.begin_to_record(tenant.as_ref()).await?;
        sqlx::query(
            "INSERT INTO audit (id, at_ms, subject, tenant, token, action, target, allowed, reason, request_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(uuid::Uuid::now_v7().to_string())
        .bind(now_ms())
        .bind(row.subject)
        .bind(row.tenant)
        .bind(row.token)
        .bind(row.action)
        .bind(target)
        .bind(row.reason.is_none())
        .bind(row.reason)
        .bind(row.request_id)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// A tenant's rows, newest first, those before `page.after` where it is not empty.
    pub(crate) async fn audit(&self, scope: &TenantScope, page: &Page) -> Result<Vec<AuditEntry>, Problem> {
        let mut tx = self.reading(scope).await?;
        type Row = (String, i64, String, String, String, i64, Option<String>, String);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT a.id, a.at_ms, a.subject, a.action, a.target, CAST(a.allowed AS INTEGER), a.reason, a.request_id
             FROM audit a JOIN tenants t ON t.tenant = a.tenant
             WHERE a.tenant = $1 AND a.at_ms >= t.created_ms AND ($2 = '' OR a.id < $2) ORDER BY a.id DESC LIMIT $3",
        )
        .bind(scope.tenant().as_str())
        .bind(&page.after)
        .bind(i64::from(page.limit))
        .fetch_all(&mut *tx)
        .await?;
        let entry = |(id, at_ms, subject, action, target, allowed, reason, request_id)| AuditEntry {
            id,
            at: bulkhead_core::time::format_rfc3339_ms(at_ms),
            subject,
            action,
            target,
            allowed: allowed != 0,
            reason,
            request_id,
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Deletes rows before `before_ms` and all but the newest `rows_max`. Ids rise with time, so the oldest go first.
    pub(crate) async fn prune_audit(&self, before_ms: i64, rows_max: u64) -> Result<u64, Problem> {
        let mut tx = self.begin_background().await?;
        let old = sqlx::query("DELETE FROM audit WHERE at_ms < $1").bind(before_ms).execute(&mut *tx).await?;
        let many =
            sqlx::query("DELETE FROM audit WHERE id <= (SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET $1)")
                .bind(i64::try_from(rows_max).unwrap_or(i64::MAX))
                .execute(&mut *tx)
                .await?;
        tx.commit().await?;
        Ok(old.rows_affected() + many.rows_affected())
    }
}

impl AuditEntry {
    /// What the next page begins after.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}
