//! What `fire` can be told.
//!
//! Must never: have a default that shows less than the whole.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// How consumers join groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// KIP-848.
    Consumer,
    /// The cooperative classic one.
    Classic,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Classic => "classic",
        }
    }
}

/// Exactly once under fire.
#[derive(Debug, Clone, Parser)]
#[command(name = "fire")]
pub(crate) struct Options {
    /// Flights to send through; more than the repository's sample has need --archive
    #[arg(long, default_value_t = bulkhead_example_data::FLIGHTS)]
    pub(crate) flights: usize,
    /// The data set's archive
    #[arg(long, env = "BULKHEAD_FLIGHTS_ARCHIVE")]
    pub(crate) archive: Option<PathBuf>,
    /// Seconds over which the flights are written
    #[arg(long, default_value_t = 130)]
    pub(crate) seconds: u32,
    /// Workers killed with SIGKILL
    #[arg(long, default_value_t = 5)]
    pub(crate) worker_kills: usize,
    /// Leaders of an input partition killed with SIGKILL
    #[arg(long, default_value_t = 1)]
    pub(crate) broker_kills: usize,
    /// Partitions of the input
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(2..=64))]
    pub(crate) partitions: i32,
    /// How the workers join their group
    #[arg(long, value_enum, default_value = "consumer")]
    pub(crate) protocol: Protocol,
}
