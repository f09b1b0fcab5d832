//! Tokens of OpenID Connect providers: people's, CI systems', and those that Kubernetes gives to its service accounts.
//!
//! A provider is known by its issuer. Its keys are fetched ([`fetch`]), kept ([`provider`]) and each pinned to one algorithm
//! ([`keys`]); what a token says is read only after its signature was checked with one of them ([`claims`]).
//! Must never: take a key, an address or an algorithm from a token, or ask a provider more often than its pause allows.

mod claims;
mod fetch;
mod keys;
mod provider;

pub(crate) use provider::Provider;

use super::Role;
use bulkhead_core::name::TenantId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One provider whose tokens are taken. [`OidcConfig::new`] gives every default.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// The `iss` of its tokens, and where its discovery document is: an `https://` URL, or `http://` on this machine.
    pub issuer: String,
    /// The `aud` that its tokens must have, alone or among others.
    pub audience: String,
    /// The claim with the tenant's name. Dots lead into objects, unless a claim has just this name. Default `tenant`.
    pub tenant_claim: String,
    /// The claim with the list of roles; names that are no role are passed over. Default `roles`.
    pub roles_claim: String,
    /// What certain subjects are. Where any is named, only these are taken, and claims about tenant and roles are not looked
    /// at: for issuers that say nothing of either, such as Kubernetes. Default empty.
    pub subjects: BTreeMap<String, Standing>,
    /// Authorities in PEM, one of which has signed the provider's certificate; the system's where there are none.
    pub authorities: Option<Vec<u8>>,
    /// A file with a bearer token for fetching the keys, read at each fetch: Kubernetes asks for one. Default none.
    pub token_file: Option<PathBuf>,
    /// How people log in there; `None` where only machines do.
    pub login: Option<Login>,
    /// How often keys are fetched anew, so that one which the provider withdrew is refused here. Default 5 min.
    pub refresh_every: Duration,
    /// The least time between two fetches, whatever tokens come: made-up key ids must not become a flood there. Default 5 s.
    pub refetch_pause: Duration,
    /// How long keys are used while the provider is away: as long as a token can live that it gave before. Default 24 h.
    pub keys_kept: Duration,
}

/// What a subject is, whatever its token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is; `None` for the platform's own.
    pub tenant: Option<TenantId>,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// The slots that a worker may speak for, `*` at the end for all that begin so; `None` for all.
    pub slots: Option<Arc<[String]>>,
}

/// What `bulkhead login` needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The client, registered at the provider, that it introduces itself as: a public one.
    pub client_id: String,
    /// The scopes that it asks for.
    pub scopes: Vec<String>,
}

impl OidcConfig {
    /// The defaults for tokens of `issuer` for `audience`.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            tenant_claim: "tenant".to_owned(),
            roles_claim: "roles".to_owned(),
            subjects: BTreeMap::new(),
            authorities: None,
            token_file: None,
            login: None,
            refresh_every: Duration::from_secs(300),
            refetch_pause: Duration::from_secs(5),
            keys_kept: Duration::from_secs(24 * 3_600),
        }
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
