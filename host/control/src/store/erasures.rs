//! Erasures: deletions of tenants, from the first row to the report.
//!
//! A tenant's rows go at once, in one transaction that also counts them. The rest, in the log, the object stores and on workers, is
//! cleared in passes; the last transaction removes the name. The order is what makes a crash harmless: as long as there is something
//! of the name to be found, the name is there to find it by.
//! Must never: keep the name beyond that, or lose an erasure that is not complete.

use super::database::Database;
use super::homes::unless_own;
use super::tables::TABLES;
use super::tenants::{empty, left_in_home, note, pipelines_of};
use super::{Page, Store, Tx, now_ms, stored, stored_json, to_json};
use crate::policy::Platform;
use crate::problem::Problem;
use bulkhead_core::name::{ModuleDigest, TenantId};
use bulkhead_core::scope::TenantScope;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something that was looked for, and how much of it was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub(crate) struct Looked {
    /// What for.
    pub(crate) what: String,
    /// How.
    pub(crate) how: String,
    /// How much was left.
    pub(crate) left: u64,
}

/// An erasure as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Erasure {
    pub(crate) id: String,
    /// Whose things; `None` once none of them is left to be found.
    pub(crate) scope: Option<TenantScope>,
    /// See [`name_digest`].
    pub(crate) name_digest: String,
    pub(crate) complete: bool,
    pub(crate) begun_ms: i64,
    pub(crate) begun_by: String,
    pub(crate) told_generation: u64,
    /// Slots of the workers that ran at its begin.
    pub(crate) workers: BTreeSet<String>,
    /// What was removed, by kind.
    pub(crate) deleted: BTreeMap<String, u64>,
    /// What is still to be done, in words.
    pub(crate) remaining: Vec<String>,
    pub(crate) verified: Vec<Looked>,
    pub(crate) ended_ms: Option<i64>,
    /// The signed report, once it is complete.
    pub(crate) report: String,
}

/// What stays of the name: proof for whoever knows it, and nothing for others. The id is part of it, so that two erasures of one name do not show.
pub(crate) fn name_digest(id: &str, tenant: &str) -> String {
    format!("sha256:{}", ModuleDigest::from_bytes(Sha256::digest(format!("{id}:{tenant}")).into()).hex())
}

type Row =
    (String, Option<String>, String, String, i64, String, i64, String, String, String, String, Option<i64>, String);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, subject_name, name_digest, state, begun_ms, begun_by, told_generation, workers, deleted, remaining, \
             verified, ended_ms, report FROM erasures ",
            $rest
        )
    };
}

fn from_row(row: Row) -> Result<Erasure, Problem> {
    let (id, name, name_digest, state, begun_ms, begun_by, told, workers, deleted, remaining, verified, ended, report) =
        row;
    Ok(Erasure {
        id,
        scope: name.map(|name| stored::<TenantId>(&name).map(TenantScope::assume)).transpose()?,
        name_digest,
        complete: state == "complete",
        begun_ms,
        begun_by,
        told_generation: told.cast_unsigned(),
        workers: stored_json(&workers)?,
        deleted: stored_json(&deleted)?,
        remaining: stored_json(&remaining)?,
        verified: stored_json(&verified)?,
        ended_ms: ended,
        report,
    })
}

impl Store {
    /// Deletes a tenant's rows, adds their numbers to `deleted` and begins its erasure. Of what no row of `tenants` holds together, the name is kept from use until
    /// the erasure's end.
    pub(crate) async fn delete_tenant(
        &self,
        scope: &TenantScope,
        by: &str,
        (workers, mut deleted): (&BTreeSet<String>, BTreeMap<String, u64>),
    ) -> Result<Erasure, Problem> {
        let tenant = scope.tenant().as_str();
        let id = uuid::Uuid::now_v7().to_string();
        let mut tx = self.begin_registered(scope).await?;
        // Held until the end: what was under way there has ended, and is seen. Before the raise, as everybody does who writes there.
        let mut own = if self.home(scope.tenant()).await?.own { Some(self.begin(scope).await?) } else { None };
        let told = tx.raise().await?;
        for table in TABLES {
            let mut rows = count(&mut tx, table.count, tenant).await?;
            if let Some(own) = &mut own {
                rows = rows.max(count(own, table.count, tenant).await?);
            }
            deleted.insert(format!("rows of {}", table.name), rows);
        }
        if let Some(own) = &mut own {
            for (kind, project, pipeline, incarnation) in left_in_home(own, scope).await? {
                note(&mut tx, scope, (&kind, &project, &pipeline, &incarnation), told).await?;
            }
        }
        for (project, pipeline, incarnation) in pipelines_of(&mut tx, scope).await? {
            note(&mut tx, scope, ("group", &project, &pipeline, &incarnation), told).await?;
        }
        insert(&mut tx, (&id, tenant, told), (by, workers), &deleted).await?;
        let row: Option<(String,)> = sqlx::query_as("DELETE FROM tenants WHERE tenant = $1 RETURNING metadata")
            .bind(tenant)
            .fetch_optional(&mut *tx)
            .await?;
        let (placement,) = row.ok_or_else(|| Problem::not_found("such tenant"))?;
        note(&mut tx, scope, ("tenant", "", "", &placement), told).await?;
        Self::erase_audit(&mut tx, scope).await?;
        tx.commit().await?;
        if let Some(mut own) = own {
            // What a crash leaves here goes with the home.
            empty(&mut own, scope).await?;
            own.commit().await?;
        }
        self.homes.learn(scope.tenant(), None);
        self.find_erasure(&id).await?.ok_or_else(|| Problem::internal("an erasure that was just begun is not there"))
    }

    /// All that are not complete.
    ///
    /// # Ambient authority
    /// Gives scopes of tenants without a policy check: for the background only, which acts for the platform.
    pub(crate) async fn erasures_under_way(&self) -> Result<Vec<Erasure>, Problem> {
        let mut tx = self.reading_background().await?;
        let rows: Vec<Row> =
            sqlx::query_as(select!("WHERE state <> 'complete' ORDER BY id")).fetch_all(&mut *tx).await?;
        rows.into_iter().map(from_row).collect()
    }

    /// One.
    pub(crate) async fn find_erasure(&self, id: &str) -> Result<Option<Erasure>, Problem> {
        let mut tx = self.reading_background().await?;
        let row: Option<Row> = sqlx::query_as(select!("WHERE id = $1")).bind(id).fetch_optional(&mut *tx).await?;
        row.map(from_row).transpose()
    }

    /// All, the newest first, those before `page.after` where it is not empty.
    pub(crate) async fn erasures(&self, platform: &Platform, page: &Page) -> Result<Vec<Erasure>, Problem> {
        let mut tx = self.reading_platform(platform).await?;
        let rows: Vec<Row> = sqlx::query_as(select!("WHERE $1 = '' OR id < $1 ORDER BY id DESC LIMIT $2"))
            .bind(&page.after)
            .bind(i64::from(page.limit))
            .fetch_all(&mut *tx)
            .await?;
        rows.into_iter().map(from_row).collect()
    }

    /// Keeps how far one is.
    pub(crate) async fn note_erasure(&self, erasure: &Erasure) -> Result<(), Problem> {
        let mut tx = self.begin_background().await?;
        sqlx::query("UPDATE erasures SET deleted = $2, remaining = $3 WHERE id = $1")
            .bind(&erasure.id)
            .bind(to_json(&erasure.deleted)?)
            .bind(to_json(&erasure.remaining)?)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes the last rows of a tenant of which nothing else is left, and forgets its name; `erasure.verified` is kept, with what
    /// was counted here. The rows that are left where some are: then nothing has changed.
    pub(crate) async fn forget_tenant(&self, erasure: &mut Erasure) -> Result<u64, Problem> {
        let Some(scope) = &erasure.scope else { return Ok(0) };
        let tenant = scope.tenant().as_str();
        self.drop_home(scope.tenant(), self.left_placement(scope).await?).await?;
        let mut tx = self.begin_background().await?;
        tx.turn_to(scope.tenant()).await?;
        let mut left = 0;
        Self::erase_audit(&mut tx, scope).await?;
        // A chain goes by its own way, above: on PostgreSQL the server's role may delete no line by itself.
        for table in TABLES.iter().filter(|table| !table.name.starts_with("audit_")) {
            sqlx::query(table.clear).bind(tenant).execute(&mut *tx).await?;
        }
        for table in TABLES {
            left += count(&mut tx, table.count, tenant).await?;
        }
        if left > 0 {
            return Ok(left);
        }
        let how =
            format!("counted in each of {} tables, in the transaction that removed the last of them", TABLES.len());
        erasure.verified.push(Looked { what: "rows of metadata".to_owned(), how, left });
        sqlx::query("UPDATE erasures SET state = 'scrubbing', subject_name = NULL, remaining = '[]', verified = $2 WHERE id = $1")
            .bind(&erasure.id)
            .bind(to_json(&erasure.verified)?)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        erasure.scope = None;
        Ok(0)
    }

    /// Ends one with its report.
    pub(crate) async fn complete_erasure(&self, erasure: &Erasure) -> Result<(), Problem> {
        let mut tx = self.begin_background().await?;
        sqlx::query(
            "UPDATE erasures SET state = 'complete', remaining = '[]', verified = $2, ended_ms = $3, report = $4 WHERE id = $1",
        )
        .bind(&erasure.id)
        .bind(to_json(&erasure.verified)?)
        .bind(erasure.ended_ms)
        .bind(&erasure.report)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// How many erasures were begun so far.
    pub(super) async fn erasures_begun(&self) -> Result<u64, Problem> {
        let mut tx = self.reading_background().await?;
        let (begun,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM erasures").fetch_one(&mut *tx).await?;
        Ok(begun.cast_unsigned())
    }

    /// Every module that somebody has; of a home of one's own that is away, none: what is needed again is compiled again.
    ///
    /// # Ambient authority
    /// Looks at all tenants, and tells of none: for the background only.
    pub(crate) async fn all_digests(&self) -> Result<BTreeSet<ModuleDigest>, Problem> {
        let mut all = BTreeSet::new();
        for (tenant, home) in self.all_homes().await? {
            all.extend(unless_own(tenant.as_ref(), self.digests_in(&home).await)?.unwrap_or_default());
        }
        Ok(all)
    }

    async fn digests_in(&self, home: &Arc<Database>) -> Result<BTreeSet<ModuleDigest>, Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let rows: Vec<(String,)> = sqlx::query_as("SELECT DISTINCT digest FROM modules").fetch_all(&mut *tx).await?;
        rows.iter().map(|(digest,)| stored(digest)).collect()
    }

    /// The modules of one tenant.
    pub(crate) async fn digests(&self, scope: &TenantScope) -> Result<BTreeSet<ModuleDigest>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<(String,)> = sqlx::query_as("SELECT DISTINCT digest FROM modules WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .fetch_all(&mut *tx)
            .await?;
        rows.iter().map(|(digest,)| stored(digest)).collect()
    }
}

async fn insert(
    tx: &mut Tx,
    (id, tenant, told): (&str, &str, u64),
    (by, workers): (&str, &BTreeSet<String>),
    deleted: &BTreeMap<String, u64>,
) -> Result<(), Problem> {
    sqlx::query(
        "INSERT INTO erasures (id, subject_name, name_digest, state, begun_ms, begun_by, told_generation, workers, deleted,
                               remaining, verified, report)
         VALUES ($1, $2, $3, 'clearing', $4, $5, $6, $7, $8, '[]', '[]', '')",
    )
    .bind(id)
    .bind(tenant)
    .bind(name_digest(id, tenant))
    .bind(now_ms())
    .bind(by)
    .bind(told.cast_signed())
    .bind(to_json(workers)?)
    .bind(to_json(deleted)?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn count(tx: &mut Tx, sql: &'static str, tenant: &str) -> Result<u64, Problem> {
    let (rows,): (i64,) = sqlx::query_as(sql).bind(tenant).fetch_one(&mut **tx).await?;
    Ok(rows.cast_unsigned())
}
