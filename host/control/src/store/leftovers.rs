//! What deletions left to do outside the database: notes that are kept until the work is done.
//!
//! Must never: forget a note whose work may not have been done.

use super::database::Database;
use super::homes::unless_own;
use super::{MetadataPlacement, Store, now_ms, stored};
use crate::problem::Problem;
use bulkhead_core::name::{PipelineName, ProjectId, TenantId};
use bulkhead_core::scope::{PipelinePath, TenantScope};
use std::sync::Arc;

/// Work that a deletion left.
#[derive(Debug, Clone)]
pub(crate) enum Leftover {
    /// What a deleted pipeline has in the log: positions, state, rows that wait for their objects.
    Pipeline(Gone),
    /// Its objects that were never published.
    Staged(Gone),
}

impl Leftover {
    /// Whose it was.
    pub(crate) fn scope(&self) -> &TenantScope {
        match self {
            Self::Pipeline(gone) | Self::Staged(gone) => &gone.scope,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Pipeline(_) => "group",
            Self::Staged(_) => "staged",
        }
    }
}

/// A pipeline that was deleted.
#[derive(Debug, Clone)]
pub(crate) struct Gone {
    pub(crate) scope: TenantScope,
    pub(crate) project: ProjectId,
    pub(crate) pipeline: PipelineName,
    pub(crate) incarnation: String,
    /// The generation with which workers were told to leave.
    pub(crate) told_generation: u64,
}

impl Gone {
    /// Which making of the pipeline it was.
    pub(crate) fn path(&self) -> PipelinePath<'_> {
        PipelinePath { project: &self.project, pipeline: &self.pipeline, incarnation: &self.incarnation }
    }
}

type Note = (String, String, String, String, String, i64);

fn read((kind, tenant, project, pipeline, incarnation, told): Note) -> Result<Leftover, Problem> {
    let scope = TenantScope::assume(stored::<TenantId>(&tenant)?);
    let told_generation = told.cast_unsigned();
    let gone = Gone { scope, project: stored(&project)?, pipeline: stored(&pipeline)?, incarnation, told_generation };
    Ok(if kind == "staged" { Leftover::Staged(gone) } else { Leftover::Pipeline(gone) })
}

/// Notes looked at in one pass.
const PASS_MAX: u32 = 1_000;

impl Store {
    /// All notes of pipelines: in the log, then in buckets.
    ///
    /// # Ambient authority
    /// Gives scopes of tenants without a policy check: for the background only, which acts for the platform.
    pub(crate) async fn leftovers(&self) -> Result<Vec<Leftover>, Problem> {
        let mut left = Vec::new();
        for (tenant, home) in self.all_homes().await? {
            left.extend(unless_own(tenant.as_ref(), self.leftovers_in(&home).await)?.unwrap_or_default());
        }
        Ok(left)
    }

    async fn leftovers_in(&self, home: &Arc<Database>) -> Result<Vec<Leftover>, Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let rows: Vec<Note> = sqlx::query_as(
            "SELECT kind, tenant, project, pipeline, incarnation, told_generation FROM leftovers
             WHERE kind <> 'tenant' ORDER BY kind, since_ms LIMIT $1",
        )
        .bind(i64::from(PASS_MAX))
        .fetch_all(&mut *tx)
        .await?;
        rows.into_iter().map(read).collect()
    }

    /// What a deleted pipeline of this name still has in the log.
    pub(crate) async fn left_pipeline(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        pipeline: &PipelineName,
    ) -> Result<Option<Leftover>, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<Note> = sqlx::query_as(
            "SELECT kind, tenant, project, pipeline, incarnation, told_generation FROM leftovers
             WHERE tenant = $1 AND kind = 'group' AND project = $2 AND pipeline = $3",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(pipeline.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        row.map(read).transpose()
    }

    /// Whether groups of a deleted tenant are left: its topics wait for them.
    pub(crate) async fn has_left_groups(&self, scope: &TenantScope) -> Result<bool, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT 1 FROM leftovers WHERE tenant = $1 AND kind = 'group' LIMIT 1")
                .bind(scope.tenant().as_str())
                .fetch_optional(&mut *tx)
                .await?;
        Ok(row.is_some())
    }

    /// Strikes a note whose work is done.
    pub(crate) async fn strike(&self, leftover: &Leftover) -> Result<(), Problem> {
        let (Leftover::Pipeline(gone) | Leftover::Staged(gone)) = leftover;
        let mut tx = self.begin(leftover.scope()).await?;
        sqlx::query(
            "DELETE FROM leftovers
             WHERE tenant = $1 AND kind = $2 AND project = $3 AND pipeline = $4 AND incarnation = $5",
        )
        .bind(gone.scope.tenant().as_str())
        .bind(leftover.kind())
        .bind(gone.project.as_str())
        .bind(gone.pipeline.as_str())
        .bind(&gone.incarnation)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Where the metadata of a deleted tenant was.
    pub(super) async fn left_placement(&self, scope: &TenantScope) -> Result<MetadataPlacement, Problem> {
        let mut tx = self.reading_registered(scope).await?;
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT incarnation FROM leftovers WHERE tenant = $1 AND kind = 'tenant' AND incarnation <> ''",
        )
        .bind(scope.tenant().as_str())
        .fetch_optional(&mut *tx)
        .await?;
        Ok(row.map(|(placement,)| stored(&placement)).transpose()?.unwrap_or_default())
    }

    /// Folds the counters of boots that have said nothing since `before_ms`, and that a later boot of the same worker has followed,
    /// into one row a pipeline, so that rows do not pile up. A boot that was not followed may come back after any silence, and
    /// what it then says includes what it said before.
    pub(crate) async fn fold_totals(&self, before_ms: i64) -> Result<u64, Problem> {
        let mut gone = 0;
        for (tenant, home) in self.all_homes().await? {
            let pruned = self.fold_totals_in(&home, before_ms).await;
            gone += unless_own(tenant.as_ref(), pruned)?.unwrap_or_default();
        }
        Ok(gone)
    }

    async fn fold_totals_in(&self, home: &Arc<Database>, before_ms: i64) -> Result<u64, Problem> {
        let mut tx = self.begin_background_in(home).await?;
        sqlx::query(
            "INSERT INTO totals (tenant, project, pipeline, worker, boot, records_in, records_out, bytes_in, bytes_out,
                                 dead_letters, fuel, updated_ms)
             SELECT tenant, project, pipeline, '', '', SUM(records_in), SUM(records_out), SUM(bytes_in), SUM(bytes_out),
                    SUM(dead_letters), SUM(fuel), $2
             FROM totals WHERE boot <> '' AND updated_ms < $1 AND EXISTS (
                SELECT 1 FROM totals later WHERE later.worker = totals.worker AND later.boot <> totals.boot
                    AND later.updated_ms > totals.updated_ms)
             GROUP BY tenant, project, pipeline
             ON CONFLICT (tenant, project, pipeline, worker, boot) DO UPDATE SET
                records_in = totals.records_in + excluded.records_in,
                records_out = totals.records_out + excluded.records_out,
                bytes_in = totals.bytes_in + excluded.bytes_in,
                bytes_out = totals.bytes_out + excluded.bytes_out,
                dead_letters = totals.dead_letters + excluded.dead_letters,
                fuel = totals.fuel + excluded.fuel,
                updated_ms = excluded.updated_ms",
        )
        .bind(before_ms)
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        let folded = sqlx::query(
            "DELETE FROM totals WHERE boot <> '' AND updated_ms < $1 AND EXISTS (
                SELECT 1 FROM totals later WHERE later.worker = totals.worker AND later.boot <> totals.boot
                    AND later.updated_ms > totals.updated_ms)",
        )
        .bind(before_ms)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(folded.rows_affected())
    }
}
