//! Tokens: who a request comes from. The embedded issuer or an identity provider signs them, one verifier reads them.
//!
//! A token is a JWT: of the embedded issuer signed with the Ed25519 key in `keys/issuer.pem`, of a provider with one of the keys
//! that it publishes ([`oidc`]). It names a subject, its roles and, for a tenant's people, the tenant. Promises: a [`Principal`] exists only where a signature, issuer, audience, times and shape were all checked.
//! Must never: accept an algorithm that the token chose, or put a token or a key into a log or an error.

mod issuer;
mod key;
mod oidc;
mod verify;

pub use issuer::{Grant, Issuer, IssuerConfig, MintError, TOKEN_LIFE_MAX};
pub(crate) use oidc::Provider;
pub use oidc::{Login, OidcConfig, Standing};
pub(crate) use verify::Verifier;

use bulkhead_core::name::TenantId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What a token allows, in the tenant that it names or, for the first and the last, beside all tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Makes and deletes tenants. Reads nothing of theirs.
    PlatformAdmin,
    /// Fetches assignments and modules, sends reports. For worker processes, never for people.
    Worker,
    /// Reads everything of its tenant.
    Viewer,
    /// Also uploads, applies, produces and deletes.
    Developer,
    /// Also makes tokens and reads the audit.
    TenantAdmin,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 5] = [Self::PlatformAdmin, Self::Worker, Self::Viewer, Self::Developer, Self::TenantAdmin];

    /// The name in tokens, messages and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlatformAdmin => "platform-admin",
            Self::Worker => "worker",
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::TenantAdmin => "tenant-admin",
        }
    }

    /// Whether the role is one within a tenant, so that a token with it names the tenant, and a token without it none.
    pub fn is_of_tenant(self) -> bool {
        self >= Self::Viewer
    }

    /// Whether whoever has this role may do what `needed` may: tenant roles include those below, the others only themselves.
    pub fn includes(self, needed: Role) -> bool {
        self == needed || (self.is_of_tenant() && needed.is_of_tenant() && self >= needed)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// A text that is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such role; roles are platform-admin, worker, viewer, developer and tenant-admin")]
pub struct UnknownRole;

/// What stands in a token of the embedded issuer. Every field is required, `tenant` where the roles are a tenant's; `aud` is one text, not a list.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    exp: u64,
    jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<TenantId>,
    roles: BTreeSet<Role>,
}

/// Who a request comes from, proven by a token.
#[derive(Debug, Clone)]
pub struct Principal {
    issuer: Arc<str>,
    subject: String,
    tenant: Option<TenantId>,
    roles: BTreeSet<Role>,
    token: String,
    issued_s: u64,
    expires_s: u64,
    /// The slots of workers that it may speak for; all of them where nothing is said.
    slots: Option<Arc<[String]>>,
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

    /// Whose it is; `None` for the platform's own.
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

    /// Whether it may speak for the worker in this slot. A name that ends with `*` stands for all that begin so.
    pub fn speaks_for(&self, slot: &str) -> bool {
        let is = |known: &String| known.strip_suffix('*').map_or(known == slot, |start| slot.starts_with(start));
        self.slots.as_ref().is_none_or(|slots| slots.iter().any(is))
    }

    /// Whether one of its roles includes `needed`.
    pub fn may(&self, needed: Role) -> bool {
        self.roles.iter().any(|role| role.includes(needed))
    }
}

/// Whether roles and tenant fit together: a tenant's roles with a tenant, the platform's without, at least one.
fn coherent(tenant: Option<&TenantId>, roles: &BTreeSet<Role>) -> bool {
    !roles.is_empty() && roles.iter().all(|role| role.is_of_tenant() == tenant.is_some())
}

#[cfg(test)]
mod tests;
