//! The record path: batches, the fair queue, guests, lanes, faults and dead letters.
//!
//! ```text
//! fetch ─▶ batch (columns) ─▶ fair queue ─▶ graph of stages ─▶ checks ─▶ lane: one transaction of outputs, dead letters and offsets
//! ```
//!
//! A record is committed with all that came of it, or not at all. Order is kept within a partition.
//! Must never: know HTTP, the database or the command line; it is told an assignment and gives a report.

#![forbid(unsafe_code)]

mod bucket;
mod config;
mod confirm;
mod dead_letter;
mod executor;
mod fair;
mod flow;
mod graph;
mod lane;
mod metrics;
mod modules;
mod parking;
mod pipeline;
mod replay;
mod secrets;
mod sink;
mod stage_call;
mod state;
mod tenant;
mod topics;
mod usage;
mod uses;
mod work;

pub use bulkhead_core::dead_letter::HEADER_PREFIX;
pub use config::FlowConfig;
pub use confirm::{Alone, StageRun};
pub use flow::{Flow, FlowParts, GuestLogs};
pub use metrics::PIPELINES_MAX;
pub use modules::ModuleSource;
pub use pipeline::source::stage_config;
pub use secrets::{SecretSource, granted_here};
pub use state::alone::{LocalStore, LocalStores};
pub use state::changelog::changelog_spec;
pub use tenant::{Kept, TenantMemory};
