//! Why something could not be sealed, opened, wrapped or unwrapped.
//!
//! Must never: hold a key, a plaintext or a ciphertext, or say which byte of one was wrong.

use bulkhead_core::code::Code;

/// Why the vault did not do what it was asked, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct VaultError {
    /// The page that explains it.
    pub code: Code,
    /// What to do. Holds names of tenants at most.
    pub message: String,
}

impl VaultError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The master key cannot be used.
    pub(crate) fn master(message: impl Into<String>) -> Self {
        Self::new(Code::MasterKeyUnusable, message)
    }

    /// The master key does not open a tenant's key.
    pub(crate) fn unwrap(message: impl Into<String>) -> Self {
        Self::new(Code::KeyNotOpened, message)
    }

    /// What was kept is not what was sealed here.
    pub(crate) fn sealed(message: impl Into<String>) -> Self {
        Self::new(Code::SealBroken, message)
    }
}
