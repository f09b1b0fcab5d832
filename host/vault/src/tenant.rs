//! A tenant's data keys, opened: the newest seals, all of them open.
//!
//! Must never: outlive the work it was opened for by much; shredding removes the wrapped keys, not what a process holds.

use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::error::VaultError;
use crate::key::DataKey;
use crate::place::{self, Place};
use bulkhead_core::name::TenantId;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The format of a sealed value.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 5;
/// Bytes that sealing adds to a value.
pub const SEAL_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct TenantKeys {
    tenant: TenantId,
    keys: BTreeMap<u32, DataKey>,
}

impl TenantKeys {
    pub(crate) fn new(tenant: TenantId, keys: BTreeMap<u32, DataKey>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { tenant, keys })
    }

    /// Whose they are.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The version that seals.
    pub fn current(&self) -> u32 {
        self.keys.last_key_value().map_or(0, |(version, _)| *version)
    }

    /// Seals a value for its place.
    ///
    /// # Errors
    /// Where the system has no random bytes.
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (version, key) = self.keys.last_key_value().ok_or_else(|| self.shredded())?;
        seal(key, *version, &place::of_value(&self.tenant, *version, place), plain)
    }

    /// Opens a value that was sealed for this place, under whichever version.
    ///
    /// # Errors
    /// [`Code::SealBroken`](bulkhead_core::code::Code::SealBroken) where it was changed, or sealed for another tenant or place;
    /// [`Code::KeysShredded`](bulkhead_core::code::Code::KeysShredded) where its key is gone.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let broken = || VaultError::sealed(format!("a value of tenant `{}` does not open", self.tenant));
        let version = version_of(sealed).ok_or_else(broken)?;
        let key = self.keys.get(&version).ok_or_else(|| self.shredded())?;
        open(key, &place::of_value(&self.tenant, version, place), sealed).ok_or_else(broken)
    }

    /// The keys by version, the oldest first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (u32, &DataKey)> {
        self.keys.iter().map(|(version, key)| (*version, key))
    }

    /// Bytes that only whoever has the tenant's first key can know, and that rotation does not change: hashed before something short, they
    /// keep the hash from being found by trying.
    pub fn pepper(&self) -> Zeroizing<[u8; 32]> {
        let mut hash = Sha256::new().chain_update(b"bulkhead.pepper.1\0");
        if let Some((_, first)) = self.keys.first_key_value() {
            hash.update(first.expose());
        }
        Zeroizing::new(hash.finalize().into())
    }

    fn shredded(&self) -> VaultError {
        let message = format!("a key of tenant `{}` is gone, and what it sealed with it", self.tenant);
        VaultError::new(bulkhead_core::code::Code::KeysShredded, message)
    }
}

/// A sealed value, as the crate's documentation has it.
pub(crate) fn seal(key: &DataKey, version: u32, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut sealed = Vec::with_capacity(plain.len() + SEAL_BYTES);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&version.to_be_bytes());
    aead::seal(key, aad, plain, &mut sealed)?;
    Ok(sealed)
}

/// What [`seal`] gave, opened.
pub(crate) fn open(key: &DataKey, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    aead::open(key, aad, sealed.get(HEADER_BYTES..)?)
}

/// The version of the key that a value was sealed under.
pub(crate) fn version_of(sealed: &[u8]) -> Option<u32> {
    let (header, _) = sealed.split_at_checked(HEADER_BYTES)?;
    (header[0] == FORMAT).then(|| u32::from_be_bytes([header[1], header[2], header[3], header[4]]))
}
