//! What stages have used of what they were granted, as workers report it.
//!
//! Counts are cumulative within one boot of a worker, so a row for each boot holds the last of them and what is new is the difference: a
//! report that comes twice, or late, counts once. One row for each combination sums them up; its first use goes into the audit at
//! once and what was added since once a day.
//! Must never: count a use for another pipeline of the same name, or forget one before the audit has it.

use super::database::Database;
use super::homes::unless_own;
use super::report::Reporter;
use super::{Store, Tx, now_ms, stored};
use crate::problem::Problem;
use bulkhead_core::assignment::{GrantUse, PipelineKey, PipelineReport};
use bulkhead_core::name::{PipelineName, ProjectId, TenantId};
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::format_rfc3339_ms;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Uses of one pipeline that are shown at most, those of the newest revisions.
const SHOWN_MAX: i64 = 1_000;
/// Uses that go into the audit in one pass.
const PASS_MAX: i64 = 1_000;
/// How long a boot that was followed by another is remembered, for reports that come late.
const BOOT_KEPT_MS: i64 = 3_600 * 1_000;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// A use as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = GrantUse)]
pub(crate) struct UseRow {
    revision: i64,
    stage: String,
    /// How, and what: `read topic/orders`.
    grant: String,
    /// Records of a topic, rows or calls of a bucket, entries of the state.
    count: i64,
    first_at: String,
    last_at: String,
}

/// A use that is to go into the audit.
#[derive(Debug)]
pub(crate) struct DueUse {
    pub(crate) scope: TenantScope,
    pub(crate) project: String,
    pub(crate) pipeline: String,
    pub(crate) revision: i64,
    pub(crate) stage: String,
    pub(crate) grant: String,
    /// What the audit does not have yet.
    pub(crate) count: i64,
    /// All that was counted.
    pub(crate) total: i64,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
}

/// Adds what a report says of uses, within its transaction.
pub(super) async fn merge(tx: &mut Tx, reporter: Reporter<'_>, report: &PipelineReport) -> Result<(), Problem> {
    for used in &report.uses {
        let before = counted(tx, reporter, &report.key, used).await?;
        let more = whole(used.count).saturating_sub(before);
        if more <= 0 {
            continue;
        }
        keep_boot(tx, reporter, &report.key, used).await?;
        add(tx, &report.key, used, more).await?;
    }
    if !report.uses.is_empty() {
        forget_boots(tx, reporter, &report.key).await?;
    }
    Ok(())
}

async fn counted(tx: &mut Tx, reporter: Reporter<'_>, key: &PipelineKey, used: &GrantUse) -> Result<i64, Problem> {
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT uses FROM grant_use_boots WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND revision = $4
            AND stage = $5 AND grant_name = $6 AND worker = $7 AND boot = $8",
    )
    .bind(key.tenant.as_str())
    .bind(key.project.as_str())
    .bind(key.pipeline.as_str())
    .bind(whole(used.revision))
    .bind(used.stage.as_str())
    .bind(&used.grant)
    .bind(reporter.worker)
    .bind(reporter.boot)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map_or(0, |(uses,)| uses))
}

async fn keep_boot(tx: &mut Tx, reporter: Reporter<'_>, key: &PipelineKey, used: &GrantUse) -> Result<(), Problem> {
    sqlx::query(
        "INSERT INTO grant_use_boots (tenant, project, pipeline, revision, stage, grant_name, worker, boot, uses, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (tenant, project, pipeline, revision, stage, grant_name, worker, boot)
         DO UPDATE SET uses = excluded.uses, updated_ms = excluded.updated_ms",
    )
    .bind(key.tenant.as_str())
    .bind(key.project.as_str())
    .bind(key.pipeline.as_str())
    .bind(whole(used.revision))
    .bind(used.stage.as_str())
    .bind(&used.grant)
    .bind(reporter.worker)
    .bind(reporter.boot)
    .bind(whole(used.count))
    .bind(now_ms())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn add(tx: &mut Tx, key: &PipelineKey, used: &GrantUse, more: i64) -> Result<(), Problem> {
    sqlx::query(
        "INSERT INTO grant_uses (tenant, project, pipeline, revision, stage, grant_name, uses, first_ms, last_ms, told, due_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0)
         ON CONFLICT (tenant, project, pipeline, revision, stage, grant_name) DO UPDATE SET
            uses = grant_uses.uses + excluded.uses,
            last_ms = CASE WHEN excluded.last_ms > grant_uses.last_ms THEN excluded.last_ms ELSE grant_uses.last_ms END",
    )
    .bind(key.tenant.as_str())
    .bind(key.project.as_str())
    .bind(key.pipeline.as_str())
    .bind(whole(used.revision))
    .bind(used.stage.as_str())
    .bind(&used.grant)
    .bind(more)
    .bind(used.first_ms)
    .bind(used.last_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn forget_boots(tx: &mut Tx, reporter: Reporter<'_>, key: &PipelineKey) -> Result<(), Problem> {
    sqlx::query(
        "DELETE FROM grant_use_boots WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND worker = $4 AND boot <> $5
            AND updated_ms < $6",
    )
    .bind(key.tenant.as_str())
    .bind(key.project.as_str())
    .bind(key.pipeline.as_str())
    .bind(reporter.worker)
    .bind(reporter.boot)
    .bind(now_ms() - BOOT_KEPT_MS)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

type Row = (i64, String, String, i64, i64, i64);
type DueRow = (String, String, String, i64, String, String, i64, i64, i64, i64);

impl Store {
    /// What the stages of a pipeline have used, the newest revision first.
    pub(crate) async fn uses(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        pipeline: &PipelineName,
    ) -> Result<Vec<UseRow>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT revision, stage, grant_name, uses, first_ms, last_ms FROM grant_uses
             WHERE tenant = $1 AND project = $2 AND pipeline = $3 ORDER BY revision DESC, stage, grant_name LIMIT $4",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(pipeline.as_str())
        .bind(SHOWN_MAX)
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows.into_iter().map(shown).collect())
    }

    /// Uses of which the audit does not have all, and that are due.
    ///
    /// # Ambient authority
    /// Gives scopes of tenants without a policy check: for the background only, which acts for the platform.
    pub(crate) async fn due_uses(&self) -> Result<Vec<DueUse>, Problem> {
        let mut found = Vec::new();
        for (tenant, home) in self.all_homes().await? {
            found.extend(unless_own(tenant.as_ref(), self.due_uses_in(&home).await)?.unwrap_or_default());
        }
        Ok(found)
    }

    async fn due_uses_in(&self, home: &Arc<Database>) -> Result<Vec<DueUse>, Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let rows: Vec<DueRow> = sqlx::query_as(
            "SELECT tenant, project, pipeline, revision, stage, grant_name, uses, told, first_ms, last_ms FROM grant_uses
             WHERE due_ms <= $1 AND uses > told ORDER BY tenant, project, pipeline, revision, stage, grant_name LIMIT $2",
        )
        .bind(now_ms())
        .bind(PASS_MAX)
        .fetch_all(&mut *tx)
        .await?;
        rows.into_iter().map(due).collect()
    }

    /// The audit has all of a use up to its `total`; it is due again at the end of the day.
    pub(crate) async fn told_use(&self, told: &DueUse) -> Result<(), Problem> {
        let mut tx = self.begin(&told.scope).await?;
        sqlx::query(
            "UPDATE grant_uses SET told = $7, due_ms = $8 WHERE tenant = $1 AND project = $2 AND pipeline = $3
                AND revision = $4 AND stage = $5 AND grant_name = $6",
        )
        .bind(told.scope.tenant().as_str())
        .bind(&told.project)
        .bind(&told.pipeline)
        .bind(told.revision)
        .bind(&told.stage)
        .bind(&told.grant)
        .bind(told.total)
        .bind((now_ms() / DAY_MS + 1) * DAY_MS)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}

fn shown((revision, stage, grant, count, first_ms, last_ms): Row) -> UseRow {
    let (first_at, last_at) = (format_rfc3339_ms(first_ms), format_rfc3339_ms(last_ms));
    UseRow { revision, stage, grant, count, first_at, last_at }
}

fn due(row: DueRow) -> Result<DueUse, Problem> {
    let (tenant, project, pipeline, revision, stage, grant, total, told, first_ms, last_ms) = row;
    let scope = TenantScope::assume(stored::<TenantId>(&tenant)?);
    Ok(DueUse { scope, project, pipeline, revision, stage, grant, count: total - told, total, first_ms, last_ms })
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
