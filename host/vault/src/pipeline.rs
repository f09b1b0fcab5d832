//! The keys of one pipeline: what it leaves in a log that does not seal what it keeps, its dead letters and the changes of its stages' state.
//!
//! They are derived from the tenant's keys, so that a worker holds those of the pipelines that it runs and no more:
//!
//! ```text
//! tenant's key, version n ──HMAC-SHA256──▶ seals values of version n
//! tenant's first key ──────HMAC-SHA256──▶ names
//! ```
//!
//! A *value* is sealed under the newest version, as [`TenantKeys`] seals one, and tied to the kind of thing that it is and to what it stands
//! beside. A *name* is for a compacted topic, where a later record replaces an earlier one of the same key: so the same name must be the same
//! bytes each time, for as long as the topic lives, or what was replaced or removed would come back. It is encrypted under a nonce that is
//! the HMAC of the name itself (a synthetic nonce), by a key that rotation does not change. Whoever reads the topic sees which records are of
//! the same name and how long it is, and not the name. That a null value, which removes, can be told whose it is needs the name in
//! the key: a hash alone would not do.
//!
//! | a name | bytes |
//! |---|--:|
//! | format, now 1 | 1 |
//! | nonce: the first bytes of the HMAC | 24 |
//! | ciphertext | as the name |
//! | tag | 16 |
//!
//! Must never: use a key of one pipeline for another, or the nonce of one name for another.

use crate::aead;
use crate::error::VaultError;
use crate::key::{DataKey, KEY_BYTES};
use crate::place;
use crate::tenant::{self, TenantKeys};
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::secret::{LentKey, LentKeys, SecretValue};
use chacha20poly1305::XNonce;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The format of a name. No plain key of a changelog begins with this byte.
pub const NAME_FORMAT: u8 = 1;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct PipelineKeys {
    /// As the operator is told.
    of: String,
    seals: BTreeMap<u32, DataKey>,
    names: DataKey,
    /// Derived from `names`: for the ciphertext, and for the nonce.
    cipher: DataKey,
    nonces: DataKey,
}

impl TenantKeys {
    /// The keys of one of the tenant's pipelines: of each version one.
    pub fn of_pipeline(&self, key: &PipelineKey) -> PipelineKeys {
        let parts = [self.tenant().as_str(), key.project.as_str(), key.pipeline.as_str()].map(str::as_bytes);
        let seals = self.versions().map(|(version, of)| (version, derived(of, b"bulkhead.pipeline.1", &parts)));
        let first = self.versions().next().map(|(_, of)| derived(of, b"bulkhead.pipeline-names.1", &parts));
        // There is a first: keys without any are never made.
        PipelineKeys::new(key, seals.collect(), first.unwrap_or_else(|| DataKey::from([0; KEY_BYTES])))
    }
}

impl PipelineKeys {
    fn new(key: &PipelineKey, seals: BTreeMap<u32, DataKey>, names: DataKey) -> Self {
        let [cipher, nonces] = [&b"cipher"[..], b"nonces"].map(|what| derived(&names, what, &[]));
        let of = format!("pipeline `{}` of tenant `{}`", key.pipeline, key.tenant);
        Self { of, seals, names, cipher, nonces }
    }

    /// The version that seals.
    pub fn current(&self) -> u32 {
        self.seals.last_key_value().map_or(0, |(version, _)| *version)
    }

    /// For the worker that runs the pipeline.
    pub fn lend(&self) -> LentKeys {
        let lent = |key: &DataKey| LentKey { key: SecretValue::new(key.expose().to_vec()) };
        LentKeys {
            names: lent(&self.names),
            versions: self.seals.iter().map(|(version, key)| (*version, lent(key))).collect(),
        }
    }

    /// What control lent for this pipeline.
    ///
    /// # Errors
    /// Where these are no keys.
    pub fn lent(key: &PipelineKey, lent: &LentKeys) -> Result<Self, VaultError> {
        let taken = |lent: &LentKey| DataKey::take(&mut Zeroizing::new(lent.key.expose().to_vec()));
        let seals = lent.versions.iter().map(|(version, lent)| Ok((*version, taken(lent)?)));
        Ok(Self::new(key, seals.collect::<Result<_, VaultError>>()?, taken(&lent.names)?))
    }

    /// Seals a value of this kind, which opens only beside the same `beside`.
    ///
    /// # Errors
    /// Where the system has no random bytes.
    pub fn seal(&self, kind: &str, beside: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (version, key) = self.seals.last_key_value().ok_or_else(|| self.gone())?;
        tenant::seal(key, *version, &place::of_part(kind, beside), plain)
    }

    /// Opens a value of this kind, sealed under whichever version.
    ///
    /// # Errors
    /// [`Code::SealBroken`](bulkhead_core::code::Code::SealBroken) where it was changed, or sealed for another pipeline or beside something
    /// else; [`Code::KeysShredded`](bulkhead_core::code::Code::KeysShredded) where the key of its version is not here.
    pub fn open(&self, kind: &str, beside: &[&[u8]], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let version = tenant::version_of(sealed).ok_or_else(|| self.broken())?;
        let key = self.seals.get(&version).ok_or_else(|| self.gone())?;
        tenant::open(key, &place::of_part(kind, beside), sealed).ok_or_else(|| self.broken())
    }

    /// The bytes that stand for a name of this kind, the same each time.
    ///
    /// # Errors
    /// Where it is too long.
    pub fn name(&self, kind: &str, name: &[u8]) -> Result<Vec<u8>, VaultError> {
        let kind = place::of_part(kind, &[]);
        let mac = mac(&self.nonces, &[&kind, name]);
        let mut nonce = XNonce::default();
        let bytes = nonce.len();
        nonce.copy_from_slice(&mac[..bytes]);
        let mut sealed = vec![NAME_FORMAT];
        aead::seal_with(&self.cipher, &nonce, &kind, name, &mut sealed)?;
        Ok(sealed)
    }

    /// The name that these bytes stand for.
    ///
    /// # Errors
    /// [`Code::SealBroken`](bulkhead_core::code::Code::SealBroken) where this pipeline gave no name such bytes.
    pub fn open_name(&self, kind: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (NAME_FORMAT, rest) =
            sealed.split_first().map(|(format, rest)| (*format, rest)).ok_or_else(|| self.broken())?
        else {
            return Err(self.broken());
        };
        aead::open(&self.cipher, &place::of_part(kind, &[]), rest).ok_or_else(|| self.broken())
    }

    fn broken(&self) -> VaultError {
        VaultError::sealed(format!("something sealed for {} does not open", self.of))
    }

    fn gone(&self) -> VaultError {
        let message = format!("a key of {} is not here, or gone, and what it sealed with it", self.of);
        VaultError::new(bulkhead_core::code::Code::KeysShredded, message)
    }
}

/// A key for these names, from which the first one cannot be found.
fn derived(from: &DataKey, what: &[u8], parts: &[&[u8]]) -> DataKey {
    let mut whole = Vec::new();
    [&[what], parts].concat().iter().for_each(|part| place::push(&mut whole, part));
    DataKey::from(mac(from, &[&whole]))
}

/// The HMAC of these parts, one after the other.
pub(crate) fn mac(key: &DataKey, parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    // HMAC takes a key of any length.
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.expose()).expect("any key will do");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
