//! Puts lines at the end of a chain.
//!
//! Must never: commit a line without the row that says it is the last.

use crate::audit::line::{Chain, Draft, Place};
use crate::problem::Problem;
use crate::store::{Store, Tx, now_ms, to_json};
use bulkhead_core::audit::{Link, NOTHING_BEFORE, seal};
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::format_rfc3339_ms;
use serde_json::{Map, Value};

/// The end of a chain, held until the transaction's own.
struct End {
    chain: String,
    seq: i64,
    hash: String,
    at_ms: i64,
}

impl Store {
    /// Appends lines, all in one transaction, and says where each is; one that belongs to an earlier making of the chain went with that. `None` where the chain's tenant is not there.
    pub(crate) async fn append_audit(&self, chain: &Chain, drafts: &[Draft]) -> Result<Option<Vec<Place>>, Problem> {
        let mut tx = self.begin_chain(chain).await?;
        let Some(mut end) = hold(&mut tx, chain).await? else { return Ok(None) };
        let mut places = Vec::with_capacity(drafts.len());
        for draft in drafts {
            if draft.only_in.as_ref().is_none_or(|only| *only == end.chain) {
                append(&mut tx, chain, &mut end, draft).await?;
            }
            places.push(Place { chain: end.chain.clone(), seq: end.seq.cast_unsigned() });
        }
        move_end(&mut tx, chain, &end).await?;
        tx.commit().await?;
        Ok(Some(places))
    }

    /// Begins to write one chain.
    pub(super) async fn begin_chain(&self, chain: &Chain) -> Result<Tx, Problem> {
        self.begin_to_record(chain.tenant()).await
    }

    /// Begins to read one chain.
    pub(super) async fn reading_chain(&self, chain: &Chain) -> Result<Tx, Problem> {
        self.reading_recorded(chain.tenant()).await
    }

    /// Lets a tenant's chain go with everything of it, where the tenant itself goes.
    pub(crate) async fn erase_audit(tx: &mut Tx, scope: &TenantScope) -> Result<(), Problem> {
        super::prune::let_go(tx, &Chain::Tenant(scope.clone()), [i64::MAX; 3]).await?;
        for erase in ["DELETE FROM audit_topics WHERE tenant = $1", "DELETE FROM audit_chains WHERE tenant = $1"] {
            sqlx::query(erase).bind(scope.tenant().as_str()).execute(&mut **tx).await?;
        }
        Ok(())
    }
}

/// Takes the chain's end, which no other transaction gets before this one ends. Makes the chain where its tenant has none yet.
async fn hold(tx: &mut Tx, chain: &Chain) -> Result<Option<End>, Problem> {
    if let Some(end) = take(tx, chain).await? {
        return Ok(Some(end));
    }
    let begin = match chain {
        Chain::Platform => {
            "INSERT INTO audit_chains (tenant, chain, seq, hash, at_ms, pruned_seq) VALUES ($1, $2, 0, $3, 0, 0)
             ON CONFLICT DO NOTHING"
        }
        Chain::Tenant(_) => {
            "INSERT INTO audit_chains (tenant, chain, seq, hash, at_ms, pruned_seq)
             SELECT tenant, $2, 0, $3, 0, 0 FROM tenants WHERE tenant = $1 ON CONFLICT DO NOTHING"
        }
    };
    sqlx::query(begin)
        .bind(chain.key())
        .bind(uuid::Uuid::now_v7().to_string())
        .bind(NOTHING_BEFORE)
        .execute(&mut **tx)
        .await?;
    take(tx, chain).await
}

async fn take(tx: &mut Tx, chain: &Chain) -> Result<Option<End>, Problem> {
    // A write, so that the row is locked on every database.
    let row: Option<(String, i64, String, i64)> =
        sqlx::query_as("UPDATE audit_chains SET seq = seq WHERE tenant = $1 RETURNING chain, seq, hash, at_ms")
            .bind(chain.key())
            .fetch_optional(&mut **tx)
            .await?;
    Ok(row.map(|(chain, seq, hash, at_ms)| End { chain, seq, hash, at_ms }))
}

async fn append(tx: &mut Tx, chain: &Chain, end: &mut End, draft: &Draft) -> Result<(), Problem> {
    // Times in a chain do not go back, even where the clock does.
    let (seq, at_ms) = (end.seq + 1, now_ms().max(end.at_ms));
    let line = says(draft, at_ms);
    let sealed = seal(line, &end.chain, seq.cast_unsigned(), &end.hash).map_err(Problem::internal)?;
    let link = Link::of(&sealed).ok_or_else(|| Problem::internal("a line of the audit has no place"))?;
    sqlx::query(
        "INSERT INTO audit_lines (tenant, seq, at_ms, kind, subject, action, resource, allowed, rest, prev, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(chain.key())
    .bind(seq)
    .bind(at_ms)
    .bind(draft.kind.as_str())
    .bind(&draft.subject)
    .bind(&draft.action)
    .bind(&draft.resource)
    .bind(draft.allowed)
    .bind(to_json(&draft.rest)?)
    .bind(&link.prev)
    .bind(&link.hash)
    .execute(&mut **tx)
    .await?;
    (end.seq, end.hash, end.at_ms) = (seq, link.hash, at_ms);
    Ok(())
}

async fn move_end(tx: &mut Tx, chain: &Chain, end: &End) -> Result<(), Problem> {
    sqlx::query("UPDATE audit_chains SET seq = $2, hash = $3, at_ms = $4 WHERE tenant = $1")
        .bind(chain.key())
        .bind(end.seq)
        .bind(&end.hash)
        .bind(end.at_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What a line says, without its place.
fn says(draft: &Draft, at_ms: i64) -> Map<String, Value> {
    let columns = (draft.kind.as_str(), draft.subject.as_str(), draft.action.as_str(), draft.resource.as_str());
    super::read::whole(draft.rest.clone(), at_ms, columns, draft.allowed)
}

/// The time of a line, as it is written in it.
pub(super) fn at(at_ms: i64) -> String {
    format_rfc3339_ms(at_ms)
}
