//! Which topic a tenant's lines go to, and how far they are there.
//!
//! Must never: move the position past a line that the topic does not have.

use crate::problem::Problem;
use crate::store::database::Database;
use crate::store::homes::unless_own;
use crate::store::{Store, now_ms, stored};
use bulkhead_core::code::Code;
use bulkhead_core::name::{TenantId, TopicName};
use bulkhead_core::scope::TenantScope;
use std::sync::Arc;

/// Where a tenant's lines go.
#[derive(Debug, Clone)]
pub(crate) struct AuditTopic {
    pub(crate) scope: TenantScope,
    pub(crate) topic: TopicName,
    /// Which making of the chain `seq` is of.
    pub(crate) chain: String,
    /// The last line that the topic has.
    pub(crate) seq: i64,
    /// Why no line goes there, where none does.
    pub(crate) code: Option<Code>,
    /// Since when that is so; or when it was set.
    pub(crate) since_ms: i64,
}

type Row = (String, String, String, i64, String, i64);

impl Store {
    /// All that there are.
    ///
    /// # Ambient authority
    /// As [`Store::audit_chains`].
    pub(crate) async fn audit_topics(&self) -> Result<Vec<AuditTopic>, Problem> {
        let mut found = Vec::new();
        for (tenant, home) in self.all_homes().await? {
            found.extend(unless_own(tenant.as_ref(), self.audit_topics_in(&home).await)?.unwrap_or_default());
        }
        Ok(found)
    }

    async fn audit_topics_in(&self, home: &Arc<Database>) -> Result<Vec<AuditTopic>, Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let rows: Vec<Row> = sqlx::query_as("SELECT tenant, topic, chain, seq, code, since_ms FROM audit_topics")
            .fetch_all(&mut *tx)
            .await?;
        rows.into_iter().map(|row| of_row(TenantScope::assume(stored::<TenantId>(&row.0)?), row)).collect()
    }

    /// A tenant's, where it has one.
    pub(crate) async fn audit_topic(&self, scope: &TenantScope) -> Result<Option<AuditTopic>, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<Row> =
            sqlx::query_as("SELECT tenant, topic, chain, seq, code, since_ms FROM audit_topics WHERE tenant = $1")
                .bind(scope.tenant().as_str())
                .fetch_optional(&mut *tx)
                .await?;
        row.map(|row| of_row(scope.clone(), row)).transpose()
    }

    /// Sends a tenant's lines to this topic from now on, beginning with the oldest there is. Setting the same again changes nothing.
    pub(crate) async fn set_audit_topic(&self, scope: &TenantScope, topic: &TopicName) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        sqlx::query(
            "INSERT INTO audit_topics (tenant, topic, chain, seq, code, since_ms)
             SELECT tenant, $2, chain, pruned_seq, '', $3 FROM audit_chains WHERE tenant = $1
             ON CONFLICT (tenant) DO UPDATE SET topic = excluded.topic, chain = excluded.chain, seq = excluded.seq,
                code = '', since_ms = excluded.since_ms
             WHERE audit_topics.topic <> excluded.topic",
        )
        .bind(scope.tenant().as_str())
        .bind(topic.as_str())
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Sends no more lines. Says whether there was a topic.
    pub(crate) async fn unset_audit_topic(&self, scope: &TenantScope) -> Result<bool, Problem> {
        let mut tx = self.begin(scope).await?;
        let gone = sqlx::query("DELETE FROM audit_topics WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(gone.rows_affected() > 0)
    }

    /// The topic has lines up to `seq`; or it has not, and why.
    pub(crate) async fn audit_topic_at(&self, sent: &AuditTopic, seq: i64, code: Option<Code>) -> Result<(), Problem> {
        let mut tx = self.begin(&sent.scope).await?;
        sqlx::query(
            "UPDATE audit_topics SET seq = $4, since_ms = CASE WHEN code = $5 THEN since_ms ELSE $6 END, code = $5
             WHERE tenant = $1 AND topic = $2 AND chain = $3",
        )
        .bind(sent.scope.tenant().as_str())
        .bind(sent.topic.as_str())
        .bind(&sent.chain)
        .bind(seq)
        .bind(code.map_or("", Code::id))
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}

fn of_row(scope: TenantScope, (_, topic, chain, seq, code, since_ms): Row) -> Result<AuditTopic, Problem> {
    let code = if code.is_empty() { None } else { Some(stored(&code)?) };
    Ok(AuditTopic { scope, topic: stored(&topic)?, chain, seq, code, since_ms })
}
