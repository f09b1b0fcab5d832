//! A file sealed whole, for a process that has a master key and no tenants' keys: a worker.
//!
//! An envelope has a data key of its own, wrapped by the master key: format (now 1), id of the master key (8), length of the wrapped key
//! (2, big-endian), the wrapped key, nonce (24), ciphertext, tag (16). Key and content are both tied to the envelope's name.
//! Must never: use a data key for a second envelope.

use crate::aead;
use crate::error::VaultError;
use crate::key::DataKey;
use crate::master::{ID_BYTES, MasterKeyId};
use crate::place::{self, Place};
use crate::vault::Vault;
use zeroize::Zeroizing;

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + ID_BYTES + 2;

impl Vault {
    /// Seals bytes under this name.
    ///
    /// # Errors
    /// Where the master key is away, or the system has no random bytes.
    pub fn envelop(&self, name: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let aad = place::of_envelope(name);
        let key = DataKey::generate()?;
        let wrapped = self.current().wrap(&aad, &key)?;
        let length = u16::try_from(wrapped.len()).map_err(|_| VaultError::master("a wrapped key is too long"))?;
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.master().0);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&wrapped);
        aead::seal(&key, &aad, plain, &mut bytes)?;
        Ok(bytes)
    }

    /// Opens what was sealed under this name.
    ///
    /// # Errors
    /// [`Code::SealBroken`](bulkhead_core::code::Code::SealBroken) where it was changed or has another name; as [`MasterKey::unwrap`](crate::MasterKey::unwrap).
    pub fn unveil(&self, name: Place<'_>, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let broken = || VaultError::sealed("an envelope does not open");
        let aad = place::of_envelope(name);
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(broken)?;
        if header[0] != FORMAT {
            return Err(broken());
        }
        let id = MasterKeyId(header[1..=ID_BYTES].try_into().map_err(|_| broken())?);
        let length = usize::from(u16::from_be_bytes([header[1 + ID_BYTES], header[2 + ID_BYTES]]));
        let (wrapped, sealed) = rest.split_at_checked(length).ok_or_else(broken)?;
        let key = self.master_of(id, "an envelope")?.unwrap(&aad, wrapped)?;
        aead::open(&key, &aad, sealed).ok_or_else(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalMaster;
    use crate::master::MasterKey;
    use std::sync::Arc;

    #[test]
    fn an_envelope_opens_under_its_name_and_master_key_only_and_after_a_rotation() {
        let master = || -> Arc<dyn MasterKey> { Arc::new(LocalMaster::generate().unwrap()) };
        let (old, new) = (master(), master());
        let name = Place(&["worker", "pool-0"]);
        let sealed = Vault::new(old.clone(), None).envelop(name, b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        let rotated = Vault::new(new.clone(), Some(old));
        assert_eq!(rotated.unveil(name, &sealed).unwrap().as_slice(), b"hunter2");
        assert!(rotated.unveil(Place(&["worker", "pool-1"]), &sealed).is_err());
        assert!(Vault::new(new, None).unveil(name, &sealed).is_err());
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert!(rotated.unveil(name, &changed).is_err(), "byte {byte} does not matter");
            assert!(rotated.unveil(name, &sealed[..byte]).is_err(), "{byte} bytes are enough");
        }
    }
}
