//! Pipelines that are to begin anew at a chosen start, while they have positions.
//!
//! Such a pipeline is first assigned as paused, so that its workers leave; then its positions are forgotten in the log; then, in one
//! transaction, it is known to have none and runs again, and what it finds missing it begins at the start. A crash between any two of
//! these repeats the step before, which changes nothing.
//! Must never: let it run between the first step and the last.

use super::database::Database;
use super::homes::unless_own;
use super::{Store, stored};
use crate::problem::Problem;
use bulkhead_core::name::{PipelineName, ProjectId, TenantId};
use bulkhead_core::scope::TenantScope;
use std::sync::Arc;

/// Pipelines looked at in one pass.
const PASS_MAX: u32 = 1_000;

/// A pipeline that waits to begin anew.
#[derive(Debug, Clone)]
pub(crate) struct StartOver {
    pub(crate) scope: TenantScope,
    pub(crate) project: ProjectId,
    pub(crate) pipeline: PipelineName,
    /// The generation with which workers were told to leave.
    pub(crate) told_generation: u64,
}

impl Store {
    /// All that wait.
    ///
    /// # Ambient authority
    /// Gives scopes of tenants without a policy check: for the background only, which acts for the platform.
    pub(crate) async fn starting_over(&self) -> Result<Vec<StartOver>, Problem> {
        let mut found = Vec::new();
        for (tenant, home) in self.all_homes().await? {
            found.extend(unless_own(tenant.as_ref(), self.starting_over_in(&home).await)?.unwrap_or_default());
        }
        Ok(found)
    }

    async fn starting_over_in(&self, home: &Arc<Database>) -> Result<Vec<StartOver>, Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
            "SELECT tenant, project, pipeline, told_generation FROM pipelines WHERE starting_over LIMIT $1",
        )
        .bind(i64::from(PASS_MAX))
        .fetch_all(&mut *tx)
        .await?;
        let mut found = Vec::new();
        for (tenant, project, pipeline, told) in rows {
            found.push(StartOver {
                scope: TenantScope::assume(stored::<TenantId>(&tenant)?),
                project: stored(&project)?,
                pipeline: stored(&pipeline)?,
                told_generation: told.cast_unsigned(),
            });
        }
        Ok(found)
    }

    /// Lets a pipeline run whose positions were forgotten, unless it was told to begin anew once more meanwhile.
    pub(crate) async fn started_over(&self, over: &StartOver) -> Result<(), Problem> {
        let mut tx = self.begin(&over.scope).await?;
        let changed = sqlx::query(
            "UPDATE pipelines SET starting_over = FALSE, starts = starts + 1
             WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND starting_over AND told_generation = $4",
        )
        .bind(over.scope.tenant().as_str())
        .bind(over.project.as_str())
        .bind(over.pipeline.as_str())
        .bind(over.told_generation.cast_signed())
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(());
        }
        sqlx::query("DELETE FROM initialised WHERE tenant = $1 AND project = $2 AND pipeline = $3")
            .bind(over.scope.tenant().as_str())
            .bind(over.project.as_str())
            .bind(over.pipeline.as_str())
            .execute(&mut *tx)
            .await?;
        self.commit_raised(tx).await?;
        Ok(())
    }
}
