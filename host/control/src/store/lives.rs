//! A tenant's plan, the name that it is shown by, and whether it is suspended.
//!
//! Must never: change a tenant without checking the request's condition in the same transaction.

use super::homes::MetadataPlacement;
use super::plans::kept_values;
use super::{Store, Tx, now_ms, stored, to_json};
use crate::condition::Condition;
use crate::problem::Problem;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::tenant_limits::LimitValues;
use std::collections::BTreeMap;

/// A tenant as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct LifeRow {
    pub(crate) tenant: String,
    pub(crate) created_ms: i64,
    pub(crate) placement: MetadataPlacement,
    pub(crate) plan: String,
    pub(crate) display_name: String,
    pub(crate) suspended: Option<Suspended>,
    /// What it has instead of what its plan says.
    pub(crate) own_limits: LimitValues,
    changes: i64,
}

/// That a tenant is suspended.
#[derive(Debug, Clone)]
pub(crate) struct Suspended {
    pub(crate) since_ms: i64,
    pub(crate) reason: String,
    /// The generation with which workers were told.
    pub(crate) told_generation: u64,
}

/// What a request changes; what it does not say stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) plan: Option<String>,
    pub(crate) display_name: Option<String>,
    /// Limits of its own, by name; `None` for what its plan says.
    pub(crate) limits: BTreeMap<String, Option<u64>>,
}

impl LifeRow {
    /// The entity tag: another whenever something that a request can set is another.
    pub(crate) fn etag(&self) -> String {
        format!("\"{}.{}\"", self.created_ms, self.changes)
    }
}

type Row = (String, i64, String, String, String, Option<i64>, String, i64, i64, String);

fn from_row(
    (tenant, created_ms, placement, plan, display_name, since_ms, reason, told, changes, own): Row,
) -> Result<LifeRow, Problem> {
    let told_generation = told.cast_unsigned();
    let suspended = since_ms.map(|since_ms| Suspended { since_ms, reason, told_generation });
    let placement = stored(&placement)?;
    let own_limits = kept_values(&own)?;
    Ok(LifeRow { tenant, created_ms, placement, plan, display_name, suspended, own_limits, changes })
}

const SELECT: &str =
    "SELECT tenant, created_ms, metadata, plan, display_name, suspended_ms, suspended_for, told_generation, changes,
            own_limits
     FROM tenants WHERE tenant = $1";

impl Store {
    /// A tenant; `None` where there is none. For the policy, which has no scope yet.
    pub(crate) async fn life(&self, tenant: &TenantId) -> Result<Option<LifeRow>, Problem> {
        let mut tx = self.reading_to_decide(tenant).await?;
        let row: Option<Row> = sqlx::query_as(SELECT).bind(tenant.as_str()).fetch_optional(&mut *tx).await?;
        row.map(from_row).transpose()
    }

    /// The plans that tenants have.
    pub(crate) async fn plans_in_use(&self) -> Result<Vec<String>, Problem> {
        let mut tx = self.reading_background().await?;
        let rows: Vec<(String,)> = sqlx::query_as("SELECT DISTINCT plan FROM tenants").fetch_all(&mut *tx).await?;
        Ok(rows.into_iter().map(|(plan,)| plan).collect())
    }

    /// Changes plan, limits and name. Workers keep some limits, so they are told.
    pub(crate) async fn change_tenant(
        &self,
        scope: &TenantScope,
        change: &Change,
        condition: &Condition,
    ) -> Result<LifeRow, Problem> {
        let mut tx = self.begin_registered(scope).await?;
        let before = checked(&mut tx, scope, condition).await?;
        let mut own_limits = before.own_limits.clone();
        for (name, value) in &change.limits {
            let done = match value {
                Some(value) => own_limits.set(name, *value),
                None => own_limits.unset(name),
            };
            done.map_err(|error| Problem::of_limit(&error))?;
        }
        let now = LifeRow {
            own_limits,
            plan: change.plan.clone().unwrap_or(before.plan),
            display_name: change.display_name.clone().unwrap_or(before.display_name),
            changes: before.changes + 1,
            ..before
        };
        tx.raise().await?;
        self.keep(&mut tx, scope, &now).await?;
        self.commit_raised(tx).await?;
        Ok(now)
    }

    /// Suspends: its pipelines are in no assignment from now on. Doing it twice changes the reason and nothing else.
    pub(crate) async fn suspend(
        &self,
        scope: &TenantScope,
        reason: &str,
        condition: &Condition,
    ) -> Result<LifeRow, Problem> {
        let mut tx = self.begin_registered(scope).await?;
        let before = checked(&mut tx, scope, condition).await?;
        let since_ms = before.suspended.map_or_else(now_ms, |suspended| suspended.since_ms);
        let told_generation = tx.raise().await?;
        let suspended = Some(Suspended { since_ms, reason: reason.to_owned(), told_generation });
        let now = LifeRow { suspended, changes: before.changes + 1, ..before };
        self.keep(&mut tx, scope, &now).await?;
        self.commit_raised(tx).await?;
        Ok(now)
    }

    /// Lets it go on. Doing it twice changes nothing.
    pub(crate) async fn resume(&self, scope: &TenantScope, condition: &Condition) -> Result<LifeRow, Problem> {
        let mut tx = self.begin_registered(scope).await?;
        let before = checked(&mut tx, scope, condition).await?;
        if before.suspended.is_none() {
            return Ok(before);
        }
        let now = LifeRow { suspended: None, changes: before.changes + 1, ..before };
        self.keep(&mut tx, scope, &now).await?;
        self.commit_raised(tx).await?;
        Ok(now)
    }

    /// Keeps a row in the list of tenants, and the copy of it in a home of the tenant's own, by which its pipelines are assigned.
    async fn keep(&self, tx: &mut Tx, scope: &TenantScope, row: &LifeRow) -> Result<(), Problem> {
        write(tx, row).await?;
        if self.home(scope.tenant()).await?.own {
            let mut own = self.begin(scope).await?;
            write(&mut own, row).await?;
            own.commit().await?;
        }
        Ok(())
    }
}

async fn write(tx: &mut Tx, row: &LifeRow) -> Result<(), Problem> {
    let suspended = row.suspended.as_ref();
    sqlx::query(
        "UPDATE tenants SET plan = $2, display_name = $3, suspended_ms = $4, suspended_for = $5, told_generation = $6,
            changes = $7, own_limits = $8 WHERE tenant = $1",
    )
    .bind(&row.tenant)
    .bind(&row.plan)
    .bind(&row.display_name)
    .bind(suspended.map(|suspended| suspended.since_ms))
    .bind(suspended.map_or("", |suspended| &suspended.reason))
    .bind(suspended.map_or(0, |suspended| suspended.told_generation).cast_signed())
    .bind(row.changes)
    .bind(to_json(&row.own_limits)?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn current(tx: &mut Tx, scope: &TenantScope) -> Result<Option<LifeRow>, Problem> {
    let row: Option<Row> = sqlx::query_as(SELECT).bind(scope.tenant().as_str()).fetch_optional(&mut **tx).await?;
    row.map(from_row).transpose()
}

async fn checked(tx: &mut Tx, scope: &TenantScope, condition: &Condition) -> Result<LifeRow, Problem> {
    let before = current(tx, scope).await?;
    condition.check(before.as_ref().map(LifeRow::etag).as_deref())?;
    before.ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::not_found("such tenant")
}
