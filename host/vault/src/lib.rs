//! Keys: what is kept is sealed under its tenant's key, and that under the master key.
//!
//! Must never: show a key in a message or a log.
