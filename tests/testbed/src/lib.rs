//! Runs the real thing for tests: `bulkhead serve` processes, their HTTP API and metrics, and the examples' stages.
//!
//! ```no_run
//! use bulkhead_testbed::{Control, Host, Line, Serve, stage};
//!
//! let host = Host::start(Serve::all())?;
//! let acme = host.tenant("acme")?;
//! acme.create_topic("flights", 4)?;
//! acme.upload("flights-enrich", "v1", std::fs::read(stage("flights-enrich")?)?)?;
//! acme.produce("flights", &[Line::text("UA1545", r#"{"carrier":"UA"}"#)])?;
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Everything blocks; whatever waits has a deadline and says at its end what it last saw. Processes die with the process that started
//! them, and their logs are shown where a test panics.
//! Must never: reach past what users have (command line, HTTP, Kafka), or wait for a time instead of a condition.

mod api;
mod binary;
mod error;
mod folder;
mod host;
mod kafka;
mod metrics;
mod process;
mod records;
mod wait;

pub use api::{Control, Status, Tenant};
pub use binary::{bulkhead, root, stage, target};
pub use error::Refused;
pub use folder::Folder;
pub use host::Host;
pub use kafka::{KafkaLogin, bulkhead_acls};
pub use metrics::Scrape;
pub use process::{Ended, Process, Role, Serve};
pub use records::{Line, Read};
pub use wait::{DEADLINE, until, until_within};
