//! A key of 256 bits, and where random bytes come from.
//!
//! Must never: be printed, compared in the open, or left in memory when it is dropped.

use crate::error::VaultError;
use chacha20poly1305::aead::Generate;
use chacha20poly1305::{Key, XNonce};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of every key.
pub const KEY_BYTES: usize = 32;

/// A key that seals, zeroed when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; KEY_BYTES]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

impl From<[u8; KEY_BYTES]> for DataKey {
    fn from(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }
}

impl DataKey {
    /// A new random key, from the system.
    ///
    /// # Errors
    /// Where the system has no random bytes.
    pub fn generate() -> Result<Self, VaultError> {
        let mut key = Key::try_generate().map_err(no_random)?;
        let made = Self(key.into());
        key.as_mut_slice().zeroize();
        Ok(made)
    }

    /// A key from elsewhere, which is zeroed there.
    ///
    /// # Errors
    /// Where these are not [`KEY_BYTES`] bytes.
    pub fn take(bytes: &mut [u8]) -> Result<Self, VaultError> {
        let key = <[u8; KEY_BYTES]>::try_from(&*bytes).map(Self);
        bytes.zeroize();
        key.map_err(|_| VaultError::unwrap(format!("a key has {KEY_BYTES} bytes")))
    }

    /// The bytes, for a [`MasterKey`](crate::MasterKey) that wraps them.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// A nonce that was never used: 192 random bits.
pub(crate) fn nonce() -> Result<XNonce, VaultError> {
    XNonce::try_generate().map_err(no_random)
}

fn no_random(error: impl fmt::Display) -> VaultError {
    VaultError::master(format!("the system gives no random bytes: {error}"))
}
