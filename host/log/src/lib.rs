//! The log: the port and its two implementations, Apache Kafka and an embedded log on SQLite.
//!
//! Must never: know what a tenant or a guest is; it moves columns between physical topics.

mod at_rest;
mod changes;
pub mod conformance;
pub mod embedded;
pub mod inject;
pub mod kafka;
mod port;
mod wake;

pub use at_rest::{AtRest, RunPlace};
pub use changes::Changes;
pub use port::*;
