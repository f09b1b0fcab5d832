//! Reads tokens. Everything that is wrong with one is one of three codes: missing, expired, not accepted.
//!
//! Must never: look at a claim before the signature was checked with the one key and the one algorithm, or say which check failed
//! in more detail than a client needs to get a better token.

use super::{Claims, IssuerConfig, Principal, coherent};
use bulkhead_core::code::Code;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

/// Clocks of two machines may differ by this much.
const LEEWAY_S: u64 = 5;
/// Bytes of a token at most, checked before any of it is decoded.
const TOKEN_BYTES_MAX: usize = 4_096;

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) detail: &'static str,
}

const fn invalid(detail: &'static str) -> Refused {
    Refused { code: Code::TokenInvalid, detail }
}

/// Checks the tokens of one issuer.
pub(crate) struct Verifier {
    key: DecodingKey,
    kid: String,
    validation: Validation,
}

impl Verifier {
    pub(super) fn new(key: DecodingKey, kid: String, config: &IssuerConfig) -> Self {
        // The algorithm is ours, not the token's: `none`, HS256 with the public key and all others end here.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY_S;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        Self { key, kid, validation }
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
        let now = jsonwebtoken::get_current_timestamp();
        if claims.iat > now + LEEWAY_S || claims.exp <= claims.iat {
            return Err(invalid("the token was made in the future; check the clocks of both machines"));
        }
        if claims.exp - claims.iat > super::TOKEN_LIFE_MAX.as_secs() {
            return Err(invalid("the token lives longer than this server allows; ask for a new one"));
        }
        if !coherent(claims.tenant.as_ref(), &claims.roles) {
            return Err(invalid("the token's roles and its tenant do not fit together; ask for a new one"));
        }
        let Claims { sub: subject, tenant, roles, jti: token, iat: issued_s, exp: expires_s, .. } = claims;
        Ok(Principal { subject, tenant, roles, token, issued_s, expires_s })
    }
}

fn refused(error: &jsonwebtoken::errors::Error) -> Refused {
    match error.kind() {
        ErrorKind::ExpiredSignature => {
            Refused { code: Code::TokenExpired, detail: "the token has expired; ask for a new one" }
        }
        ErrorKind::InvalidAudience => invalid("the token is for another audience; ask this server's issuer for one"),
        ErrorKind::InvalidIssuer => invalid("the token is from another issuer; ask this server's issuer for one"),
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => {
            invalid("the token lacks a claim that every token of this server has; ask for a new one")
        }
        _ => invalid("the token's signature is not this server's; ask for a new one"),
    }
}
