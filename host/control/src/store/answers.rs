//! Answers kept for repeated requests, by tenant and idempotency key.
//!
//! Must never: give one tenant's answer for another's key, or grow without bound.

use super::database::Database;
use super::homes::unless_own;
use super::{Store, now_ms};
use crate::problem::Problem;
use bulkhead_core::scope::TenantScope;
use std::sync::Arc;

/// How long an answer is kept.
pub(crate) const ANSWER_KEPT_MS: i64 = 24 * 3_600 * 1_000;
/// Answers of one tenant, and bytes of them, the newest; earlier ones are forgotten before their day is over.
const ANSWERS_MAX: i64 = 1_000;
const ANSWERS_BYTES_MAX: i64 = 16 << 20;

/// An answer as it was given.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Of the request that it answers.
    pub(crate) fingerprint: String,
    pub(crate) status: u16,
    /// Its content type; empty where it had none.
    pub(crate) kind: String,
    /// Its entity tag; empty where it had none.
    pub(crate) etag: String,
    pub(crate) body: Vec<u8>,
}

impl Store {
    /// What a key of this tenant was answered with.
    pub(crate) async fn answer(&self, scope: &TenantScope, key: &str) -> Result<Option<Answer>, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<(String, i64, String, String, Vec<u8>)> = sqlx::query_as(
            "SELECT fingerprint, status, kind, etag, body FROM answers WHERE tenant = $1 AND key = $2 AND kept_ms > $3",
        )
        .bind(scope.tenant().as_str())
        .bind(key)
        .bind(now_ms() - ANSWER_KEPT_MS)
        .fetch_optional(&mut *tx)
        .await?;
        Ok(row.map(|(fingerprint, status, kind, etag, body)| {
            let status = u16::try_from(status).unwrap_or(500);
            Answer { fingerprint, status, kind, etag, body }
        }))
    }

    /// Keeps an answer, and forgets the tenant's oldest above its bounds.
    pub(crate) async fn keep_answer(&self, scope: &TenantScope, key: &str, answer: &Answer) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        sqlx::query(
            "INSERT INTO answers (tenant, key, fingerprint, status, kind, etag, body, kept_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant, key) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
                kind = excluded.kind, etag = excluded.etag, body = excluded.body, kept_ms = excluded.kept_ms",
        )
        .bind(scope.tenant().as_str())
        .bind(key)
        .bind(&answer.fingerprint)
        .bind(i64::from(answer.status))
        .bind(&answer.kind)
        .bind(&answer.etag)
        .bind(&answer.body)
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM answers WHERE tenant = $1 AND key IN (
                SELECT key FROM (
                    SELECT key, ROW_NUMBER() OVER newest AS place, SUM(LENGTH(body)) OVER newest AS bytes
                    FROM answers WHERE tenant = $1 WINDOW newest AS (ORDER BY kept_ms DESC, key)
                ) ranked WHERE place > $2 OR bytes > $3)",
        )
        .bind(scope.tenant().as_str())
        .bind(ANSWERS_MAX)
        .bind(ANSWERS_BYTES_MAX)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets all answers from before `before_ms`.
    pub(crate) async fn prune_answers(&self, before_ms: i64) -> Result<u64, Problem> {
        let mut gone = 0;
        for (tenant, home) in self.all_homes().await? {
            gone += unless_own(tenant.as_ref(), self.prune_answers_in(&home, before_ms).await)?.unwrap_or_default();
        }
        Ok(gone)
    }

    async fn prune_answers_in(&self, home: &Arc<Database>, before_ms: i64) -> Result<u64, Problem> {
        let mut tx = self.begin_background_in(home).await?;
        let old = sqlx::query("DELETE FROM answers WHERE kept_ms < $1").bind(before_ms).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(old.rows_affected())
    }
}
