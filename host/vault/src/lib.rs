//! Keys: what is kept is sealed under its tenant's key, and that under the master key.
//!
//! ```text
//! master key ──wraps──▶ a tenant's data keys, by version ──seal──▶ secrets, config
//!                                                        ──derive─▶ a pipeline's keys ──seal──▶ dead letters, changes of state
//! ```
//!
//! The master key never leaves its [`MasterKey`]: a file, an environment variable, or a program that speaks to a key service. What the
//! database holds is useless without it; and without a tenant's wrapped keys, everything that was sealed under them is noise
//! (*shredding*). Both keys rotate: the master key by wrapping every data key again ([`Vault::wrapped_by_current`]), a tenant's
//! key by a new version that seals from then on, while the earlier ones still open ([`TenantKeys`]).
//!
//! # Formats
//!
//! All integers are big-endian; the cipher is XChaCha20-Poly1305 with a random nonce of 24 bytes.
//!
//! | a sealed value | bytes | a wrapped key | bytes |
//! |---|--:|---|--:|
//! | format, now 1 | 1 | format, now 1 | 1 |
//! | version of the tenant's key | 4 | id of the master key | 8 |
//! | nonce | 24 | what the master key made of it; of a local one: nonce, ciphertext, tag | any; 24 + 32 + 16 |
//! | ciphertext | as the plaintext | | |
//! | tag | 16 | | |
//!
//! The tag also covers where a value belongs (the *associated data*): the format's name, the tenant, the key's version and the parts of
//! a [`Place`], each with its length before it. So a value that was copied to another tenant, name or version does not open, and
//! neither does a key that was copied to another tenant.
//!
//! What holds a key or an opened value is zeroed when dropped, prints nothing with `{:?}`, and is in no error.
//! Must never: show a key or a plaintext in a message or a log, or use a nonce twice.

#![forbid(unsafe_code)]

mod aead;
mod command;
mod envelope;
mod error;
mod key;
mod letter;
mod local;
mod master;
mod memory;
mod pipeline;
mod place;
mod source;
mod tenant;
mod vault;

pub use command::CommandMaster;
pub use error::VaultError;
pub use key::{DataKey, KEY_BYTES};
pub use letter::{LetterPlace, SEALED_LETTER_BYTES};
pub use local::LocalMaster;
pub use master::{MasterKey, MasterKeyId};
pub use memory::{HASH_BYTES, MEMORY_SEAL_BYTES, MemoryKey};
pub use pipeline::{NAME_FORMAT, PipelineKeys};
pub use place::Place;
pub use source::{MasterKeySource, MasterKeySourceError};
pub use tenant::{SEAL_BYTES, TenantKeys};
pub use vault::{Vault, WrappedKey};
