//! Tokens: who a request comes from. The embedded issuer or an identity provider signs them, one verifier reads them.
//!
//! A token is a JWT: of the embedded issuer signed with the Ed25519 key in `keys/issuer.pem`, of a provider with one of the keys
//! that it publishes ([`oidc`]). It names a subject, its roles and, for a tenant's people, the tenant; for a worker, its slot. Promises: a
//! [`Principal`] exists only where a signature, issuer, audience, times and shape were all checked.
//! Must never: accept an algorithm that the token chose, or put a token or a key into a log or an error.

mod document;
mod issuer;
mod key;
mod oidc;
mod principal;
mod role;
mod verify;

pub(crate) use document::verify_document;
pub use issuer::{Grant, Issuer, IssuerConfig, MintError, TOKEN_LIFE_MAX};
pub(crate) use oidc::Provider;
pub use oidc::{Login, OidcConfig, Standing};
pub use principal::Principal;
pub(crate) use principal::speaks_for;
pub use role::{Role, UnknownRole};
pub use verify::DEFAULT_TENANT_MAKER;
pub(crate) use verify::Verifier;

use bulkhead_core::name::TenantId;
use principal::{coherent, has_slot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What stands in a token of the embedded issuer. Every field is required, `tenant` for a tenant's people, `slot` for a worker; `aud` is one
/// text, not a list.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slot: Option<String>,
    roles: BTreeSet<Role>,
}

#[cfg(test)]
mod tests;
