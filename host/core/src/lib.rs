//! Bulkhead's nouns: names, scopes, manifests, limits, columns, faults and error codes.
//!
//! Every other crate knows this one; it knows none of them, does no I/O and has no runtime.
//! Must never: depend on a runtime, a database, a network or a sandbox.

#![forbid(unsafe_code)]

pub mod assignment;
pub mod audit;
pub mod bucket;
pub mod code;
pub mod columns;
pub mod dead_letter;
pub mod fault;
pub mod grant;
pub mod limits;
pub mod log_line;
pub mod manifest;
pub mod name;
pub mod rate;
pub mod replay;
pub mod reserved;
pub mod scope;
pub mod secret;
pub mod tenant_limits;
pub mod time;
pub mod turns;
pub mod usage;
