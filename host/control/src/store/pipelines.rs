//! Pipelines as they are: seeing, pausing, deleting. How they come to be is in [`super::deploy`].
//!
//! Must never: change a pipeline without checking the request's condition in the same transaction.

use super::leftovers::{Gone, Leftover};
use super::{Page, Store, Tx, now_ms, stored, stored_json};
use crate::condition::Condition;
use crate::problem::Problem;
use bulkhead_core::manifest::PipelineSpec;
use bulkhead_core::name::{PipelineName, ProjectId};
use bulkhead_core::scope::TenantScope;

/// A pipeline as it is kept.
#[derive(Debug)]
pub(crate) struct PipelineRow {
    pub(crate) name: PipelineName,
    pub(crate) revision: u64,
    /// The revision that made it: lower ones belong to a deleted pipeline of this name.
    pub(crate) first_revision: u64,
    /// New with every pipeline that is made.
    pub(crate) incarnation: String,
    /// As written by its tenant.
    pub(crate) manifest: String,
    pub(crate) spec: PipelineSpec,
    pub(crate) paused: bool,
    /// How often it was told to begin anew.
    pub(crate) starts: u64,
    /// Whether it waits for workers to leave before it begins anew.
    pub(crate) starting_over: bool,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
}

impl PipelineRow {
    /// The entity tag: another whenever something that a request can set is another.
    pub(crate) fn etag(&self) -> String {
        let Self { incarnation, revision, starts, .. } = self;
        let paused = if self.paused { "p" } else { "r" };
        let over = if self.starting_over { "s" } else { "" };
        format!("\"{incarnation}.{revision}.{starts}{paused}{over}\"")
    }
}

type Row = (String, i64, i64, String, String, String, i64, i64, i64, i64, i64);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT pipeline, revision, first_revision, incarnation, manifest, spec, \
             CAST(paused AS INTEGER), starts, CAST(starting_over AS INTEGER), created_ms, updated_ms FROM pipelines WHERE tenant = $1 AND project = $2 AND pipeline ",
            $rest
        )
    };
}

impl Store {
    /// A project's pipelines by name.
    pub(crate) async fn pipelines(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        page: &Page,
    ) -> Result<Vec<PipelineRow>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(select!("> $3 ORDER BY pipeline LIMIT $4"))
            .bind(scope.tenant().as_str())
            .bind(project.as_str())
            .bind(&page.after)
            .bind(i64::from(page.limit))
            .fetch_all(&mut *tx)
            .await?;
        rows.into_iter().map(from_row).collect()
    }

    /// One pipeline.
    pub(crate) async fn pipeline(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
    ) -> Result<PipelineRow, Problem> {
        self.find_pipeline(scope, project, name).await?.ok_or_else(|| missing(name))
    }

    /// The same where it is there.
    pub(crate) async fn find_pipeline(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
    ) -> Result<Option<PipelineRow>, Problem> {
        current(&mut self.reading(scope).await?, scope, project, name).await
    }

    /// Pauses or resumes. Doing it twice changes nothing.
    pub(crate) async fn set_paused(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
        paused: bool,
        condition: &Condition,
    ) -> Result<PipelineRow, Problem> {
        let mut tx = self.begin(scope).await?;
        let before = current(&mut tx, scope, project, name).await?;
        condition.check(before.as_ref().map(PipelineRow::etag).as_deref())?;
        let before = before.ok_or_else(|| missing(name))?;
        if before.paused == paused {
            return Ok(before);
        }
        sqlx::query(
            "UPDATE pipelines SET paused = $4, updated_ms = $5 WHERE tenant = $1 AND project = $2 AND pipeline = $3",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(paused)
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        let now = current(&mut tx, scope, project, name).await?.ok_or_else(|| missing(name))?;
        self.commit_raised(tx).await?;
        Ok(now)
    }

    /// Deletes a pipeline and leaves notes to clear away what it has in the log, which is returned, and in buckets.
    pub(crate) async fn delete_pipeline(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
        condition: &Condition,
    ) -> Result<Leftover, Problem> {
        let mut tx = self.begin(scope).await?;
        let before = current(&mut tx, scope, project, name).await?;
        condition.check(before.as_ref().map(PipelineRow::etag).as_deref())?;
        let before = before.ok_or_else(|| missing(name))?;
        sqlx::query("DELETE FROM pipelines WHERE tenant = $1 AND project = $2 AND pipeline = $3")
            .bind(scope.tenant().as_str())
            .bind(project.as_str())
            .bind(name.as_str())
            .execute(&mut *tx)
            .await?;
        // Workers are told with the generation that this commit makes.
        let told = tx.raise().await?;
        for kind in ["group", "staged"] {
            sqlx::query(
                "INSERT INTO leftovers (tenant, kind, project, pipeline, incarnation, told_generation, since_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            )
            .bind(scope.tenant().as_str())
            .bind(kind)
            .bind(project.as_str())
            .bind(name.as_str())
            .bind(&before.incarnation)
            .bind(told.cast_signed())
            .bind(now_ms())
            .execute(&mut *tx)
            .await?;
        }
        self.commit_raised(tx).await?;
        Ok(Leftover::Pipeline(Gone {
            scope: scope.clone(),
            project: project.clone(),
            pipeline: name.clone(),
            incarnation: before.incarnation,
            told_generation: told,
        }))
    }
}

/// The pipeline as the transaction sees it.
pub(super) async fn current(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    name: &PipelineName,
) -> Result<Option<PipelineRow>, Problem> {
    let row: Option<Row> = sqlx::query_as(select!("= $3"))
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(from_row).transpose()
}

pub(super) fn missing(name: &PipelineName) -> Problem {
    Problem::not_found(format!("pipeline `{name}`"))
}

fn from_row(row: Row) -> Result<PipelineRow, Problem> {
    let (name, revision, first, incarnation, manifest, spec, paused, starts, starting_over, created, updated) = row;
    Ok(PipelineRow {
        name: stored(&name)?,
        revision: revision.cast_unsigned(),
        first_revision: first.cast_unsigned(),
        incarnation,
        manifest,
        spec: stored_json(&spec)?,
        paused: paused != 0,
        starts: starts.cast_unsigned(),
        starting_over: starting_over != 0,
        created_ms: created,
        updated_ms: updated,
    })
}
