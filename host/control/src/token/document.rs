//! Documents that are not tokens, signed with the issuer's key.
//!
//! Must never: be accepted as a token, or a token as one of these: the type in the header keeps them apart.

use super::Issuer;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::Value;

impl Issuer {
    /// Signs a JSON object; issuer and time are added to it.
    ///
    /// # Errors
    /// Where the key does not sign.
    pub(crate) fn sign_document(&self, kind: &str, mut document: Value) -> Result<String, String> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(kind.to_owned());
        let (name, kid, key) = self.signing();
        header.kid = Some(kid.to_owned());
        document["iss"] = name.into();
        document["iat"] = jsonwebtoken::get_current_timestamp().into();
        jsonwebtoken::encode(&header, &document, key).map_err(|error| format!("the key did not sign: {error}"))
    }
}

/// Reads a document of this kind that the owner of one of these keys has signed.
pub(crate) fn verify_document(kind: &str, signed: &str, key_set: &Value) -> Result<Value, String> {
    let signed = signed.trim();
    let header = jsonwebtoken::decode_header(signed).map_err(|_| "it is no JSON Web Signature")?;
    if header.typ.as_deref() != Some(kind) {
        return Err(format!("it is not of the type `{kind}`"));
    }
    let keys: JwkSet =
        serde_json::from_value(key_set.clone()).map_err(|error| format!("that is no key set: {error}"))?;
    let kid = header.kid.ok_or("it does not say which key has signed it")?;
    let key = keys.find(&kid).ok_or("it was signed with a key that the server does not have")?;
    let key = DecodingKey::from_jwk(key).map_err(|error| format!("the server's key is not usable: {error}"))?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let data = jsonwebtoken::decode::<Value>(signed, &key, &validation);
    data.map(|data| data.claims)
        .map_err(|_| "its signature does not fit: it was changed, or is not this server's".to_owned())
}
