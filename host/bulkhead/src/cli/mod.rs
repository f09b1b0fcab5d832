//! The command line of a tenant's developer: one file for each noun, over the same HTTP API that anybody can use.
//!
//! A command opens a [`session::Session`], asks, and prints: a table for people or the API's JSON for programs ([`output`]). What goes wrong ends in
//! [`failure`], which knows the exit codes. `new`, `run` and `completion` need no server.
//! Must never: reach past the API, or decide what control decides.

mod access;
mod audit;
mod completion;
mod config;
mod consume;
mod dead_letter;
mod entry;
mod events;
mod failure;
mod key;
mod login;
mod logs;
mod module;
mod new;
mod output;
mod pipeline;
mod plan;
mod produce;
mod progress;
mod project;
mod records;
mod run;
mod secret;
mod session;
mod tenant;
mod top;
mod topic;
mod usage;

pub(crate) use failure::EXIT_CODES;

use bulkhead_core::code::Code;
use clap::Subcommand;
use config::{Connection, Settings};
use failure::Complaint;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Commands of a tenant's developer.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a stage's project: it builds, tests and deploys as it stands
    New(new::Arguments),
    /// Run a stage on a file of records here, with the host's engine and limits
    Run(Box<run::Arguments>),
    /// Log in at a server, or store a token for it, and make it the default
    Login(login::Arguments),
    /// Forget the token for a server, and end its login
    Logout(login::Logout),
    /// Show whose token this is and what it allows
    Whoami(login::Who),
    /// See who has which role, give and take roles, and ask why something is allowed
    Access(access::Arguments),
    /// Make, see and delete tenants
    Tenant(tenant::Arguments),
    /// Make, see and delete plans, which say how much a tenant may
    Plan(plan::Arguments),
    /// Make, see and delete projects
    Project(project::Arguments),
    /// Set, see and delete config entries of a project, which stages take
    Config(entry::Arguments),
    /// Set, see and delete secrets of a project, which stages are granted
    Secret(secret::Arguments),
    /// See and rotate the tenant's key
    Key(key::Arguments),
    /// Make, see and delete topics
    Topic(topic::Arguments),
    /// Upload, see, tag and delete modules
    Module(module::Arguments),
    /// Apply manifests, see how pipelines fare, pause, roll back and delete
    Pipeline(pipeline::Arguments),
    /// Write records to a topic, from standard input or a file
    Produce(produce::Arguments),
    /// Read records of a topic
    Consume(consume::Arguments),
    /// Show what stages and Bulkhead itself say, as it was or as it comes
    Logs(logs::Arguments),
    /// See records that a stage could not handle, run them again, or drop them
    #[command(name = "deadletter")]
    DeadLetter(dead_letter::Arguments),
    /// See what pipelines do at the moment, the one that burns most first
    Top(top::Arguments),
    /// See what was used: records, bytes and fuel of committed work, and fuel that was wasted
    Usage(usage::Arguments),
    /// See who did what or tried to, and check that nobody has changed what is written of it
    Audit(audit::Arguments),
    /// Print a script that completes this command line in a shell
    Completion(completion::Arguments),
    /// Print the version
    Version,
}

impl Command {
    /// What it was told about the server; none where it needs no server.
    fn connection(&self) -> Option<&Connection> {
        match self {
            Self::New(_) | Self::Completion(_) | Self::Version => None,
            Self::Run(arguments) => Some(&arguments.connection),
            Self::Login(arguments) => Some(&arguments.connection),
            Self::Logout(arguments) => Some(&arguments.connection),
            Self::Whoami(arguments) => Some(&arguments.connection),
            Self::Access(arguments) => Some(&arguments.connection),
            Self::Tenant(arguments) => Some(&arguments.connection),
            Self::Plan(arguments) => Some(&arguments.connection),
            Self::Project(arguments) => Some(&arguments.connection),
            Self::Config(arguments) => Some(&arguments.connection),
            Self::Secret(arguments) => Some(&arguments.connection),
            Self::Key(arguments) => Some(&arguments.connection),
            Self::Topic(arguments) => Some(&arguments.connection),
            Self::Module(arguments) => Some(&arguments.connection),
            Self::Pipeline(arguments) => Some(&arguments.connection),
            Self::Produce(arguments) => Some(&arguments.connection),
            Self::Consume(arguments) => Some(&arguments.connection),
            Self::Logs(arguments) => Some(&arguments.connection),
            Self::DeadLetter(arguments) => Some(&arguments.connection),
            Self::Top(arguments) => Some(&arguments.connection),
            Self::Usage(arguments) => Some(&arguments.connection),
            Self::Audit(arguments) => Some(&arguments.connection),
        }
    }

    /// Whether it begins with a stored token that is good for a while: those that log in, log out or stay here need none.
    fn wants_token(&self) -> bool {
        !matches!(self, Self::Login(_) | Self::Logout(_) | Self::Run(_))
    }

    async fn run(self) -> anyhow::Result<()> {
        if let Some(connection) = self.connection().filter(|_| self.wants_token()) {
            login::renew_if_due(connection).await?;
        }
        match self {
            Self::New(arguments) => new::run(&arguments),
            Self::Run(arguments) => run::run(*arguments).await,
            Self::Login(arguments) => login::run(&arguments).await,
            Self::Logout(arguments) => login::logout(&arguments).await,
            Self::Whoami(arguments) => login::whoami(&arguments).await,
            Self::Access(arguments) => access::run(arguments).await,
            Self::Tenant(arguments) => tenant::run(arguments).await,
            Self::Plan(arguments) => plan::run(arguments).await,
            Self::Project(arguments) => project::run(arguments).await,
            Self::Config(arguments) => entry::run(arguments).await,
            Self::Secret(arguments) => secret::run(arguments).await,
            Self::Key(arguments) => key::run(arguments).await,
            Self::Topic(arguments) => topic::run(arguments).await,
            Self::Module(arguments) => module::run(arguments).await,
            Self::Pipeline(arguments) => pipeline::run(arguments).await,
            Self::Produce(arguments) => produce::run(arguments).await,
            Self::Consume(arguments) => consume::run(arguments).await,
            Self::Logs(arguments) => logs::run(arguments).await,
            Self::DeadLetter(arguments) => dead_letter::run(arguments).await,
            Self::Top(arguments) => top::run(&arguments).await,
            Self::Usage(arguments) => usage::run(&arguments).await,
            Self::Audit(arguments) => audit::run(arguments).await,
            Self::Completion(arguments) => completion::run(&arguments),
            Self::Version => output::line(&format!("bulkhead {}", env!("CARGO_PKG_VERSION"))),
        }
    }
}

/// Runs a command, says what went wrong, and gives the exit code.
pub(crate) fn main(command: Command) -> ExitCode {
    // Where the settings themselves are at fault, flags and environment still say how to tell it.
    let mut connection = command.connection().cloned().unwrap_or_default();
    if let Command::Login(login) = &command {
        // The server that it talks to, and so the one that a failure is told of.
        connection.server = login.address.clone().or(connection.server);
    }
    if let Command::Logout(logout) = &command {
        connection.server = logout.address.clone().or(connection.server);
    }
    let settings = Settings::of(&connection).ok();
    let format = settings.as_ref().map(|settings| settings.output).or(connection.output).unwrap_or_default();
    let server = settings.map(|settings| settings.server).unwrap_or_default();
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(command.run()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, &server, format),
    }
}

/// A file of the user's, as text.
///
/// # Errors
/// [`Code::LocalFailure`] where it cannot be read.
fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

/// A file of the user's, as bytes.
///
/// # Errors
/// [`Code::LocalFailure`] where it cannot be read.
fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> anyhow::Error {
    Complaint::new(Code::LocalFailure, format!("{} cannot be read: {error}", path.display())).into()
}

/// Where compiled code is kept: `bulkhead` in `$XDG_CACHE_HOME` or `~/.cache`.
fn cache_folder() -> anyhow::Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let detail = "neither XDG_CACHE_HOME nor HOME is set; compiled code needs a place";
    Ok(cache.ok_or_else(|| Complaint::new(Code::CliConfigInvalid, detail))?.join("bulkhead"))
}
