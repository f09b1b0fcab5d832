//! The embedded issuer: signs tokens with the key of the data folder.
//!
//! `bulkhead token` and the demo use it without a running server; the API uses it for a tenant's own tokens.
//! Must never: sign a token whose roles and tenant do not fit together, or one that lives longer than [`TOKEN_LIFE_MAX`].

use super::verify::Embedded;
use super::{Claims, Role, coherent, has_slot, key};
use crate::folder::OpenError;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The longest life of a token. There is no revocation list: a stolen token is worth at most this long.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// The longest subject, in bytes: it stands in every audit row.
const SUBJECT_BYTES_MAX: usize = 200;

/// What stands in every token of an issuer.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// The `iss`.
    pub issuer: String,
    /// The `aud`.
    pub audience: String,
    /// The life of a token for which none is named.
    pub token_life: Duration,
}

impl From<&crate::ControlConfig> for IssuerConfig {
    fn from(config: &crate::ControlConfig) -> Self {
        Self { issuer: config.issuer.clone(), audience: config.audience.clone(), token_life: config.token_life }
    }
}

/// What a token is to allow.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who it is for, at most 200 bytes; shown in the audit.
    pub subject: String,
    /// For which tenant; `None` for a platform admin, and for a worker of the pool.
    pub tenant: Option<TenantId>,
    /// The roles; of a tenant's token there may be none, and bindings say what it is worth.
    pub roles: BTreeSet<Role>,
    /// A worker's slot: it can fetch and report as this one only.
    pub slot: Option<String>,
    /// How long it lives; `None` for the issuer's default.
    pub life: Option<Duration>,
}

impl Grant {
    /// A token of one role with the default life.
    pub fn new(subject: impl Into<String>, tenant: Option<TenantId>, role: Role) -> Self {
        Self { subject: subject.into(), tenant, roles: BTreeSet::from([role]), slot: None, life: None }
    }

    /// The token of a worker in this slot, of the pool or of one tenant.
    pub fn worker(slot: &str, tenant: Option<TenantId>) -> Self {
        Self { slot: Some(slot.to_owned()), ..Self::new(format!("worker {slot}"), tenant, Role::Worker) }
    }
}

/// Signs tokens. Cheap to clone.
#[derive(Clone)]
pub struct Issuer {
    inner: Arc<Inner>,
}

struct Inner {
    config: IssuerConfig,
    key: EncodingKey,
    public: Jwk,
    kid: String,
    for_everybody: bool,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("kid", &self.inner.kid).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Opens the issuer of a data folder, making its key where there is none. Does not need the folder to itself.
    ///
    /// # Errors
    /// Where the key cannot be read or made, is no Ed25519 key, or may be read by group or others.
    ///
    /// # Ambient authority
    /// Whoever can read the folder can make any token.
    pub fn open(data_dir: &Path, config: IssuerConfig) -> Result<Self, OpenError> {
        let path = data_dir.join("keys").join("issuer.pem");
        let pem = key::load_or_make(&path)?;
        Self::of(&pem, config, true).map_err(|error| {
            let message = format!("the issuer's key `{}` is not an Ed25519 key in PKCS #8", path.display());
            OpenError::because(Code::ConfigInvalid, message, error)
        })
    }

    /// An issuer for this process alone, with a key that is nowhere but in its memory: for a control whose people and machines log in at an
    /// identity provider. Its worker has a token of it, and who makes the default tenant.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub(crate) fn in_memory(config: IssuerConfig) -> Result<Self, OpenError> {
        let failed = |error: &dyn std::fmt::Display| {
            OpenError::new(Code::Internal, format!("cannot make a key for this process: {error}"))
        };
        let pem = key::fresh().map_err(|error| failed(&error))?;
        Self::of(pem.as_bytes(), config, false).map_err(|error| failed(&error))
    }

    fn of(pem: &[u8], config: IssuerConfig, for_everybody: bool) -> jsonwebtoken::errors::Result<Self> {
        let key = EncodingKey::from_ed_pem(pem)?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDSA)?;
        let kid = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { inner: Arc::new(Inner { config, key, public, kid, for_everybody }) })
    }

    /// Whether tokens of all roles are taken of it. If not, there are only those that this process makes for itself.
    pub fn is_for_everybody(&self) -> bool {
        self.inner.for_everybody
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where the grant makes no sense or asks for too long a life.
    ///
    /// # Ambient authority
    /// Grants what the roles allow. Call it where the caller's right to grant that has just been established.
    pub fn mint(&self, grant: &Grant) -> Result<String, MintError> {
        let life = grant.life.unwrap_or(self.inner.config.token_life);
        if life.is_zero() || life > TOKEN_LIFE_MAX {
            return Err(MintError::Life);
        }
        if grant.subject.is_empty() || grant.subject.len() > SUBJECT_BYTES_MAX || has_controls(&grant.subject) {
            return Err(MintError::Subject);
        }
        if !coherent(grant.tenant.as_ref(), &grant.roles) || !has_slot(&grant.roles, grant.slot.as_deref()) {
            return Err(MintError::Roles);
        }
        let iat = jsonwebtoken::get_current_timestamp();
        let claims = Claims {
            iss: self.inner.config.issuer.clone(),
            aud: self.inner.config.audience.clone(),
            sub: grant.subject.clone(),
            iat,
            exp: iat + life.as_secs().max(1),
            jti: uuid::Uuid::now_v7().to_string(),
            tenant: grant.tenant.clone(),
            slot: grant.slot.clone(),
            roles: grant.roles.clone(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.inner.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.inner.key).map_err(|error| MintError::Signing(error.to_string()))
    }

    /// The `iss` of what it signs.
    pub(crate) fn name(&self) -> &str {
        &self.inner.config.issuer
    }

    /// Signs something that is no token. `kind` is the `typ` of its header; without a token's claims, no verifier of tokens takes it.
    pub(crate) fn sign(&self, kind: &str, claims: &impl serde::Serialize) -> Result<String, MintError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(kind.to_owned());
        header.kid = Some(self.inner.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.inner.key).map_err(|error| MintError::Signing(error.to_string()))
    }

    /// The public key as a JSON Web Key Set, for others who want to check what it signs.
    pub fn key_set(&self) -> JwkSet {
        JwkSet { keys: vec![self.inner.public.clone()] }
    }

    /// What a document is signed with: the issuer's name, the key's, and the key.
    pub(super) fn signing(&self) -> (&str, &str, &EncodingKey) {
        (&self.inner.config.issuer, &self.inner.kid, &self.inner.key)
    }

    /// What checks this issuer's tokens.
    pub(crate) fn verifier(&self) -> Result<Embedded, OpenError> {
        let key = DecodingKey::from_jwk(&self.inner.public)
            .map_err(|error| OpenError::because(Code::Internal, "the issuer's public key is not usable", error))?;
        Ok(Embedded::new(key, self.inner.kid.clone(), &self.inner.config, self.inner.for_everybody))
    }
}

fn has_controls(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Why no token was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The life is zero or too long.
    #[error("a token lives at least a second and at most 24 hours")]
    Life,
    /// The subject is empty, too long or not printable.
    #[error("a subject has 1 to 200 bytes and no control characters")]
    Subject,
    /// Roles and tenant do not fit together.
    #[error(
        "these do not fit together: platform-admin has no tenant, worker has a slot and no other role beside it, and all others have a tenant"
    )]
    Roles,
    /// The key did not sign.
    #[error("the key did not sign: {0}")]
    Signing(String),
}
