//! The workspace's own rules, as tests: which crate may know which, where heavy dependencies live, what every source file must have.
//!
//! A rule that is broken on purpose is changed here, in the same commit and with the reason, so that it is seen.
//! Must never: be satisfied by a file or crate that it did not look at; each test says how much it saw at least.

#![forbid(unsafe_code)]

mod denials;
mod edges;
mod files;
mod limits;
mod metrics;
mod tenancy;
mod text;
mod threats;
mod unsafe_code;
mod workspace;
