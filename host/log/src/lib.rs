//! The log: the port and its two implementations, Apache Kafka and an embedded log on SQLite.
//!
//! Must never: know what a tenant or a guest is; it moves columns between physical topics.

pub mod conformance;
pub mod embedded;
pub mod inject;
pub mod kafka;
mod port;
mod wake;

pub use port::*;
