//! The whole suite of control with its metadata on a real PostgreSQL, in tables that all tenants share.

#[path = "all/main.rs"]
mod all;

// Where the tests look for each other.
use all::{audit, chains, client, harness, metadata, pipelines, ports, streams, workers};
