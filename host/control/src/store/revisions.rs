//! What was applied: every revision of a pipeline that there is, as written, with the modules of its time.
//!
//! Must never: change a revision, or show one of a deleted pipeline for a new one of its name.

use super::{Store, Tx, stored, stored_json};
use crate::problem::Problem;
use bulkhead_core::manifest::{PipelineSpec, Start};
use bulkhead_core::name::{PipelineName, ProjectId};
use bulkhead_core::scope::TenantScope;

/// A revision as it is kept.
#[derive(Debug)]
pub(crate) struct RevisionRow {
    pub(crate) revision: u64,
    /// As written by its tenant.
    pub(crate) manifest: String,
    pub(crate) spec: PipelineSpec,
    /// The start that was asked for with it.
    pub(crate) start: Option<Start>,
    /// The revision that it repeats, where it came from a rollback.
    pub(crate) rolled_back_to: Option<u64>,
    pub(crate) applied_ms: i64,
    pub(crate) applied_by: String,
}

type Row = (i64, String, String, Option<String>, Option<i64>, i64, String);

impl Store {
    /// A pipeline's revisions below `before`, newest first.
    pub(crate) async fn revisions(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
        (before, limit): (i64, u32),
    ) -> Result<Vec<RevisionRow>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT revision, manifest, spec, start_at, rolled_back_to, applied_ms, applied_by FROM applied
             WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND revision < $4 ORDER BY revision DESC LIMIT $5",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        rows.into_iter().map(from_row).collect()
    }

    /// One revision.
    pub(crate) async fn revision(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
        number: u64,
    ) -> Result<RevisionRow, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<Row> = sqlx::query_as(
            "SELECT revision, manifest, spec, start_at, rolled_back_to, applied_ms, applied_by FROM applied
             WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND revision = $4",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(whole(number))
        .fetch_optional(&mut *tx)
        .await?;
        row.map(from_row).transpose()?.ok_or_else(|| missing(number))
    }
}

/// The manifest of a revision as written, and what it means.
pub(super) async fn content(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    name: &PipelineName,
    number: u64,
) -> Result<(String, PipelineSpec), Problem> {
    let row: Option<(String, String)> = sqlx::query_as(
        "SELECT manifest, spec FROM applied WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND revision = $4",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .bind(whole(number))
    .fetch_optional(&mut **tx)
    .await?;
    let (manifest, spec) = row.ok_or_else(|| missing(number))?;
    Ok((manifest, stored_json(&spec)?))
}

/// Deletes all but the newest `kept`.
pub(super) async fn prune(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    name: &PipelineName,
    kept: u64,
) -> Result<(), Problem> {
    sqlx::query(
        "DELETE FROM applied WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND revision <= (
            SELECT revision FROM applied WHERE tenant = $1 AND project = $2 AND pipeline = $3
            ORDER BY revision DESC LIMIT 1 OFFSET $4)",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .bind(whole(kept))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn missing(number: u64) -> Problem {
    Problem::not_found(format!("revision {number}"))
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_row((revision, manifest, spec, start, back, applied_ms, applied_by): Row) -> Result<RevisionRow, Problem> {
    Ok(RevisionRow {
        revision: revision.cast_unsigned(),
        manifest,
        spec: stored_json(&spec)?,
        start: start.as_deref().map(stored).transpose()?,
        rolled_back_to: back.map(i64::cast_unsigned),
        applied_ms,
        applied_by,
    })
}
