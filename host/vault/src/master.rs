//! The port to the master key: shaped like a key service, which wraps and unwraps and never shows its key.
//!
//! Must never: grow a function that gives the master key out.

use crate::error::VaultError;
use crate::key::DataKey;
use sha2::{Digest, Sha256};
use std::fmt;

/// Bytes of a [`MasterKeyId`].
pub(crate) const ID_BYTES: usize = 8;

/// Names a master key among those that an operator has had. It says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MasterKeyId(pub(crate) [u8; ID_BYTES]);

impl MasterKeyId {
    /// The id of what bears this name, or has this much entropy: the first bytes of a SHA-256.
    pub(crate) fn of(kind: &str, what: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(kind.as_bytes()).chain_update([0]).chain_update(what).finalize();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&digest[..ID_BYTES]);
        Self(id)
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A master key, wherever it is. Its functions may wait for a program or a network: call them where a thread may be held up.
pub trait MasterKey: Send + Sync + fmt::Debug {
    /// Which one it is; the same for as long as it opens the same.
    fn id(&self) -> MasterKeyId;

    /// A data key that only this master key opens again, and only for this `place`.
    ///
    /// # Errors
    /// [`Code::MasterKeyUnusable`](bulkhead_core::code::Code::MasterKeyUnusable) where the master key is away.
    fn wrap(&self, place: &[u8], key: &DataKey) -> Result<Vec<u8>, VaultError>;

    /// The data key.
    ///
    /// # Errors
    /// [`Code::KeyNotOpened`](bulkhead_core::code::Code::KeyNotOpened) where it was wrapped by another master key or for another
    /// place; [`Code::MasterKeyUnusable`](bulkhead_core::code::Code::MasterKeyUnusable) where the master key is away.
    fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<DataKey, VaultError>;
}
