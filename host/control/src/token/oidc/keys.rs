//! A provider's keys, each pinned to the one algorithm that it is for.
//!
//! A key's id is looked up as it stands: it may look like a path or a URL, and is never more than a name in a map.
//! Must never: hold a symmetric key, or a key whose algorithm a token could choose.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use std::collections::HashMap;

/// Keys of one set that are looked at; a provider that rotates has two or three.
const KEYS_MAX: usize = 100;
/// Bytes of a key's id at most, in a set and in a token.
pub(super) const KID_BYTES_MAX: usize = 256;
/// Bits of an RSA modulus. Below, signatures can be forged; above, checking one takes too long.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// A key and what it is for.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys of a provider, by id.
pub(super) struct Ring(HashMap<String, Key>);

impl Ring {
    /// What can be used of a key set. Keys for encryption, of unknown kinds, without an id, or too weak are passed over.
    pub(super) fn of(set: &[Value]) -> Self {
        let mut keys = HashMap::new();
        for jwk in set.iter().take(KEYS_MAX).filter_map(|value| serde_json::from_value::<Jwk>(value.clone()).ok()) {
            if let Some((kid, key)) = usable(&jwk) {
                // Of two keys with one id the first counts: the second cannot take its place.
                keys.entry(kid).or_insert(key);
            }
        }
        Self(keys)
    }

    pub(super) fn find(&self, kid: &str) -> Option<&Key> {
        self.0.get(kid)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let kid = jwk.common.key_id.clone().filter(|kid| (1..=KID_BYTES_MAX).contains(&kid.len()))?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = pinned(jwk)?;
    Some((kid, Key { algorithm, key: DecodingKey::from_jwk(jwk).ok()? }))
}

/// The algorithm that a key is for: the one that it names, if its kind can do that; else the usual one of its kind.
fn pinned(jwk: &Jwk) -> Option<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let able: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if RSA_BITS.contains(&bits(&rsa.n)?) => {
            &[RS256, RS384, RS512, PS256, PS384, PS512]
        }
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => &[],
    };
    let Some(named) = &jwk.common.key_algorithm else { return able.first().copied() };
    named.to_string().parse().ok().filter(|algorithm| able.contains(algorithm))
}

/// Bits of a modulus, leading zero bytes left out.
fn bits(modulus: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(modulus).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some((bytes.len() - zeros) * 8)
}
