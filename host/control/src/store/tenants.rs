//! Tenants and their projects.
//!
//! Must never: use a tenant's name again while something of an earlier tenant of that name is left in the log or the object store.

use super::{MetadataPlacement, Page, Store, Tx, now_ms, stored};
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
    pub(crate) placement: MetadataPlacement,
}

impl Store {
    /// Makes a tenant with a plan and the name that it is shown by, a home for its metadata, and its `default` project.
    pub(crate) async fn create_tenant(
        &self,
        platform: &Platform,
        tenant: &TenantId,
        placement: MetadataPlacement,
        life: (&str, &str),
    ) -> Result<TenantRow, Problem> {
        self.need_owner(placement)?;
        let mut tx = self.begin_platform(platform).await?;
        tx.turn_to(tenant).await?;
        refuse_left(&mut tx, tenant).await?;
        let created_ms = now_ms();
        insert(&mut tx, tenant, created_ms, placement, life).await?;
        if placement == MetadataPlacement::Shared {
            begin_with_default(&mut tx, tenant, created_ms).await?;
        } else {
            // Of a crash before the end, a home stays that nobody knows; the next creation of this name drops it.
            let home = self.make_home(tenant, placement).await?;
            let mut own = self.begin_platform_in(&home, platform).await?;
            own.turn_to(tenant).await?;
            insert(&mut own, tenant, created_ms, placement, life).await?;
            begin_with_default(&mut own, tenant, created_ms).await?;
            own.commit().await?;
        }
        tx.commit().await?;
        self.homes.learn(tenant, Some(placement));
        Ok(TenantRow { tenant: tenant.to_string(), created_ms, placement })
    }

    /// Tenants by name.
    pub(crate) async fn list_tenants(&self, platform: &Platform, page: &Page) -> Result<Vec<TenantRow>, Problem> {
        let mut tx = self.reading_platform(platform).await?;
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT tenant, created_ms, metadata FROM tenants WHERE tenant > $1 ORDER BY tenant LIMIT $2",
        )
        .bind(&page.after)
        .bind(i64::from(page.limit))
        .fetch_all(&mut *tx)
        .await?;
        let row = |(tenant, created_ms, placement): (String, i64, String)| {
            Ok(TenantRow { tenant, created_ms, placement: stored(&placement)? })
        };
        rows.into_iter().map(row).collect()
    }

    /// When a tenant was made; `None` where there is none. For the policy, which has no scope yet.
    pub(crate) async fn tenant_born_ms(&self, tenant: &TenantId) -> Result<Option<i64>, Problem> {
        let found = self.registered(tenant).await?;
        self.homes.learn(tenant, found.map(|(_, placement)| placement));
        Ok(found.map(|(created_ms, _)| created_ms))
    }

    /// When a tenant was made, and where its metadata is, as the list of tenants says.
    pub(crate) async fn registered(&self, tenant: &TenantId) -> Result<Option<(i64, MetadataPlacement)>, Problem> {
        let mut tx = self.reading_to_decide(tenant).await?;
        let row: Option<(i64, String)> = sqlx::query_as("SELECT created_ms, metadata FROM tenants WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        row.map(|(created_ms, placement)| Ok((created_ms, stored(&placement)?))).transpose()
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
}

/// Deletes all that a home has of its tenant: its keys are no more from here on.
pub(super) async fn empty(own: &mut Tx, scope: &TenantScope) -> Result<(), Problem> {
    Store::erase_audit(own, scope).await?;
    for gone in ["DELETE FROM tenants WHERE tenant = $1", "DELETE FROM revisions WHERE tenant = $1"] {
        sqlx::query(gone).bind(scope.tenant().as_str()).execute(&mut **own).await?;
    }
    Ok(())
}

async fn refuse_left(tx: &mut Tx, tenant: &TenantId) -> Result<(), Problem> {
    let leftover: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM leftovers WHERE tenant = $1 LIMIT 1")
        .bind(tenant.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    if leftover.is_some() {
        let detail = format!("a tenant `{tenant}` is still being deleted; try again in a few seconds");
        return Err(Problem::conflict(detail));
    }
    Ok(())
}

async fn insert(
    tx: &mut Tx,
    tenant: &TenantId,
    created_ms: i64,
    placement: MetadataPlacement,
    (plan, display_name): (&str, &str),
) -> Result<(), Problem> {
    let made = sqlx::query(
        "INSERT INTO tenants (tenant, created_ms, metadata, plan, display_name) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(created_ms)
    .bind(placement.as_str())
    .bind(plan)
    .bind(display_name)
    .execute(&mut **tx)
    .await?;
    if made.rows_affected() == 0 {
        return Err(Problem::conflict(format!("there is a tenant `{tenant}` already; choose another name")));
    }
    Ok(())
}

async fn begin_with_default(tx: &mut Tx, tenant: &TenantId, created_ms: i64) -> Result<(), Problem> {
    sqlx::query("INSERT INTO projects (tenant, project, created_ms) VALUES ($1, $2, $3)")
        .bind(tenant.as_str())
        .bind(DEFAULT_PROJECT)
        .bind(created_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Project, name and making of each pipeline.
pub(super) async fn pipelines_of(tx: &mut Tx, scope: &TenantScope) -> Result<Vec<(String, String, String)>, Problem> {
    Ok(sqlx::query_as("SELECT project, pipeline, incarnation FROM pipelines WHERE tenant = $1")
        .bind(scope.tenant().as_str())
        .fetch_all(&mut **tx)
        .await?)
}

/// What a home of one's own leaves to do: its pipelines' groups, and the notes of those that were deleted before.
pub(super) async fn left_in_home(
    tx: &mut Tx,
    scope: &TenantScope,
) -> Result<Vec<(String, String, String, String)>, Problem> {
    let mut left: Vec<(String, String, String, String)> =
        sqlx::query_as("SELECT kind, project, pipeline, incarnation FROM leftovers WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .fetch_all(&mut **tx)
            .await?;
    let pipelines = pipelines_of(tx, scope).await?;
    left.extend(
        pipelines.into_iter().map(|(project, pipeline, making)| ("group".to_owned(), project, pipeline, making)),
    );
    Ok(left)
}

/// Notes what is to be done; of a tenant, the last field says where its metadata was.
pub(super) async fn note(
    tx: &mut Tx,
    scope: &TenantScope,
    (kind, project, pipeline, incarnation): (&str, &str, &str, &str),
    told_generation: u64,
) -> Result<(), Problem> {
    sqlx::query(
        "INSERT INTO leftovers (tenant, kind, project, pipeline, incarnation, told_generation, since_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(scope.tenant().as_str())
    .bind(kind)
    .bind(project)
    .bind(pipeline)
    .bind(incarnation)
    .bind(told_generation.cast_signed())
    .bind(now_ms())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
