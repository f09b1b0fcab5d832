//! Who a request comes from, as its token proves it.
//!
//! Must never: be made of anything but a token that was verified.

use super::Role;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::WorkerScope;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who a request comes from, proven by a token.
#[derive(Debug, Clone)]
pub struct Principal {
    pub(super) issuer: Arc<str>,
    pub(super) subject: String,
    pub(super) tenant: Option<TenantId>,
    pub(super) roles: BTreeSet<Role>,
    /// Names of groups that it is in, to which roles can be bound. Tokens of the embedded issuer have none.
    pub(super) groups: BTreeSet<String>,
    /// The slots of workers that it may speak for; all of them where nothing is said. Of workers only.
    pub(super) slots: Option<Arc<[String]>>,
    pub(super) token: String,
    pub(super) issued_s: u64,
    pub(super) expires_s: u64,
}

impl Principal {
    /// The `iss` of its token: who vouches for the subject. Two issuers may use one subject for different people.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The `sub` of its token.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whose it is; `None` for the platform's own. Of a worker, the one tenant that it works for, `None` for the pool's.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// The token's `jti`, for the audit.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Seconds since the epoch at which the token was made.
    pub fn issued_s(&self) -> u64 {
        self.issued_s
    }

    /// Seconds since the epoch at which the token ends.
    pub fn expires_s(&self) -> u64 {
        self.expires_s
    }

    /// The roles as the token names them.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.roles.iter().copied()
    }

    /// The groups that it is in.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    /// Whether it is a worker process.
    pub fn is_worker(&self) -> bool {
        self.roles.contains(&Role::Worker)
    }

    /// The slots of workers that it may speak for; `None` for all.
    pub(crate) fn slots(&self) -> Option<Arc<[String]>> {
        self.slots.clone()
    }
}

/// Whether these slots, all where nothing is said, are those of the worker in this one. A name that ends with `*` stands for all that begin
/// so.
pub(crate) fn speaks_for(slots: Option<&[String]>, slot: &str) -> bool {
    let is = |known: &String| known.strip_suffix('*').map_or(known == slot, |start| slot.starts_with(start));
    slots.is_none_or(|slots| slots.iter().any(is))
}

/// Whether roles and tenant fit together: a worker has that role alone, one of the platform no tenant, and all others a tenant. Without a
/// role, a token is worth what bindings give its subject.
pub(super) fn coherent(tenant: Option<&TenantId>, roles: &BTreeSet<Role>) -> bool {
    if roles.contains(&Role::Worker) {
        return roles.len() == 1;
    }
    if roles.contains(&Role::PlatformAdmin) {
        return roles.len() == 1 && tenant.is_none();
    }
    tenant.is_some()
}

/// Whether a token of the embedded issuer names a slot where it is a worker's, and none where it is not.
pub(super) fn has_slot(roles: &BTreeSet<Role>, slot: Option<&str>) -> bool {
    let well = slot.is_some_and(|slot| WorkerScope::new(slot).is_ok());
    if roles.contains(&Role::Worker) { well } else { slot.is_none() }
}
