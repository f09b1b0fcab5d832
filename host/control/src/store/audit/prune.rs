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
        let mut tx = self.reading_chain(&end.chain).await?;
        let row: Option<(i64, String)> = sqlx::query_as(
            "SELECT seq, hash FROM audit_lines WHERE tenant = $1 AND (at_ms < $2 OR seq <= $3) ORDER BY seq DESC LIMIT 1",
        )
        .bind(end.chain.key())
        .bind(before_ms)
        .bind(many)
        .fetch_optional(&mut *tx)
        .await?;
        let chain = end.id.clone();
        Ok(row.map(|(seq, hash)| Anchor { chain, seq: seq.cast_unsigned(), hash, pruned: true }))
    }

    /// Deletes a chain's lines up to `anchor`'s, for which `token` is the checkpoint.
    pub(crate) async fn prune_audit(&self, chain: &Chain, anchor: &Anchor, token: &str) -> Result<(), Problem> {
        let until = anchor.seq.cast_signed();
        let mut tx = self.begin_chain(chain).await?;
        insert_checkpoint(&mut tx, chain, until, "pruned", now_ms(), token).await?;
        let_go(&mut tx, chain, [until, until, until - 1]).await?;
        sqlx::query("UPDATE audit_chains SET pruned_seq = $2 WHERE tenant = $1")
            .bind(chain.key())
            .bind(until)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
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

/// Lets go a chain's lines, its kept checkpoints and those of earlier prunings, each up to a number.
pub(super) async fn let_go(tx: &mut Tx, chain: &Chain, [lines, kept, pruned]: [i64; 3]) -> Result<(), Problem> {
    sqlx::query("INSERT INTO audit_pruning (tenant, lines, kept, pruned) VALUES ($1, $2, $3, $4)")
        .bind(chain.key())
        .bind(lines)
        .bind(kept)
        .bind(pruned)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
