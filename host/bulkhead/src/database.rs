//! `bulkhead database`: what is done to the metadata's database outside of a running host.
//!
//! Must never: show an address, which holds a password.

use crate::arguments::{DatabaseArguments, DatabaseCommand};
use bulkhead_control::ControlConfig;
use std::path::Path;
use std::time::Duration;

/// Runs a command.
///
/// # Errors
/// Where the database cannot be prepared; the message begins with a code.
pub(crate) fn run(command: &DatabaseCommand) -> anyhow::Result<()> {
    let DatabaseCommand::Migrate(arguments) = command;
    crate::logging::start("info");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bulkhead_control::migrate_database(&config(Path::new(""), arguments)))?;
    println!("the metadata's tables are those of this version");
    Ok(())
}

/// Control's configuration, with its metadata where the arguments say.
pub(crate) fn config(data_dir: &Path, arguments: &DatabaseArguments) -> ControlConfig {
    ControlConfig {
        database_url_file: arguments.database_url_file.clone(),
        database_owner_url_file: arguments.database_owner_url_file.clone(),
        database_wait: Duration::from_secs(arguments.database_wait_s),
        metadata_placement: arguments.metadata_placement,
        database_connections_max: arguments.database_connections_max,
        ..ControlConfig::new(data_dir)
    }
}
