//! Modules and the tags that point at them.
//!
//! Must never: delete a module that a pipeline uses, or know one that inspection did not accept.

use super::{Page, Store, Tx, now_ms, stored, stored_json, to_json};
use crate::port::Inspected;
use crate::problem::Problem;
use bulkhead_core::code::Code;
use bulkhead_core::manifest::ModuleRef;
use bulkhead_core::name::{ModuleDigest, ModuleName, ProjectId};
use bulkhead_core::scope::TenantScope;
use bulkhead_core::tenant_limits::TenantLimits;
use std::collections::{BTreeMap, BTreeSet};

/// A module that inspection accepted.
#[derive(Debug)]
pub(crate) struct NewModule {
    pub(crate) digest: ModuleDigest,
    pub(crate) bytes: u64,
    pub(crate) imports: Vec<String>,
    pub(crate) ticks: bool,
    pub(crate) uploaded_by: String,
}

/// A module as it is kept.
#[derive(Debug)]
pub(crate) struct ModuleRow {
    pub(crate) digest: ModuleDigest,
    pub(crate) bytes: u64,
    pub(crate) imports: Vec<String>,
    /// Whether it acts on time.
    pub(crate) ticks: bool,
    pub(crate) uploaded_ms: i64,
    pub(crate) uploaded_by: String,
    /// Each as `name:tag`, sorted.
    pub(crate) tags: Vec<String>,
}

/// Modules that no project of the tenant has any more: their bytes can go.
pub(crate) type Removed = Vec<ModuleDigest>;

type Row = (String, i64, String, i64, i64, String);

impl Store {
    /// Writes an accepted module down, if it is new to the project, and points the tag at it. `true` where it was new.
    pub(crate) async fn put_module(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        (name, tag): (&ModuleName, &ModuleName),
        module: &NewModule,
        limits: &TenantLimits,
    ) -> Result<bool, Problem> {
        let (tenant, digest) = (scope.tenant().as_str(), module.digest.to_string());
        let mut tx = self.begin(scope).await?;
        let made = sqlx::query(
            "INSERT INTO modules (tenant, project, digest, bytes, imports, ticks, uploaded_ms, uploaded_by)
             SELECT tenant, project, $3, $4, $5, $6, $7, $8 FROM projects WHERE tenant = $1 AND project = $2
             ON CONFLICT DO NOTHING",
        )
        .bind(tenant)
        .bind(project.as_str())
        .bind(&digest)
        .bind(i64::try_from(module.bytes).unwrap_or(i64::MAX))
        .bind(to_json(&module.imports)?)
        .bind(module.ticks)
        .bind(now_ms())
        .bind(&module.uploaded_by)
        .execute(&mut *tx)
        .await?
        .rows_affected()
            > 0;
        if made {
            within_limits(&mut tx, scope, limits).await?;
        }
        sqlx::query(
            "INSERT INTO tags (tenant, project, name, tag, digest, updated_ms) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (tenant, project, name, tag) DO UPDATE SET digest = excluded.digest,
                updated_ms = excluded.updated_ms",
        )
        .bind(tenant)
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(tag.as_str())
        .bind(&digest)
        .bind(now_ms())
        .execute(&mut *tx)
        .await
        .map_err(|error| match error.as_database_error() {
            // The project was deleted while the upload ran.
            Some(database) if database.is_foreign_key_violation() => Problem::not_found(format!("project `{project}`")),
            _ => error.into(),
        })?;
        tx.commit().await?;
        Ok(made)
    }

    /// A project's modules by digest.
    pub(crate) async fn modules(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        page: &Page,
    ) -> Result<Vec<ModuleRow>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT digest, bytes, imports, CAST(ticks AS INTEGER), uploaded_ms, uploaded_by FROM modules
             WHERE tenant = $1 AND project = $2 AND digest > $3 ORDER BY digest LIMIT $4",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(&page.after)
        .bind(i64::from(page.limit))
        .fetch_all(&mut *tx)
        .await?;
        let mut modules = Vec::with_capacity(rows.len());
        for row in rows {
            modules.push(with_tags(&mut tx, scope, project, row).await?);
        }
        Ok(modules)
    }

    /// One module of a project.
    pub(crate) async fn module(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        digest: &ModuleDigest,
    ) -> Result<Option<ModuleRow>, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<Row> = sqlx::query_as(
            "SELECT digest, bytes, imports, CAST(ticks AS INTEGER), uploaded_ms, uploaded_by FROM modules
             WHERE tenant = $1 AND project = $2 AND digest = $3",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(digest.to_string())
        .fetch_optional(&mut *tx)
        .await?;
        match row {
            Some(row) => Ok(Some(with_tags(&mut tx, scope, project, row).await?)),
            None => Ok(None),
        }
    }

    /// What each tag of a name points at.
    pub(crate) async fn tags(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &ModuleName,
    ) -> Result<BTreeMap<String, ModuleDigest>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT tag, digest FROM tags WHERE tenant = $1 AND project = $2 AND name = $3")
                .bind(scope.tenant().as_str())
                .bind(project.as_str())
                .bind(name.as_str())
                .fetch_all(&mut *tx)
                .await?;
        rows.into_iter().map(|(tag, digest)| Ok((tag, stored(&digest)?))).collect()
    }

    /// Whether any project of the tenant has this module.
    pub(crate) async fn has_module(&self, scope: &TenantScope, digest: &ModuleDigest) -> Result<bool, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM modules WHERE tenant = $1 AND digest = $2 LIMIT 1")
            .bind(scope.tenant().as_str())
            .bind(digest.to_string())
            .fetch_optional(&mut *tx)
            .await?;
        Ok(row.is_some())
    }

    /// Deletes a name's tags and the modules that they alone pointed at, or one module with all its tags.
    pub(crate) async fn delete_modules(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        which: &ModuleRef,
    ) -> Result<Removed, Problem> {
        let mut tx = self.begin(scope).await?;
        let doomed = match which {
            ModuleRef::Digest(digest) => vec![digest.to_string()],
            ModuleRef::Tag(name, _) => untag(&mut tx, scope, project, name).await?,
        };
        let mut removed = Removed::new();
        for digest in doomed {
            refuse_used(&mut tx, scope, project, &digest).await?;
            let gone = sqlx::query("DELETE FROM modules WHERE tenant = $1 AND project = $2 AND digest = $3")
                .bind(scope.tenant().as_str())
                .bind(project.as_str())
                .bind(&digest)
                .execute(&mut *tx)
                .await?;
            if gone.rows_affected() == 0 {
                return Err(Problem::not_found(format!("module `{digest}`")));
            }
            let kept: Option<(i64,)> =
                sqlx::query_as("SELECT 1 FROM modules WHERE tenant = $1 AND digest = $2 LIMIT 1")
                    .bind(scope.tenant().as_str())
                    .bind(&digest)
                    .fetch_optional(&mut *tx)
                    .await?;
            if kept.is_none() {
                removed.push(stored(&digest)?);
            }
        }
        tx.commit().await?;
        Ok(removed)
    }
}

async fn with_tags(tx: &mut Tx, scope: &TenantScope, project: &ProjectId, row: Row) -> Result<ModuleRow, Problem> {
    let (digest, bytes, imports, ticks, uploaded_ms, uploaded_by) = row;
    let tags: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, tag FROM tags WHERE tenant = $1 AND project = $2 AND digest = $3 ORDER BY name, tag",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(&digest)
    .fetch_all(&mut **tx)
    .await?;
    Ok(ModuleRow {
        digest: stored(&digest)?,
        bytes: bytes.cast_unsigned(),
        imports: stored_json(&imports)?,
        ticks: ticks != 0,
        uploaded_ms,
        uploaded_by,
        tags: tags.into_iter().map(|(name, tag)| format!("{name}:{tag}")).collect(),
    })
}

/// The digest of each reference that the project knows.
pub(super) async fn resolve(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    refs: BTreeSet<ModuleRef>,
) -> Result<BTreeMap<ModuleRef, ModuleDigest>, Problem> {
    let mut known = BTreeMap::new();
    for wanted in refs {
        let found: Option<(String,)> = match &wanted {
            ModuleRef::Digest(digest) => {
                sqlx::query_as("SELECT digest FROM modules WHERE tenant = $1 AND project = $2 AND digest = $3")
                    .bind(scope.tenant().as_str())
                    .bind(project.as_str())
                    .bind(digest.to_string())
                    .fetch_optional(&mut **tx)
                    .await?
            }
            ModuleRef::Tag(name, tag) => {
                sqlx::query_as("SELECT digest FROM tags WHERE tenant = $1 AND project = $2 AND name = $3 AND tag = $4")
                    .bind(scope.tenant().as_str())
                    .bind(project.as_str())
                    .bind(name.as_str())
                    .bind(tag.as_str())
                    .fetch_optional(&mut **tx)
                    .await?
            }
        };
        if let Some((digest,)) = found {
            known.insert(wanted, stored(&digest)?);
        }
    }
    Ok(known)
}

/// What a module of the project imports, and whether it acts on time, as inspection found it.
pub(super) async fn inspected(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    digest: &ModuleDigest,
) -> Result<Inspected, Problem> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT imports, CAST(ticks AS INTEGER) FROM modules WHERE tenant = $1 AND project = $2 AND digest = $3",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(digest.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    let read = |(imports, ticks): (String, i64)| Ok(Inspected { imports: stored_json(&imports)?, ticks: ticks != 0 });
    row.map_or_else(|| Ok(Inspected::default()), read)
}

/// Takes all tags of a name away and returns the modules that have none left.
async fn untag(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    name: &ModuleName,
) -> Result<Vec<String>, Problem> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT DISTINCT digest FROM tags WHERE tenant = $1 AND project = $2 AND name = $3 AND NOT EXISTS (
            SELECT 1 FROM tags other WHERE other.tenant = tags.tenant AND other.project = tags.project
                AND other.digest = tags.digest AND other.name <> tags.name)",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .fetch_all(&mut **tx)
    .await?;
    let gone = sqlx::query("DELETE FROM tags WHERE tenant = $1 AND project = $2 AND name = $3")
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .execute(&mut **tx)
        .await?;
    if gone.rows_affected() == 0 {
        return Err(Problem::not_found(format!("module `{name}`")));
    }
    Ok(rows.into_iter().map(|(digest,)| digest).collect())
}

async fn refuse_used(tx: &mut Tx, scope: &TenantScope, project: &ProjectId, digest: &str) -> Result<(), Problem> {
    let users: Vec<(String,)> = sqlx::query_as(
        "SELECT pipeline FROM pipeline_modules WHERE tenant = $1 AND project = $2 AND digest = $3 ORDER BY pipeline LIMIT 5",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(digest)
    .fetch_all(&mut **tx)
    .await?;
    if users.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = users.into_iter().map(|(name,)| format!("`{name}`")).collect();
    let detail =
        format!("{digest} is used by the pipelines {}; delete them, or apply manifests without it", names.join(", "));
    Err(Problem::new(Code::ModuleInUse, detail))
}

async fn within_limits(tx: &mut Tx, scope: &TenantScope, limits: &TenantLimits) -> Result<(), Problem> {
    let (count, bytes): (i64, i64) =
        sqlx::query_as("SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM modules WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .fetch_one(&mut **tx)
            .await?;
    // The new one is counted in.
    let todo = "delete modules that are no longer used";
    if count.cast_unsigned() > limits.modules {
        return Err(Problem::at_limit("modules", count.cast_unsigned() - 1, limits.modules, todo));
    }
    if bytes.cast_unsigned() > limits.module_bytes {
        return Err(Problem::at_limit("moduleBytes", bytes.cast_unsigned(), limits.module_bytes, todo));
    }
    Ok(())
}
