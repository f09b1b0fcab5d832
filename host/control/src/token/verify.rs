//! Reads tokens. Everything that is wrong with one is one of three codes: missing, expired, not accepted; a fourth says that an
//! identity provider was away.
//!
//! A token names its issuer. That name is only ever used to choose who checks it: the embedded issuer's key, or a provider's.
//! Must never: believe a claim before the signature was checked with a key of that issuer and the algorithm of that key, or
//! say which check failed in more detail than a client needs to get a better token.

use super::oidc::Provider;
use super::{Claims, IssuerConfig, Principal, Role, coherent, has_slot};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_core::code::Code;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Clocks of two machines may differ by this much.
const LEEWAY_S: u64 = 5;
/// Bytes of a token of the embedded issuer at most, checked before any of it is decoded.
const TOKEN_BYTES_MAX: usize = 4_096;
/// The same of a provider's: some put every group of a person into it.
const PROVIDER_TOKEN_BYTES_MAX: usize = 16_384;

/// The subject of the only platform admin whose token this process makes for itself where everybody else has one of a provider: who makes
/// the default tenant at the start. The key is in no file, so nobody else signs one.
pub const DEFAULT_TENANT_MAKER: &str = "default tenant";

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) detail: &'static str,
}

pub(super) const fn invalid(detail: &'static str) -> Refused {
    Refused { code: Code::TokenInvalid, detail }
}

/// Checks the tokens of all issuers that this server knows.
pub(crate) struct Verifier {
    embedded: Embedded,
    providers: Vec<Arc<Provider>>,
}

impl Verifier {
    pub(crate) fn new(embedded: Embedded, providers: Vec<Arc<Provider>>) -> Self {
        Self { embedded, providers }
    }

    /// The principal that a token proves.
    pub(crate) async fn verify(&self, token: &str) -> Result<Principal, Refused> {
        match stated_issuer(token).and_then(|issuer| self.providers.iter().find(|known| known.issuer() == issuer)) {
            Some(provider) => provider.verify(token).await,
            None => self.embedded.verify(token),
        }
    }

    /// Keeps the providers' keys fresh until `stop`.
    pub(crate) async fn keep_fresh(&self, stop: &CancellationToken) {
        futures::future::join_all(self.providers.iter().map(|provider| provider.keep_fresh(stop))).await;
    }
}

/// The `iss` of a token, which nothing has proven yet. `None` where it has none, or is too long to be looked at.
fn stated_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Stated {
        iss: String,
    }
    if token.len() > PROVIDER_TOKEN_BYTES_MAX {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Stated>(&claims).ok().map(|stated| stated.iss)
}

/// Checks the tokens of the embedded issuer.
pub(crate) struct Embedded {
    key: DecodingKey,
    kid: String,
    validation: Validation,
    /// Whether it takes tokens of all roles, or only of those that this very process makes for itself.
    for_everybody: bool,
}

impl Embedded {
    pub(super) fn new(key: DecodingKey, kid: String, config: &IssuerConfig, for_everybody: bool) -> Self {
        // The algorithm is ours, not the token's: `none`, HS256 with the public key and all others end here.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY_S;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        Self { key, kid, validation, for_everybody }
    }

    /// The principal that a token proves.
    pub(crate) fn verify(&self, token: &str) -> Result<Principal, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(invalid("the token is far longer than any that this server makes"));
        }
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| invalid("the token is not a JWT that this server makes; ask for a new one"))?;
        if header.kid.as_deref() != Some(self.kid.as_str()) {
            return Err(invalid("the token was not signed with this server's key; ask for a new one"));
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation).map_err(|e| refused(&e))?;
        let claims = data.claims;
        check_times(claims.iat, claims.exp, LEEWAY_S)?;
        let of_this_process = |role: &Role| match role {
            Role::Worker => true,
            Role::PlatformAdmin => claims.sub == DEFAULT_TENANT_MAKER,
            _ => false,
        };
        if !self.for_everybody && !claims.roles.iter().all(of_this_process) {
            return Err(invalid("this server takes tokens of its identity provider only; `bulkhead login` gets one"));
        }
        if !coherent(claims.tenant.as_ref(), &claims.roles) || !has_slot(&claims.roles, claims.slot.as_deref()) {
            return Err(invalid("the token's roles, its tenant and its slot do not fit together; ask for a new one"));
        }
        let Claims { iss, sub: subject, tenant, slot, roles, jti: token, iat: issued_s, exp: expires_s, .. } = claims;
        let slots = slot.map(|slot| Arc::from([slot]));
        let (issuer, groups) = (Arc::from(iss), BTreeSet::new());
        Ok(Principal { issuer, subject, tenant, roles, groups, slots, token, issued_s, expires_s })
    }
}

/// Whether a token's times make sense: made in the past, and for no longer than any may live.
pub(super) fn check_times(issued_s: u64, expires_s: u64, leeway_s: u64) -> Result<(), Refused> {
    let now = jsonwebtoken::get_current_timestamp();
    if issued_s > now + leeway_s || expires_s <= issued_s {
        return Err(invalid("the token was made in the future; check the clocks of both machines"));
    }
    if expires_s - issued_s > super::TOKEN_LIFE_MAX.as_secs() {
        return Err(invalid("the token lives longer than this server allows; ask for a new one"));
    }
    Ok(())
}

pub(super) fn refused(error: &jsonwebtoken::errors::Error) -> Refused {
    match error.kind() {
        ErrorKind::ExpiredSignature => {
            Refused { code: Code::TokenExpired, detail: "the token has expired; ask for a new one" }
        }
        ErrorKind::InvalidAudience => invalid("the token is for another audience; ask this server's issuer for one"),
        ErrorKind::InvalidIssuer => invalid("the token is from another issuer; ask this server's issuer for one"),
        ErrorKind::ImmatureSignature => {
            invalid("the token is not valid yet; check the clocks of all machines, or wait until its `nbf`")
        }
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => {
            invalid("the token lacks a claim that every token of this server has; ask for a new one")
        }
        _ => invalid("the token's signature is not this server's; ask for a new one"),
    }
}
