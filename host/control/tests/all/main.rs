//! Control over a real socket with real metadata, keys and object store; only the two ports are small stand-ins in memory,
//! which is what ports are for.
//!
//! One binary, a module for each thing that a user would miss. The binary `all` keeps its metadata in SQLite; others (`../postgres.rs`) run
//! every one of these tests on another database: [`metadata`] knows which by the binary's name.

mod access;
pub(crate) mod audit;
mod audit_topic;
pub(crate) mod chains;
mod cleanup;
pub(crate) mod client;
mod conditions;
mod dead_letters;
mod description;
mod entries;
pub(crate) mod harness;
mod limits;
mod lives;
mod logs;
mod matrix;
pub(crate) mod metadata;
mod named;
pub(crate) mod pipelines;
mod placements;
pub(crate) mod ports;
mod problems;
mod projects;
mod rates;
mod records;
mod repeats;
mod restart;
mod revisions;
mod starts;
pub(crate) mod streams;
mod tags;
mod tenants;
mod tokens;
mod uploads;
mod usage;
mod uses;
pub(crate) mod workers;
