//! Writes a decision down, in the chains that [`crate::audit::line`] says.
//!
//! Must never: let an allowed request go on before its line is durable, or a refused one without a line somewhere.

use super::action::{Action, Group};
use super::unnamed::unnamed;
use super::{Policy, Reach, Target};
use crate::audit::line::{Chain, Draft, Kind, Place, TEXT_BYTES_MAX};
use crate::audit::trail::Change;
use crate::counted::UnderWay;
use crate::problem::Problem;
use crate::token::Principal;
use bulkhead_core::audit::plain;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use futures::future::join_all;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the same address is told of with the same refusal, where it has no token that is accepted: it could fill the disk.
const UNKNOWN_EVERY: Duration = Duration::from_secs(60);
/// Addresses that are told apart; more are counted together.
const UNKNOWNS_MAX: usize = 1_000;

/// Tenants whose refusals for coming too often are told; of more, nothing is until a minute has passed.
const TOO_OFTEN_MAX: usize = 10_000;

/// Refusals of one address under one code, or of one tenant.
#[derive(Debug)]
pub(super) struct Unknown {
    told: Instant,
    /// Those since then.
    untold: u64,
}

impl Policy {
    /// Writes the decision, durably, with the ids of the `policies` by which it was made, and remembers a change that it allows.
    ///
    /// # Errors
    /// Where it cannot be written, or the tenant is gone meanwhile.
    pub(super) async fn record<A: Action>(
        &self,
        principal: &Principal,
        target: &Target<'_>,
        refused: Option<&Problem>,
        policies: &[String],
        request: Option<&Arc<UnderWay>>,
    ) -> Result<(), Problem> {
        let draft = decision(A::NAME, target).by(principal).with("policies", policies);
        let draft = match refused {
            Some(problem) => draft.refused(problem.code, &problem.detail),
            None => draft,
        };
        let chains = chains(principal, target, refused.is_some(), A::GROUPS == [Group::Worker]);
        let told = |chain: &Chain| match chain {
            Chain::Platform => unnamed(draft.clone(), Some(principal), target),
            Chain::Tenant(_) => draft.clone(),
        };
        let written = join_all(chains.iter().map(|chain| self.writer.append(chain, told(chain)))).await;
        let mut decided: Vec<(Chain, Place)> = Vec::new();
        for (chain, place) in chains.iter().zip(written) {
            decided.extend(place?.map(|place| (chain.clone(), place)));
        }
        let its_own = decided.iter().any(|(chain, _)| matches!(chain, Chain::Tenant(_)));
        if refused.is_none() && A::Reach::OF_TENANT && !its_own {
            return Err(Problem::not_found("such tenant"));
        }
        if decided.is_empty() {
            // A token of a tenant that is not there: it has no chain.
            self.writer.append(&Chain::Platform, told(&Chain::Platform)).await?;
        }
        if refused.is_none() && target.changes {
            let mut draft = draft;
            // What the first line says need not be said again.
            draft.rest.retain(|name, _| name == "requestId");
            target.trail.allowed(Change { writer: self.writer.clone(), decided, draft, request: request.cloned() });
        }
        Ok(())
    }

    /// Writes down that somebody without an accepted token was refused: the first time at once, then once a minute with how often.
    pub(crate) fn refuse_unknown(&self, target: &Target<'_>, problem: &Problem) {
        let client = target.from.client.map(|client| client.to_string()).unwrap_or_default();
        let Some(untold) = self.untold(client, problem.code) else { return };
        let draft = decision("tokens.use", target).refused(problem.code, &problem.detail);
        let draft = if untold > 0 { draft.with("refusedMore", untold) } else { draft };
        self.writer.append_later(Chain::Platform, unnamed(draft, None, target));
    }

    /// Writes down that requests of a tenant, or of the platform, were refused since there were too many: the first at once, then once a minute
    /// with how many. A line each would be the work that the refusal spares.
    pub(super) fn refuse_often(&self, principal: &Principal, target: &Target<'_>, problem: &Problem) {
        let own = principal.tenant().cloned();
        let Some(untold) = self.untold_often(own.clone()) else { return };
        let draft = decision("requests.send", target).by(principal).refused(problem.code, &problem.detail);
        let draft = if untold > 0 { draft.with("refusedMore", untold) } else { draft };
        match own {
            Some(tenant) => self.writer.append_later(chain_of(&tenant), draft),
            None => self.writer.append_later(Chain::Platform, unnamed(draft, Some(principal), target)),
        }
    }

    fn untold_often(&self, own: Option<TenantId>) -> Option<u64> {
        let (mut told, now) = (self.too_often.lock(), Instant::now());
        if told.len() >= TOO_OFTEN_MAX {
            told.retain(|_, unknown| now.duration_since(unknown.told) < UNKNOWN_EVERY);
        }
        if told.len() >= TOO_OFTEN_MAX && !told.contains_key(&own) {
            return None;
        }
        count(told.entry(own), now)
    }

    /// How many were not told of since the last that was; `None` where this one is not told of either.
    fn untold(&self, client: String, code: Code) -> Option<u64> {
        let (mut unknowns, now) = (self.unknowns.lock(), Instant::now());
        if unknowns.len() >= UNKNOWNS_MAX {
            unknowns.retain(|_, unknown| now.duration_since(unknown.told) < UNKNOWN_EVERY);
        }
        let client = if unknowns.len() < UNKNOWNS_MAX { client } else { String::new() };
        count(unknowns.entry((client, code)), now)
    }
}

/// Counts a refusal. How many were not told of since the last that was; `None` where this one is not told of either.
fn count<K>(entry: Entry<'_, K, Unknown>, now: Instant) -> Option<u64> {
    match entry {
        Entry::Occupied(mut known) if now.duration_since(known.get().told) < UNKNOWN_EVERY => {
            known.get_mut().untold += 1;
            None
        }
        Entry::Occupied(mut known) => {
            known.get_mut().told = now;
            Some(std::mem::take(&mut known.get_mut().untold))
        }
        Entry::Vacant(new) => {
            new.insert(Unknown { told: now, untold: 0 });
            Some(0)
        }
    }
}

/// A line about a request.
fn decision(action: &str, target: &Target<'_>) -> Draft {
    Draft::new(Kind::Decision, action, target.resource)
        .with("method", plain(target.method, 16))
        .with("target", plain(target.path, TEXT_BYTES_MAX))
        .with("from", target.from.client.map(|client| client.to_string()))
        .with("via", target.from.proxy.map(|proxy| proxy.to_string()))
        .with("requestId", target.request_id)
}

/// A tenant's chain, for its own lines only: nothing else is reached by it.
fn chain_of(tenant: &TenantId) -> Chain {
    Chain::Tenant(TenantScope::assume(tenant.clone()))
}

/// Where a decision is written.
fn chains(principal: &Principal, target: &Target<'_>, refused: bool, of_workers: bool) -> Vec<Chain> {
    let named: Option<TenantId> = target.tenant.and_then(|name| name.parse().ok());
    match (principal.tenant(), named) {
        (Some(own), named) if !refused || named.as_ref() == Some(own) => vec![chain_of(own)],
        (Some(own), _) => vec![chain_of(own), Chain::Platform],
        (None, Some(named)) if of_workers && !refused => vec![chain_of(&named)],
        (None, Some(named)) => vec![chain_of(&named), Chain::Platform],
        (None, None) => vec![Chain::Platform],
    }
}
