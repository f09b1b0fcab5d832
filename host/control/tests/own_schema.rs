//! The whole suite of control with its metadata on a real PostgreSQL, in a schema of each tenant's own.

#[path = "all/main.rs"]
mod all;

// Where the tests look for each other.
use all::{audit, chains, client, harness, metadata, pipelines, ports, streams, workers};
