//! What is done for the chains in the background: checkpoints, and pruning behind them.
//!
//! Must never: sign what was not read from the database just now.

use super::checkpoint::sign;
use super::line::{Chain, Draft, Kind};
use super::writer::Writer;
use crate::config::ControlConfig;
use crate::problem::Problem;
use crate::store::{ChainEnd, Store, now_ms};
use crate::token::Issuer;
use bulkhead_core::time::format_rfc3339_ms;
use std::time::Duration;

/// What upkeep works with.
pub(crate) struct Upkeep<'a> {
    pub(crate) store: &'a Store,
    pub(crate) writer: &'a Writer,
    pub(crate) issuer: &'a Issuer,
    pub(crate) config: &'a ControlConfig,
}

impl Upkeep<'_> {
    /// Signs what has grown for long enough, and prunes where `prune` says so.
    pub(crate) async fn pass(&self, prune: bool) -> Result<(), Problem> {
        for end in self.store.audit_chains().await? {
            if prune {
                self.prune(&end).await?;
            }
            self.checkpoint(&end).await?;
        }
        Ok(())
    }

    /// Writes down which grants were used for the first time, and once a day how often since.
    pub(crate) async fn uses(&self) -> Result<(), Problem> {
        for used in self.store.due_uses().await? {
            let resource = format!("project/{}/pipeline/{}", used.project, used.pipeline);
            let line = Draft::new(Kind::Use, "grants.use", &resource)
                .with("revision", used.revision)
                .with("stage", used.stage.as_str())
                .with("grant", used.grant.as_str())
                .with("count", used.count)
                .with("total", used.total)
                .with("first", format_rfc3339_ms(used.first_ms))
                .with("last", format_rfc3339_ms(used.last_ms));
            self.writer.append(&Chain::Tenant(used.scope.clone()), line).await?;
            // A stop in between has it said twice, with the same total.
            self.store.told_use(&used).await?;
        }
        Ok(())
    }

    async fn checkpoint(&self, end: &ChainEnd) -> Result<(), Problem> {
        let (seq, at_ms) = end.signed;
        let due = now_ms().saturating_sub(at_ms) >= millis(self.config.audit_checkpoint_every);
        if end.seq > seq && end.seq > end.pruned && due {
            let token = sign(self.issuer, end.chain.key(), &end.anchor())?;
            self.store.keep_checkpoint(end, &token).await?;
        }
        Ok(())
    }

    async fn prune(&self, end: &ChainEnd) -> Result<(), Problem> {
        let before_ms = now_ms().saturating_sub(millis(self.config.audit_kept));
        let Some(anchor) = self.store.prunable(end, before_ms, self.config.audit_rows_max).await? else {
            return Ok(());
        };
        let token = sign(self.issuer, end.chain.key(), &anchor)?;
        self.store.prune_audit(&end.chain, &anchor, &token).await?;
        let lines = anchor.seq.saturating_sub(end.pruned.cast_unsigned());
        let line = Draft::new(Kind::Pruned, "audit.prune", "").with("until", anchor.seq).with("lines", lines);
        self.writer.append(&end.chain, line).await?;
        if let Chain::Tenant(scope) = &end.chain {
            tracing::info!(tenant = %scope.tenant(), lines, "pruned the audit of a tenant");
        }
        Ok(())
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
