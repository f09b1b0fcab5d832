//! Lets the oldest lines of a chain go. A signed checkpoint stands in for them, so that what is left can still be checked.
//!
//! Must never: delete a line before the checkpoint that stands in for it is there.

use super::ChainEnd;
use crate::audit::line::Chain;
use crate::problem::Problem;
use crate::store::{Store, Tx, now_ms};
use bulkhead_core::audit::Anchor;

impl Store {
    /// The last line of a chain that is to go: older than `before_ms`, or not among the newest `lines_max`. `None` where all stay.
    pub(crate) async fn prunable(
        &self,
        end: &ChainEnd,
        before_ms: i64,
        lines_max: u64,
    ) -> Result<Option<Anchor>, Problem> {
        let many = end.seq.saturating_sub(i64::try_from(lines_max).unwrap_or(i64::MAX));
        let row: Option<(i64, String)> = sqlx::query_as(
            "SELECT seq, hash FROM audit_lines WHERE tenant = $1 AND (at_ms < $2 OR seq <= $3) ORDER BY seq DESC LIMIT 1",
        )
        .bind(end.chain.key())
        .bind(before_ms)
        .bind(many)
        .fetch_optional(&self.read)
        .await?;
        let chain = end.id.clone();
        Ok(row.map(|(seq, hash)| Anchor { chain, seq: seq.cast_unsigned(), hash, pruned: true }))
    }

    /// Deletes a chain's lines up to `anchor`'s, for which `token` is the checkpoint. Gives how many.
    pub(crate) async fn prune_audit(&self, chain: &Chain, anchor: &Anchor, token: &str) -> Result<u64, Problem> {
        let until = anchor.seq.cast_signed();
        let mut tx = self.begin_chain(chain).await?;
        insert_checkpoint(&mut tx, chain, until, "pruned", now_ms(), token).await?;
        drop_checkpoints(&mut tx, chain, "pruned", until - 1).await?;
        drop_checkpoints(&mut tx, chain, "kept", until).await?;
        let gone = drop_lines(&mut tx, chain, until).await?;
        sqlx::query("UPDATE audit_chains SET pruned_seq = $2 WHERE tenant = $1")
            .bind(chain.key())
            .bind(until)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(gone)
    }
}

pub(super) async fn insert_checkpoint(
    tx: &mut Tx,
    chain: &Chain,
    seq: i64,
    kind: &str,
    at_ms: i64,
    token: &str,
) -> Result<(), Problem> {
    sqlx::query(
        "INSERT INTO audit_checkpoints (tenant, seq, kind, at_ms, token) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
    )
    .bind(chain.key())
    .bind(seq)
    .bind(kind)
    .bind(at_ms)
    .bind(token)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lets rows up to `until` go, while the transaction lasts.
pub(super) async fn allow(tx: &mut Tx, chain: &Chain, until: i64) -> Result<(), Problem> {
    sqlx::query(
        "INSERT INTO audit_pruning (tenant, until) VALUES ($1, $2)
         ON CONFLICT (tenant) DO UPDATE SET until = excluded.until",
    )
    .bind(chain.key())
    .bind(until)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn forbid(tx: &mut Tx, chain: &Chain) -> Result<(), Problem> {
    sqlx::query("DELETE FROM audit_pruning WHERE tenant = $1").bind(chain.key()).execute(&mut **tx).await?;
    Ok(())
}

async fn drop_lines(tx: &mut Tx, chain: &Chain, until: i64) -> Result<u64, Problem> {
    allow(tx, chain, until).await?;
    let gone = sqlx::query("DELETE FROM audit_lines WHERE tenant = $1 AND seq <= $2")
        .bind(chain.key())
        .bind(until)
        .execute(&mut **tx)
        .await?;
    forbid(tx, chain).await?;
    Ok(gone.rows_affected())
}

pub(super) async fn drop_checkpoints(tx: &mut Tx, chain: &Chain, kind: &str, until: i64) -> Result<(), Problem> {
    allow(tx, chain, until).await?;
    sqlx::query("DELETE FROM audit_checkpoints WHERE tenant = $1 AND kind = $2 AND seq <= $3")
        .bind(chain.key())
        .bind(kind)
        .bind(until)
        .execute(&mut **tx)
        .await?;
    forbid(tx, chain).await
}
