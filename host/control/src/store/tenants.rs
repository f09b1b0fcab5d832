//! Tenants and their projects.
//!
//! Must never: use a tenant's name again while something of an earlier tenant of that name is left in the log or the object store.

use super::{Page, Store, now_ms};
use crate::policy::Platform;
use crate::problem::Problem;
use bulkhead_core::name::{ProjectId, TenantId};
use bulkhead_core::scope::TenantScope;

/// The project that every tenant begins with.
pub(crate) const DEFAULT_PROJECT: &str = "default";

/// A tenant.
#[derive(Debug)]
pub(crate) struct TenantRow {
    pub(crate) tenant: String,
    pub(crate) created_ms: i64,
}

impl Store {
    /// Makes a tenant and its `default` project.
    pub(crate) async fn create_tenant(&self, platform: &Platform, tenant: &TenantId) -> Result<TenantRow, Problem> {
        let mut tx = self.begin_platform(platform).await?;
        tx.turn_to(tenant).await?;
        let leftover: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM leftovers WHERE tenant = $1 LIMIT 1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if leftover.is_some() {
            let detail = format!("a tenant `{tenant}` is still being deleted; try again in a few seconds");
            return Err(Problem::conflict(detail));
        }
        let created_ms = now_ms();
        let made = sqlx::query("INSERT INTO tenants (tenant, created_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(tenant.as_str())
            .bind(created_ms)
            .execute(&mut *tx)
            .await?;
        if made.rows_affected() == 0 {
            return Err(Problem::conflict(format!("there is a tenant `{tenant}` already; choose another name")));
        }
        sqlx::query("INSERT INTO projects (tenant, project, created_ms) VALUES ($1, $2, $3)")
            .bind(tenant.as_str())
            .bind(DEFAULT_PROJECT)
            .bind(created_ms)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(TenantRow { tenant: tenant.to_string(), created_ms })
    }

    /// Tenants by name.
    pub(crate) async fn list_tenants(&self, platform: &Platform, page: &Page) -> Result<Vec<TenantRow>, Problem> {
        let mut tx = self.reading_platform(platform).await?;
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT tenant, created_ms FROM tenants WHERE tenant > $1 ORDER BY tenant LIMIT $2")
                .bind(&page.after)
                .bind(i64::from(page.limit))
                .fetch_all(&mut *tx)
                .await?;
        Ok(rows.into_iter().map(|(tenant, created_ms)| TenantRow { tenant, created_ms }).collect())
    }

    /// When a tenant was made; `None` where there is none. For the policy, which has no scope yet.
    pub(crate) async fn tenant_born_ms(&self, tenant: &TenantId) -> Result<Option<i64>, Problem> {
        let mut tx = self.reading_to_decide(tenant).await?;
        let row: Option<(i64,)> = sqlx::query_as("SELECT created_ms FROM tenants WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        Ok(row.map(|(created_ms,)| created_ms))
    }

    /// The tenant's projects by name.
    pub(crate) async fn projects(&self, scope: &TenantScope) -> Result<Vec<String>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<(String,)> = sqlx::query_as("SELECT project FROM projects WHERE tenant = $1 ORDER BY project")
            .bind(scope.tenant().as_str())
            .fetch_all(&mut *tx)
            .await?;
        Ok(rows.into_iter().map(|(project,)| project).collect())
    }

    /// Fails where the tenant has no such project.
    pub(crate) async fn need_project(&self, scope: &TenantScope, project: &ProjectId) -> Result<(), Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM projects WHERE tenant = $1 AND project = $2")
            .bind(scope.tenant().as_str())
            .bind(project.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        row.map(|_| ()).ok_or_else(|| Problem::not_found(format!("project `{project}`")))
    }

    /// Deletes a tenant's rows at once and leaves notes to delete its groups, topics and objects.
    pub(crate) async fn delete_tenant(&self, scope: &TenantScope) -> Result<(), Problem> {
        let tenant = scope.tenant().as_str();
        let mut tx = self.begin(scope).await?;
        let told = tx.raise().await?;
        for note in [
            "INSERT INTO leftovers (tenant, kind, project, pipeline, incarnation, told_generation, since_ms)
             SELECT tenant, 'group', project, pipeline, incarnation, $3, $2
             FROM pipelines WHERE tenant = $1 ON CONFLICT DO NOTHING",
            "INSERT INTO leftovers (tenant, kind, project, pipeline, incarnation, told_generation, since_ms)
             SELECT tenant, 'tenant', '', '', '', $3, $2 FROM tenants WHERE tenant = $1 ON CONFLICT DO NOTHING",
        ] {
            sqlx::query(note).bind(tenant).bind(now_ms()).bind(told.cast_signed()).execute(&mut *tx).await?;
        }
        let gone = sqlx::query("DELETE FROM tenants WHERE tenant = $1").bind(tenant).execute(&mut *tx).await?;
        if gone.rows_affected() == 0 {
            return Err(Problem::not_found("such tenant"));
        }
        Self::erase_audit(&mut tx, scope).await?;
        self.commit_raised(tx).await?;
        Ok(())
    }
}
