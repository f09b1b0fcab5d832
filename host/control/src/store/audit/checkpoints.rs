//! What chains there are, where each ends, and the signed checkpoints of each.
//!
//! Must never: keep a checkpoint of a line that is not there.

use crate::audit::line::{Chain, PLATFORM};
use crate::problem::Problem;
use crate::store::database::Database;
use crate::store::homes::unless_own;
use crate::store::{Store, now_ms, stored};
use bulkhead_core::audit::Anchor;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use std::sync::Arc;

/// Checkpoints of one chain that are kept, the newest: each vouches for all lines before it.
const KEPT_MAX: i64 = 1_000;

/// Where a chain ends.
#[derive(Debug, Clone)]
pub(crate) struct ChainEnd {
    pub(crate) chain: Chain,
    /// Which making of the chain.
    pub(crate) id: String,
    pub(crate) seq: i64,
    pub(crate) hash: String,
    /// The last line that is pruned, 0 where none is.
    pub(crate) pruned: i64,
    /// The line of the newest checkpoint, and when that was made; zeros where there is none.
    pub(crate) signed: (i64, i64),
}

impl ChainEnd {
    /// What a checkpoint of it says.
    pub(crate) fn anchor(&self) -> Anchor {
        Anchor { chain: self.id.clone(), seq: self.seq.cast_unsigned(), hash: self.hash.clone(), pruned: false }
    }
}

type Row = (String, String, i64, String, i64, i64, i64);

const ENDS: &str = "\
SELECT c.tenant, c.chain, c.seq, c.hash, c.pruned_seq, COALESCE(s.seq, 0), COALESCE(s.at_ms, 0)
FROM audit_chains c LEFT JOIN (SELECT tenant, MAX(seq) AS seq, MAX(at_ms) AS at_ms FROM audit_checkpoints
    WHERE kind = 'kept' GROUP BY tenant) s ON s.tenant = c.tenant
ORDER BY c.tenant";

const END: &str = "\
SELECT c.tenant, c.chain, c.seq, c.hash, c.pruned_seq, COALESCE(s.seq, 0), COALESCE(s.at_ms, 0)
FROM audit_chains c LEFT JOIN (SELECT tenant, MAX(seq) AS seq, MAX(at_ms) AS at_ms FROM audit_checkpoints
    WHERE kind = 'kept' GROUP BY tenant) s ON s.tenant = c.tenant
WHERE c.tenant = $1";

impl Store {
    /// The end of every chain.
    ///
    /// # Ambient authority
    /// Gives scopes of tenants without a policy check: for the background only, which acts for the platform.
    pub(crate) async fn audit_chains(&self) -> Result<Vec<ChainEnd>, Problem> {
        let mut found = Vec::new();
        for (tenant, home) in self.all_homes().await? {
            found.extend(unless_own(tenant.as_ref(), self.audit_chains_in(&home).await)?.unwrap_or_default());
        }
        Ok(found)
    }

    async fn audit_chains_in(&self, home: &Arc<Database>) -> Result<Vec<ChainEnd>, Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let rows: Vec<Row> = sqlx::query_as(ENDS).fetch_all(&mut *tx).await?;
        rows.into_iter()
            .map(|row| {
                let chain = match row.0.as_str() {
                    PLATFORM => Chain::Platform,
                    tenant => Chain::Tenant(TenantScope::assume(stored::<TenantId>(tenant)?)),
                };
                Ok(end(chain, row))
            })
            .collect()
    }

    /// The end of one chain; `None` where it has no line yet.
    pub(crate) async fn audit_end(&self, chain: &Chain) -> Result<Option<ChainEnd>, Problem> {
        let mut tx = self.reading_chain(chain).await?;
        let row: Option<Row> = sqlx::query_as(END).bind(chain.key()).fetch_optional(&mut *tx).await?;
        Ok(row.map(|row| end(chain.clone(), row)))
    }

    /// A chain's checkpoints after line `after`, the oldest first, with their lines.
    pub(crate) async fn checkpoints(&self, chain: &Chain, after: i64) -> Result<Vec<(i64, String)>, Problem> {
        let mut tx = self.reading_chain(chain).await?;
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT seq, token FROM audit_checkpoints WHERE tenant = $1 AND seq > $2 ORDER BY seq, kind",
        )
        .bind(chain.key())
        .bind(after)
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows)
    }

    /// Keeps a checkpoint of a chain's end, and lets the oldest go above [`KEPT_MAX`].
    pub(crate) async fn keep_checkpoint(&self, end: &ChainEnd, token: &str) -> Result<(), Problem> {
        let mut tx = self.begin_chain(&end.chain).await?;
        super::prune::insert_checkpoint(&mut tx, &end.chain, end.seq, "kept", now_ms(), token).await?;
        let oldest: Option<(i64,)> = sqlx::query_as(
            "SELECT seq FROM audit_checkpoints WHERE tenant = $1 AND kind = 'kept' ORDER BY seq DESC LIMIT 1 OFFSET $2",
        )
        .bind(end.chain.key())
        .bind(KEPT_MAX)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some((oldest,)) = oldest {
            super::prune::let_go(&mut tx, &end.chain, [0, oldest, 0]).await?;
        }
        tx.commit().await
    }
}

fn end(chain: Chain, (_, id, seq, hash, pruned, signed_seq, signed_ms): Row) -> ChainEnd {
    ChainEnd { chain, id, seq, hash, pruned, signed: (signed_seq, signed_ms) }
}
