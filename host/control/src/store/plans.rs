//! Plans as they are kept: what a start puts there, and what platform admins change at run time.
//!
//! A change raises the generation: workers keep some limits. Must never: delete a plan that a tenant has, or let a start undo what an
//! admin has said.

use super::{Store, Tx, now_ms, to_json};
use crate::condition::Condition;
use crate::plans::{PlanTable, STANDARD};
use crate::policy::Platform;
use crate::problem::Problem;
use bulkhead_core::code::Code;
use bulkhead_core::name::PlanName;
use bulkhead_core::tenant_limits::LimitValues;
use std::collections::BTreeMap;

/// How often a start tries where another process starts at the same moment.
const SEED_TRIES: u32 = 5;

/// A plan as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct PlanRow {
    pub(crate) name: String,
    pub(crate) says: LimitValues,
    pub(crate) by_api: bool,
    pub(crate) updated_ms: i64,
    pub(crate) updated_by: String,
    changes: i64,
}

type Row = (String, String, i64, i64, String, i64);

const SELECT: &str = "SELECT name, says, CAST(by_api AS INTEGER), updated_ms, updated_by, changes FROM plans";
const SELECT_ONE: &str =
    "SELECT name, says, CAST(by_api AS INTEGER), updated_ms, updated_by, changes FROM plans WHERE name = $1";

impl PlanRow {
    /// The entity tag.
    pub(crate) fn etag(&self) -> String {
        format!("\"{}.{}\"", self.updated_ms, self.changes)
    }
}

fn from_row((name, says, by_api, updated_ms, updated_by, changes): Row) -> Result<PlanRow, Problem> {
    Ok(PlanRow { name, says: kept_values(&says)?, by_api: by_api != 0, updated_ms, updated_by, changes })
}

/// Limits as they were written once.
pub(super) fn kept_values(text: &str) -> Result<LimitValues, Problem> {
    Ok(LimitValues::kept(super::stored_json(text)?))
}

/// All plans, within a transaction that is about anything.
pub(super) async fn table_in(tx: &mut Tx) -> Result<PlanTable, Problem> {
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT name, says FROM plans").fetch_all(&mut **tx).await?;
    let plans = rows.into_iter().map(|(name, says)| Ok((name, kept_values(&says)?)));
    Ok(PlanTable(plans.collect::<Result<_, Problem>>()?))
}

impl Store {
    /// All plans.
    pub(crate) async fn plan_table(&self) -> Result<PlanTable, Problem> {
        let mut tx = self.reading_background().await?;
        table_in(&mut tx).await
    }

    /// All plans by name, with who said them.
    pub(crate) async fn plans(&self, platform: &Platform) -> Result<Vec<PlanRow>, Problem> {
        let mut tx = self.reading_platform(platform).await?;
        let rows: Vec<Row> = sqlx::query_as(SELECT).fetch_all(&mut *tx).await?;
        let mut plans: Vec<PlanRow> = rows.into_iter().map(from_row).collect::<Result<_, _>>()?;
        plans.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(plans)
    }

    /// Puts plans there at a start. One that an admin has said stays as it is.
    pub(crate) async fn seed_plans(&self, seeds: &BTreeMap<String, LimitValues>) -> Result<(), Problem> {
        let mut tries = 1;
        loop {
            match self.try_seed(seeds).await {
                Err(problem) if problem.code == Code::DatabaseBusy && tries < SEED_TRIES => tries += 1,
                done => return done,
            }
        }
    }

    async fn try_seed(&self, seeds: &BTreeMap<String, LimitValues>) -> Result<(), Problem> {
        let mut tx = self.begin_background().await?;
        let mut changed = 0;
        for (name, says) in seeds {
            let says = to_json(says)?;
            let done = sqlx::query(
                "INSERT INTO plans (name, says, by_api, updated_ms, updated_by, changes) VALUES ($1, $2, FALSE, $3, '', 1)
                 ON CONFLICT (name) DO UPDATE SET says = excluded.says, updated_ms = excluded.updated_ms,
                    changes = plans.changes + 1
                 WHERE NOT plans.by_api AND plans.says <> excluded.says",
            )
            .bind(name)
            .bind(says)
            .bind(now_ms())
            .execute(&mut *tx)
            .await?;
            changed += done.rows_affected();
        }
        if changed > 0 { self.commit_raised(tx).await.map(drop) } else { tx.commit().await }
    }

    /// Makes or changes a plan; `true` where it is new.
    pub(crate) async fn put_plan(
        &self,
        platform: &Platform,
        (name, says): (&PlanName, &LimitValues),
        by: &str,
        condition: &Condition,
    ) -> Result<(bool, PlanRow), Problem> {
        let mut tx = self.begin_platform(platform).await?;
        let before = current(&mut tx, name).await?;
        condition.check(before.as_ref().map(PlanRow::etag).as_deref())?;
        let row = PlanRow {
            name: name.to_string(),
            says: says.clone(),
            by_api: true,
            updated_ms: now_ms(),
            updated_by: by.to_owned(),
            changes: before.as_ref().map_or(1, |before| before.changes + 1),
        };
        sqlx::query(
            "INSERT INTO plans (name, says, by_api, updated_ms, updated_by, changes) VALUES ($1, $2, TRUE, $3, $4, $5)
             ON CONFLICT (name) DO UPDATE SET says = excluded.says, by_api = TRUE, updated_ms = excluded.updated_ms,
                updated_by = excluded.updated_by, changes = excluded.changes",
        )
        .bind(name.as_str())
        .bind(to_json(says)?)
        .bind(row.updated_ms)
        .bind(by)
        .bind(row.changes)
        .execute(&mut *tx)
        .await?;
        self.commit_raised(tx).await?;
        Ok((before.is_none(), row))
    }

    /// Deletes a plan that no tenant has.
    pub(crate) async fn delete_plan(
        &self,
        platform: &Platform,
        name: &PlanName,
        condition: &Condition,
    ) -> Result<(), Problem> {
        let mut tx = self.begin_platform(platform).await?;
        let before = current(&mut tx, name).await?;
        condition.check(before.as_ref().map(PlanRow::etag).as_deref())?;
        if before.is_none() {
            return Err(Problem::not_found(format!("plan `{name}`")));
        }
        if name.as_str() == STANDARD {
            let detail = "`standard` is the plan of whoever was given no other, and stays; change what it says instead";
            return Err(Problem::new(Code::PlanInUse, detail));
        }
        let (tenants,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM tenants WHERE plan = $1")
            .bind(name.as_str())
            .fetch_one(&mut *tx)
            .await?;
        if tenants > 0 {
            let detail = format!("{tenants} tenants have the plan `{name}`; give them another first: `tenant update`");
            return Err(Problem::new(Code::PlanInUse, detail));
        }
        sqlx::query("DELETE FROM plans WHERE name = $1").bind(name.as_str()).execute(&mut *tx).await?;
        tx.commit().await
    }
}

async fn current(tx: &mut Tx, name: &PlanName) -> Result<Option<PlanRow>, Problem> {
    let row: Option<Row> = sqlx::query_as(SELECT_ONE).bind(name.as_str()).fetch_optional(&mut **tx).await?;
    row.map(from_row).transpose()
}
