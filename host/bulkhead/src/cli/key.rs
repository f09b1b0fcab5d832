//! `bulkhead key`: the versions of the tenant's key, under which its secrets and config are sealed.
//!
//! Must never: show a key.

use super::config::Connection;
use super::output::{self, cell};
use super::session::{Session, items};
use clap::{Args, Subcommand};
use serde_json::Value;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the versions of the tenant's key
    List,
    /// Make a new version, and seal secrets and config under it; pipelines run on
    Rotate,
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    let answer = match arguments.verb {
        Verb::List => session.get(&session.of_tenant("/keys")?).await?,
        Verb::Rotate => session.post(&session.of_tenant("/keys/rotate")?, &Value::Null).await?,
    };
    let row = |key: &Value| ["version", "current", "createdAt", "createdBy"].map(|field| cell(&key[field])).to_vec();
    let rows = items(&answer).iter().map(row).collect();
    session.show(&answer, || output::table(&["VERSION", "SEALS", "MADE", "BY"], rows, "no key yet"))
}
