//! A key that is nowhere but in this process's memory, for files that nobody is to read after it.
//!
//! What it seals is shorter than other sealed values, since there is one key and one process: a number that counts up is the nonce (8 bytes),
//! then ciphertext and tag (16). What names such a value on the disk is a hash that only this key gives.
//! Must never: be written anywhere, or use a number twice.

use crate::aead::{self, TAG_BYTES};
use crate::error::VaultError;
use crate::key::DataKey;
use crate::pipeline::mac;
use chacha20poly1305::XNonce;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Bytes that sealing under a [`MemoryKey`] adds to a value.
pub const MEMORY_SEAL_BYTES: usize = NUMBER_BYTES + TAG_BYTES;
/// Bytes of a [`MemoryKey::hash`].
pub const HASH_BYTES: usize = 16;
const NUMBER_BYTES: usize = 8;

/// See the module's documentation.
#[derive(Debug)]
pub struct MemoryKey {
    cipher: DataKey,
    hashes: DataKey,
    next: AtomicU64,
}

impl MemoryKey {
    /// A new one.
    ///
    /// # Errors
    /// Where the system has no random bytes.
    pub fn generate() -> Result<Self, VaultError> {
        Ok(Self { cipher: DataKey::generate()?, hashes: DataKey::generate()?, next: AtomicU64::new(0) })
    }

    /// The name of these bytes for the disk; the same each time.
    pub fn hash(&self, bytes: &[u8]) -> [u8; HASH_BYTES] {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(&mac(&self.hashes, &[bytes])[..HASH_BYTES]);
        hash
    }

    /// Seals a value that belongs to this name.
    ///
    /// # Errors
    /// Where it is too long.
    pub fn seal(&self, name: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        // Counted for as long as the process lives: 64 bits do not come to their end.
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut sealed = number.to_vec();
        aead::seal_beside(&self.cipher, &nonce(number), name, plain, &mut sealed)?;
        Ok(sealed)
    }

    /// Opens a value that was sealed for this name.
    ///
    /// # Errors
    /// [`Code::SealBroken`](bulkhead_core::code::Code::SealBroken) where it was changed, or belongs to another name or process.
    pub fn open(&self, name: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let broken = || VaultError::sealed("a value of this process's own does not open");
        let (number, rest) = sealed.split_first_chunk::<NUMBER_BYTES>().ok_or_else(broken)?;
        aead::open_beside(&self.cipher, &nonce(*number), name, rest).ok_or_else(broken)
    }
}

fn nonce(number: [u8; NUMBER_BYTES]) -> XNonce {
    let mut nonce = XNonce::default();
    nonce[..NUMBER_BYTES].copy_from_slice(&number);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_for_its_name_under_its_key_only() {
        let (key, other) = (MemoryKey::generate().unwrap(), MemoryKey::generate().unwrap());
        let sealed = key.seal(b"name", b"hunter2").unwrap();
        assert_eq!(sealed.len(), 7 + MEMORY_SEAL_BYTES);
        assert_ne!(sealed, key.seal(b"name", b"hunter2").unwrap(), "a nonce was used twice");
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(key.open(b"name", &sealed).unwrap().as_slice(), b"hunter2");
        assert!(key.open(b"other", &sealed).is_err() && other.open(b"name", &sealed).is_err());
        for byte in 0..sealed.len() {
            assert!(key.open(b"name", &sealed[..byte]).is_err(), "{byte} bytes are enough");
        }
        assert_eq!(key.hash(b"a"), key.hash(b"a"));
        assert!(key.hash(b"a") != key.hash(b"b") && key.hash(b"a") != other.hash(b"a"));
    }
}
