//! The audit: who did what or tried to, in chains of lines that cannot be changed unseen.
//!
//! A tenant has a chain and so has the platform. `line` says what is written and into which chain, `writer` appends it, many requests in
//! one transaction, `trail` adds what became of a change, `checkpoint` signs what a chain is, `upkeep` prunes it, and `publish` sends a tenant's lines to
//! its topic. What a line is as bytes and how a chain is checked is [`bulkhead_core::audit`].
//! Must never: hold a body, a token or a secret, or put a tenant's name or subject into a chain that another tenant reads.

pub(crate) mod checkpoint;
pub(crate) mod line;
pub(crate) mod publish;
pub(crate) mod trail;
pub(crate) mod upkeep;
pub(crate) mod writer;

pub use checkpoint::{BadCheckpoint, read_checkpoint};

/// The keys of an issuer, as `/.well-known/jwks.json` gives them.
pub use jsonwebtoken::jwk::JwkSet;
