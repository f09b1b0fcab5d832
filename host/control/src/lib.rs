//! The control plane: metadata, tokens, policy, audit and the HTTP API.
//!
//! A request takes this way, and there is no other:
//!
//! ```text
//! edge ─▶ route ─▶ token ─▶ policy (audit row) ─▶ Permit ─▶ handler ─▶ store · objects · ports
//! ```
//!
//! [`Control::open`] opens the data folder, [`Control::router`] is the whole API for whoever binds the socket, and
//! [`Control::run`] does what deletions left behind. The engine and the log are reached through the two ports in [`port`], so
//! that this crate links neither.
//! Must never: bind a socket, spawn a task that outlives its request by more than a bounded time, or touch the log or a
//! guest.

#![forbid(unsafe_code)]

mod anomalies;
mod api;
pub mod audit;
mod blobs;
mod cleanup;
mod condition;
mod config;
mod control;
mod counted;
mod diff;
mod erasure;
mod export_check;
mod folder;
mod live;
mod metrics;
mod news;
mod paced;
mod patient;
mod peer;
mod plans;
pub mod policy;
pub mod port;
mod problem;
mod rates;
mod sealing;
mod store;
mod throughput;
mod token;
mod usage;
mod watch;

pub use api::{Access, RouteInfo, openapi, routes};
pub use config::ControlConfig;
pub use control::{Control, migrate_database};
pub use erasure::verify_report;
pub use export_check::check_export;
pub use folder::OpenError;
pub use patient::{Connection, Patient};
pub use peer::{Network, NoNetwork, Peer};
pub use plans::{Plans, RawPlans, STANDARD};
pub use rates::Rate;
pub use store::MetadataPlacement;
pub use token::{
    DEFAULT_TENANT_MAKER, Grant, Issuer, IssuerConfig, Login, MintError, OidcConfig, Principal, Role, Standing,
    TOKEN_LIFE_MAX, UnknownRole,
};
