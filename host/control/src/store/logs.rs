//! The lines of tenants' logs: the newest of each tenant, within its bound.
//!
//! Must never: keep a line of a pipeline that its tenant does not have, or let one tenant's lines push out another's.

use super::database::Database;
use super::homes::unless_own;
use super::plans::kept_values;
use super::{Page, Store, Tx};
use crate::plans::PlanTable;
use crate::policy::Fleet;
use crate::problem::Problem;
use bulkhead_core::log_line::{LogLevel, LogLine};
use bulkhead_core::name::{ProjectId, TenantId};
use bulkhead_core::scope::TenantScope;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a line counts beside its message.
const LINE_BYTES: usize = 100;
/// Lines that are looked at together when the oldest go.
const PRUNED_TOGETHER: i64 = 1_000;

/// How much one tenant keeps.
#[derive(Debug, Clone, Copy)]
struct LogBound {
    lines: u64,
    bytes: u64,
}

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub(crate) struct LogFilter {
    pub(crate) pipeline: String,
    pub(crate) stage: String,
    pub(crate) level: LogLevel,
    pub(crate) since_ms: i64,
    pub(crate) until_ms: i64,
}

/// A line as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogEntry {
    pub(crate) id: String,
    at: String,
    pipeline: String,
    stage: Option<String>,
    worker: String,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    message: String,
}

type Row = (String, i64, String, String, String, i64, String, String);

impl Store {
    /// Keeps lines, of each tenant as much as its plan allows. Those of pipelines that are not there are let go: the worker was late.
    pub(crate) async fn add_lines(&self, fleet: &Fleet, worker: &str, lines: &[LogLine]) -> Result<(), Problem> {
        if lines.is_empty() {
            return Ok(());
        }
        let plans = self.plan_table().await?;
        let mut of_tenants: BTreeMap<&TenantId, Vec<&LogLine>> = BTreeMap::new();
        for line in lines {
            of_tenants.entry(&line.key.tenant).or_default().push(line);
        }
        for (home, tenants) in self.by_home(of_tenants).await? {
            let own = tenants.keys().next().filter(|_| home.own).map(|tenant| (*tenant).clone());
            let added = self.add_lines_in(&home, fleet, worker, tenants, &plans).await;
            // Lines for metadata that is away are lost, as those of a worker that dies are.
            unless_own(own.as_ref(), added)?;
        }
        Ok(())
    }

    async fn add_lines_in(
        &self,
        home: &Arc<Database>,
        fleet: &Fleet,
        worker: &str,
        tenants: BTreeMap<&TenantId, Vec<&LogLine>>,
        plans: &PlanTable,
    ) -> Result<(), Problem> {
        let mut tx = self.begin_fleet(home, fleet).await?;
        for (tenant, lines) in tenants {
            tx.turn_to(tenant).await?;
            add(&mut tx, worker, tenant, &lines, plans).await?;
        }
        tx.commit().await
    }

    /// Keeps lines that control itself has to say to a tenant.
    pub(crate) async fn add_own_lines(&self, scope: &TenantScope, lines: &[LogLine]) -> Result<(), Problem> {
        let plans = self.plan_table().await?;
        let mut tx = self.begin(scope).await?;
        add(&mut tx, "", scope.tenant(), &lines.iter().collect::<Vec<_>>(), &plans).await?;
        tx.commit().await
    }

    /// A project's lines in the order in which they came, those after `page.after` where it is not empty.
    pub(crate) async fn lines(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        filter: &LogFilter,
        page: &Page,
    ) -> Result<Vec<LogEntry>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, at_ms, pipeline, stage, worker, level, code, message FROM log_lines
             WHERE tenant = $1 AND id > $2 AND project = $3 AND ($4 = '' OR pipeline = $4) AND ($5 = '' OR stage = $5)
                AND level >= $6 AND at_ms >= $7 AND at_ms < $8 ORDER BY id LIMIT $9",
        )
        .bind(scope.tenant().as_str())
        .bind(&page.after)
        .bind(project.as_str())
        .bind(&filter.pipeline)
        .bind(&filter.stage)
        .bind(number(filter.level))
        .bind(filter.since_ms)
        .bind(filter.until_ms)
        .bind(i64::from(page.limit))
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows.into_iter().map(entry).collect())
    }

    /// The id of the newest line of a tenant; empty where it has none.
    pub(crate) async fn newest_line(&self, scope: &TenantScope) -> Result<String, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<(String,)> =
            sqlx::query_as("SELECT id FROM log_lines WHERE tenant = $1 ORDER BY id DESC LIMIT 1")
                .bind(scope.tenant().as_str())
                .fetch_optional(&mut *tx)
                .await?;
        Ok(row.map(|(id,)| id).unwrap_or_default())
    }

    /// Deletes lines older than `before_ms`, and counts again what is left.
    pub(crate) async fn prune_lines(&self, before_ms: i64) -> Result<u64, Problem> {
        let mut gone = 0;
        for (tenant, home) in self.all_homes().await? {
            let pruned = self.prune_lines_in(&home, before_ms).await;
            gone += unless_own(tenant.as_ref(), pruned)?.unwrap_or_default();
        }
        Ok(gone)
    }

    async fn prune_lines_in(&self, home: &Arc<Database>, before_ms: i64) -> Result<u64, Problem> {
        let mut tx = self.begin_background_in(home).await?;
        let gone = sqlx::query("DELETE FROM log_lines WHERE at_ms < $1").bind(before_ms).execute(&mut *tx).await?;
        if gone.rows_affected() > 0 {
            sqlx::query(
                "UPDATE log_usage SET
                    lines = (SELECT COUNT(*) FROM log_lines l WHERE l.tenant = log_usage.tenant),
                    bytes = (SELECT COALESCE(SUM(l.bytes), 0) FROM log_lines l WHERE l.tenant = log_usage.tenant)",
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(gone.rows_affected())
    }
}

/// Keeps lines of one tenant.
async fn add(
    tx: &mut Tx,
    worker: &str,
    tenant: &TenantId,
    lines: &[&LogLine],
    plans: &PlanTable,
) -> Result<(), Problem> {
    let (mut count, mut size) = (0_i64, 0_i64);
    for line in lines {
        let bytes = (line.message.len() + LINE_BYTES) as i64;
        if insert(tx, worker, line, bytes).await? {
            (count, size) = (count + 1, size + bytes);
        }
    }
    if count == 0 {
        return Ok(());
    }
    let usage: (i64, i64) = sqlx::query_as(
        "INSERT INTO log_usage (tenant, lines, bytes) VALUES ($1, $2, $3) ON CONFLICT (tenant) DO UPDATE SET
            lines = log_usage.lines + excluded.lines, bytes = log_usage.bytes + excluded.bytes
         RETURNING lines, bytes",
    )
    .bind(tenant.as_str())
    .bind(count)
    .bind(size)
    .fetch_one(&mut **tx)
    .await?;
    let (plan, own): (String, String) = sqlx::query_as("SELECT plan, own_limits FROM tenants WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(&mut **tx)
        .await?;
    let limits = plans.effective(&plan, &kept_values(&own)?).limits;
    prune(tx, tenant, usage, LogBound { lines: limits.log_lines, bytes: limits.log_bytes }).await
}

async fn insert(tx: &mut Tx, worker: &str, line: &LogLine, bytes: i64) -> Result<bool, Problem> {
    let kept = sqlx::query(
        "INSERT INTO log_lines (tenant, id, project, pipeline, stage, worker, level, code, message, at_ms, bytes)
         SELECT tenant, $4, project, pipeline, $5, $6, $7, $8, $9, $10, $11 FROM pipelines
         WHERE tenant = $1 AND project = $2 AND pipeline = $3",
    )
    .bind(line.key.tenant.as_str())
    .bind(line.key.project.as_str())
    .bind(line.key.pipeline.as_str())
    .bind(uuid::Uuid::now_v7().to_string())
    .bind(line.stage.as_ref().map_or("", |stage| stage.as_str()))
    .bind(worker)
    .bind(number(line.level))
    .bind(line.code.map_or("", |code| code.id()))
    // PostgreSQL keeps no NUL in a text, and a guest may write one.
    .bind(line.message.replace('\0', "\u{fffd}"))
    .bind(line.at_ms)
    .bind(bytes)
    .execute(&mut **tx)
    .await?;
    Ok(kept.rows_affected() > 0)
}

/// Deletes the oldest lines of a tenant that has more than it may.
async fn prune(tx: &mut Tx, tenant: &TenantId, usage: (i64, i64), bound: LogBound) -> Result<(), Problem> {
    let (mut lines, mut bytes) = usage;
    let over = |lines: i64, bytes: i64| lines.cast_unsigned() > bound.lines || bytes.cast_unsigned() > bound.bytes;
    if !over(lines, bytes) {
        return Ok(());
    }
    while over(lines, bytes) {
        let oldest: Vec<(String, i64)> =
            sqlx::query_as("SELECT id, bytes FROM log_lines WHERE tenant = $1 ORDER BY id LIMIT $2")
                .bind(tenant.as_str())
                .bind(PRUNED_TOGETHER)
                .fetch_all(&mut **tx)
                .await?;
        let mut last = None;
        for (id, size) in oldest {
            if !over(lines, bytes) {
                break;
            }
            (lines, bytes, last) = (lines - 1, bytes - size, Some(id));
        }
        let Some(last) = last else { break };
        sqlx::query("DELETE FROM log_lines WHERE tenant = $1 AND id <= $2")
            .bind(tenant.as_str())
            .bind(last)
            .execute(&mut **tx)
            .await?;
    }
    sqlx::query("UPDATE log_usage SET lines = $2, bytes = $3 WHERE tenant = $1")
        .bind(tenant.as_str())
        .bind(lines)
        .bind(bytes)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn entry((id, at_ms, pipeline, stage, worker, level, code, message): Row) -> LogEntry {
    let full = |text: String| Some(text).filter(|text| !text.is_empty());
    let level =
        usize::try_from(level).ok().and_then(|level| LogLevel::ALL.get(level)).map_or("info", |level| level.as_str());
    let at = bulkhead_core::time::format_rfc3339_ms(at_ms);
    LogEntry { id, at, pipeline, stage: full(stage), worker, level, code: full(code), message }
}

/// A level as it is kept, so that SQL can compare.
fn number(level: LogLevel) -> i64 {
    LogLevel::ALL.iter().position(|known| *known == level).unwrap_or_default() as i64
}
