//! `bulkhead completion`: what a shell needs to complete this command line.
//!
//! Must never: offer commands that the help hides.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell, for instance `source <(bulkhead completion bash)`
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// Where standard output is closed.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut command = crate::arguments::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "bulkhead", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}
