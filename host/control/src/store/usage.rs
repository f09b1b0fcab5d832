//! What tenants have used, by the hour: rows that are what is billed, and how far each tenant's records are counted in them.
//!
//! Rows and position change in one transaction, which begins with a look at the position: a record counts once, whichever process reads it,
//! and however often. Rows outlive their pipeline and go with their tenant, or by age.
//! Must never: add to a row without moving the position.

use super::database::Database;
use super::homes::unless_own;
use super::{Store, Tx, now_ms, stored};
use crate::policy::Platform;
use crate::problem::Problem;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::month_start_ms;
use bulkhead_core::usage::{Used, Wasted};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Milliseconds of an hour.
pub(crate) const HOUR_MS: i64 = 3_600 * 1_000;

/// A tenant's records of usage, and up to where they are counted.
#[derive(Debug, Clone)]
pub(crate) struct UsagePosition {
    pub(crate) scope: TenantScope,
    /// The next one to count.
    pub(crate) position: i64,
    /// Up to where they were deleted.
    pub(crate) deleted_until: i64,
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UsageKey {
    /// Hours since the epoch.
    pub(crate) hour: i64,
    pub(crate) project: String,
    pub(crate) pipeline: String,
    pub(crate) revision: i64,
    pub(crate) stage: String,
}

/// What is to be added to rows: batches and what they used.
pub(crate) type UsageRows = BTreeMap<UsageKey, (u64, Used)>;

/// Which rows, and what each line of the answer is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UsageQuery {
    /// From this hour on.
    pub(crate) from: i64,
    /// Before this hour.
    pub(crate) to: i64,
    /// Hours of one line; 0 for all in one.
    pub(crate) hours: i64,
    pub(crate) project: bool,
    pub(crate) pipeline: bool,
    pub(crate) revision: bool,
    pub(crate) stage: bool,
    /// Lines at most.
    pub(crate) limit: i64,
}

/// Sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageSums)]
pub(crate) struct UsageSums {
    /// Batches that committed.
    pub(crate) batches: i64,
    /// Records that stages were given.
    pub(crate) records_in: i64,
    /// Records that they made, for topics and for other stages.
    pub(crate) records_out: i64,
    /// Bytes of keys, values and headers that they were given.
    pub(crate) bytes_in: i64,
    /// The same, written to topics.
    pub(crate) bytes_out: i64,
    /// Fuel of work that committed: what is billed.
    pub(crate) fuel: i64,
    /// Fuel that went elsewhere, all reasons together.
    pub(crate) wasted_fuel: i64,
    /// Of that: starting instances.
    pub(crate) wasted_start: i64,
    /// Calls that failed.
    pub(crate) wasted_failed: i64,
    /// Runs of one record alone that confirm a verdict.
    pub(crate) wasted_confirm: i64,
    /// Calls that ended well and were given up: for a retry, a fault of the host, or to run again without a record.
    pub(crate) wasted_discarded: i64,
    /// Calls whose batch could not commit.
    pub(crate) wasted_aborted: i64,
}

type Sums = (i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64);

impl From<Sums> for UsageSums {
    fn from(sums: Sums) -> Self {
        let (batches, records_in, records_out, bytes_in, bytes_out, fuel, start, failed, confirm, discarded, aborted) =
            sums;
        Self {
            batches,
            records_in,
            records_out,
            bytes_in,
            bytes_out,
            fuel,
            wasted_fuel: [start, failed, confirm, discarded, aborted].into_iter().fold(0, i64::saturating_add),
            wasted_start: start,
            wasted_failed: failed,
            wasted_confirm: confirm,
            wasted_discarded: discarded,
            wasted_aborted: aborted,
        }
    }
}

/// A line of an answer: what was not asked for is 0 or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageRow {
    pub(crate) key: UsageKey,
    pub(crate) sums: UsageSums,
}

impl Store {
    /// How far the records of every tenant are counted.
    ///
    /// # Ambient authority
    /// Gives scopes of tenants without a policy check: for the background only, which acts for the platform.
    pub(crate) async fn usage_positions(&self) -> Result<Vec<UsagePosition>, Problem> {
        let mut found = Vec::new();
        for (tenant, home) in self.all_homes().await? {
            found.extend(unless_own(tenant.as_ref(), self.usage_positions_in(&home).await)?.unwrap_or_default());
        }
        Ok(found)
    }

    async fn usage_positions_in(&self, home: &Arc<Database>) -> Result<Vec<UsagePosition>, Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
            "SELECT t.tenant, t.metadata, COALESCE(p.position, 0), COALESCE(p.deleted_until, 0)
             FROM tenants t LEFT JOIN usage_positions p ON p.tenant = t.tenant",
        )
        .fetch_all(&mut *tx)
        .await?;
        // The list of tenants is where all share; the rows of one with a home are there.
        let here = rows.into_iter().filter(|(_, metadata, ..)| home.own == (metadata != "shared"));
        here.map(|(tenant, _, position, deleted_until)| {
            let scope = TenantScope::assume(stored::<TenantId>(&tenant)?);
            Ok(UsagePosition { scope, position, deleted_until })
        })
        .collect()
    }

    /// Adds what the records between two positions say. `false` where they are counted already, or the tenant is gone.
    pub(crate) async fn add_usage(
        &self,
        scope: &TenantScope,
        (from, to): (i64, i64),
        rows: &UsageRows,
    ) -> Result<bool, Problem> {
        let mut tx = self.begin(scope).await?;
        sqlx::query(
            "INSERT INTO usage_positions (tenant, position, deleted_until)
             SELECT tenant, 0, 0 FROM tenants WHERE tenant = $1 ON CONFLICT (tenant) DO NOTHING",
        )
        .bind(scope.tenant().as_str())
        .execute(&mut *tx)
        .await?;
        let moved = sqlx::query("UPDATE usage_positions SET position = $3 WHERE tenant = $1 AND position = $2")
            .bind(scope.tenant().as_str())
            .bind(from)
            .bind(to)
            .execute(&mut *tx)
            .await?;
        if moved.rows_affected() == 0 {
            return Ok(false);
        }
        for (key, (batches, used)) in rows {
            add(&mut tx, scope, key, (*batches, used)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Notes up to where a tenant's records were deleted.
    pub(crate) async fn usage_deleted(&self, scope: &TenantScope, until: i64) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        sqlx::query("UPDATE usage_positions SET deleted_until = $2 WHERE tenant = $1 AND deleted_until < $2")
            .bind(scope.tenant().as_str())
            .bind(until)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Lets go of rows of before this time.
    pub(crate) async fn prune_usage(&self, before_ms: i64) -> Result<(), Problem> {
        for (tenant, home) in self.all_homes().await? {
            unless_own(tenant.as_ref(), self.prune_usage_in(&home, before_ms).await)?;
        }
        Ok(())
    }

    async fn prune_usage_in(&self, home: &Arc<Database>, before_ms: i64) -> Result<(), Problem> {
        let mut tx = self.begin_background_in(home).await?;
        sqlx::query("DELETE FROM usage_hours WHERE hour < $1")
            .bind(before_ms.div_euclid(HOUR_MS))
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// What a tenant has used.
    pub(crate) async fn usage(&self, scope: &TenantScope, query: &UsageQuery) -> Result<Vec<UsageRow>, Problem> {
        type Row = (i64, String, String, i64, String, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64);
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT CASE WHEN $4 = 1 THEN hour - hour % $5 ELSE 0 END, CASE WHEN $6 = 1 THEN project ELSE '' END,
                    CASE WHEN $7 = 1 THEN pipeline ELSE '' END, CASE WHEN $8 = 1 THEN revision ELSE 0 END,
                    CASE WHEN $9 = 1 THEN stage ELSE '' END,
                    CAST(SUM(batches) AS BIGINT), CAST(SUM(records_in) AS BIGINT), CAST(SUM(records_out) AS BIGINT),
                    CAST(SUM(bytes_in) AS BIGINT), CAST(SUM(bytes_out) AS BIGINT), CAST(SUM(fuel) AS BIGINT),
                    CAST(SUM(wasted_start) AS BIGINT), CAST(SUM(wasted_failed) AS BIGINT),
                    CAST(SUM(wasted_confirm) AS BIGINT), CAST(SUM(wasted_discarded) AS BIGINT),
                    CAST(SUM(wasted_aborted) AS BIGINT)
             FROM usage_hours WHERE tenant = $1 AND hour >= $2 AND hour < $3
             GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT $10",
        )
        .bind(scope.tenant().as_str())
        .bind(query.from)
        .bind(query.to)
        .bind(i64::from(query.hours > 0))
        .bind(query.hours.max(1))
        .bind(i64::from(query.project))
        .bind(i64::from(query.pipeline))
        .bind(i64::from(query.revision))
        .bind(i64::from(query.stage))
        .bind(query.limit)
        .fetch_all(&mut *tx)
        .await?;
        let row = |(hour, project, pipeline, revision, stage, b, ri, ro, bi, bo, fuel, ws, wf, wc, wd, wa): Row| {
            let sums = UsageSums::from((b, ri, ro, bi, bo, fuel, ws, wf, wc, wd, wa));
            UsageRow { key: UsageKey { hour, project, pipeline, revision, stage }, sums }
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Fuel that a tenant was billed since the month began (UTC), as far as it is counted: some seconds behind what workers commit.
    pub(crate) async fn fuel_this_month(&self, scope: &TenantScope) -> Result<u64, Problem> {
        let mut tx = self.reading(scope).await?;
        let (fuel,): (i64,) = sqlx::query_as(
            "SELECT CAST(COALESCE(SUM(fuel), 0) AS BIGINT) FROM usage_hours WHERE tenant = $1 AND hour >= $2",
        )
        .bind(scope.tenant().as_str())
        .bind(month_start_ms(now_ms()).div_euclid(HOUR_MS))
        .fetch_one(&mut *tx)
        .await?;
        Ok(u64::try_from(fuel).unwrap_or(0))
    }

    /// What each tenant has used between two hours, by name.
    pub(crate) async fn bill(
        &self,
        platform: &Platform,
        (from, to): (i64, i64),
    ) -> Result<BTreeMap<String, UsageSums>, Problem> {
        let mut bill = BTreeMap::new();
        for (tenant, home) in self.all_homes().await? {
            let rows = self.bill_in(&home, platform, (from, to)).await;
            bill.extend(unless_own(tenant.as_ref(), rows)?.unwrap_or_default());
        }
        Ok(bill)
    }

    async fn bill_in(
        &self,
        home: &Arc<Database>,
        platform: &Platform,
        (from, to): (i64, i64),
    ) -> Result<Vec<(String, UsageSums)>, Problem> {
        type Row = (String, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64);
        let mut tx = self.reading_platform_in(home, platform).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT tenant,
                    CAST(SUM(batches) AS BIGINT), CAST(SUM(records_in) AS BIGINT), CAST(SUM(records_out) AS BIGINT),
                    CAST(SUM(bytes_in) AS BIGINT), CAST(SUM(bytes_out) AS BIGINT), CAST(SUM(fuel) AS BIGINT),
                    CAST(SUM(wasted_start) AS BIGINT), CAST(SUM(wasted_failed) AS BIGINT),
                    CAST(SUM(wasted_confirm) AS BIGINT), CAST(SUM(wasted_discarded) AS BIGINT),
                    CAST(SUM(wasted_aborted) AS BIGINT)
             FROM usage_hours WHERE hour >= $1 AND hour < $2 GROUP BY tenant",
        )
        .bind(from)
        .bind(to)
        .fetch_all(&mut *tx)
        .await?;
        let row = |(tenant, b, ri, ro, bi, bo, fuel, ws, wf, wc, wd, wa): Row| {
            (tenant, UsageSums::from((b, ri, ro, bi, bo, fuel, ws, wf, wc, wd, wa)))
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

async fn add(tx: &mut Tx, scope: &TenantScope, key: &UsageKey, (batches, used): (u64, &Used)) -> Result<(), Problem> {
    let Wasted { start, failed, confirm, discarded, aborted } = used.wasted;
    let counts = [batches, used.records_in, used.records_out, used.bytes_in, used.bytes_out, used.fuel];
    let mut query = sqlx::query(
        "INSERT INTO usage_hours (tenant, hour, project, pipeline, revision, stage, batches, records_in, records_out, bytes_in,
            bytes_out, fuel, wasted_start, wasted_failed, wasted_confirm, wasted_discarded, wasted_aborted)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT (tenant, hour, project, pipeline, revision, stage) DO UPDATE SET
            batches = usage_hours.batches + excluded.batches, records_in = usage_hours.records_in + excluded.records_in,
            records_out = usage_hours.records_out + excluded.records_out, bytes_in = usage_hours.bytes_in + excluded.bytes_in,
            bytes_out = usage_hours.bytes_out + excluded.bytes_out, fuel = usage_hours.fuel + excluded.fuel,
            wasted_start = usage_hours.wasted_start + excluded.wasted_start,
            wasted_failed = usage_hours.wasted_failed + excluded.wasted_failed,
            wasted_confirm = usage_hours.wasted_confirm + excluded.wasted_confirm,
            wasted_discarded = usage_hours.wasted_discarded + excluded.wasted_discarded,
            wasted_aborted = usage_hours.wasted_aborted + excluded.wasted_aborted",
    )
    .bind(scope.tenant().as_str())
    .bind(key.hour)
    .bind(&key.project)
    .bind(&key.pipeline)
    .bind(key.revision)
    .bind(&key.stage);
    for count in counts.into_iter().chain([start, failed, confirm, discarded, aborted]) {
        query = query.bind(i64::try_from(count).unwrap_or(i64::MAX));
    }
    query.execute(&mut **tx).await?;
    Ok(())
}
