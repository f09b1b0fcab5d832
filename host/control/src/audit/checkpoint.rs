//! Checkpoints: a chain's place and hash, signed with the issuer's key, so that whoever holds the public key can hold the chain to it.
//!
//! A checkpoint is a JWS whose type is no token's and which has none of a token's claims, so neither passes for the other. *Kept* ones say
//! what a line was; a *pruned* one stands for all lines up to it.
//! Must never: be signed for what is not in the database, or be believed for its own words before its signature.

use crate::problem::Problem;
use crate::token::Issuer;
use bulkhead_core::audit::Anchor;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};

/// The `typ` of a checkpoint's header.
const TYPE: &str = "bulkhead-audit+jwt";

/// What a checkpoint says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    /// Seconds since the epoch at which it was signed.
    iat: u64,
    /// The tenant, or `_platform`.
    tenant: String,
    chain: String,
    seq: u64,
    hash: String,
    pruned: bool,
}

/// Signs one.
pub(crate) fn sign(issuer: &Issuer, tenant: &str, anchor: &Anchor) -> Result<String, Problem> {
    let Anchor { chain, seq, hash, pruned } = anchor.clone();
    let iat = jsonwebtoken::get_current_timestamp();
    let claims = Claims { iss: issuer.name().to_owned(), iat, tenant: tenant.to_owned(), chain, seq, hash, pruned };
    issuer.sign(TYPE, &claims).map_err(Problem::internal)
}

/// What a checkpoint vouches for, if one of these keys signed it.
///
/// # Errors
/// Where none did, or it is no checkpoint.
pub fn read_checkpoint(token: &str, keys: &JwkSet) -> Result<Anchor, BadCheckpoint> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| BadCheckpoint::Unreadable)?;
    if header.typ.as_deref() != Some(TYPE) {
        return Err(BadCheckpoint::Unreadable);
    }
    let key = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or(BadCheckpoint::OtherKey)?;
    let key = DecodingKey::from_jwk(key).map_err(|_| BadCheckpoint::OtherKey)?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|_| BadCheckpoint::Forged)?.claims;
    Ok(Anchor { chain: claims.chain, seq: claims.seq, hash: claims.hash, pruned: claims.pruned })
}

/// Why a checkpoint vouches for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// It is none.
    #[error("this is not a checkpoint of an audit")]
    Unreadable,
    /// It names another key.
    #[error("the checkpoint was signed with a key that is not among those given")]
    OtherKey,
    /// The signature does not fit.
    #[error("the checkpoint's signature is not that of its key: it was forged or changed")]
    Forged,
}
