//! `bulkhead pipeline`: applying manifests, seeing how pipelines fare, pausing, rolling back and deleting them.
//!
//! Must never: judge a manifest: control does, and it may be newer than this program.

mod apply;
mod show;

use super::config::Connection;
use super::output::{self, cell};
use super::session::{Session, items};
use bulkhead_core::name::PipelineName;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

/// Which manifest.
#[derive(Debug, Args)]
struct Manifest {
    /// The manifest, YAML or JSON; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Apply a manifest: make the pipeline, or give it a new revision
    Apply {
        #[command(flatten)]
        manifest: Manifest,
        #[command(flatten)]
        how: apply::How,
        /// Apply it only where the pipeline still has this revision; 0 means where it does not exist
        #[arg(long, value_name = "REVISION")]
        if_revision: Option<u64>,
    },
    /// Show what applying a manifest would change
    Diff {
        #[command(flatten)]
        manifest: Manifest,
    },
    /// List the project's pipelines
    List,
    /// Show how a pipeline fares
    Status { name: PipelineName },
    /// Let a pipeline rest: it keeps its position
    Pause { name: PipelineName },
    /// Let a paused pipeline go on
    Resume { name: PipelineName },
    /// Go back to an earlier revision, as a new one
    Rollback {
        name: PipelineName,
        revision: u64,
        #[command(flatten)]
        how: apply::How,
    },
    /// List a pipeline's revisions, or show the manifest of one
    Revisions { name: PipelineName, revision: Option<u64> },
    /// Show which of their grants the stages have used, and how often
    Uses { name: PipelineName },
    /// Delete a pipeline with its position; topics and modules stay
    Delete { name: PipelineName },
}

fn of(session: &Session, name: &PipelineName, rest: &str) -> anyhow::Result<String> {
    session.of_project(&format!("/pipelines/{name}{rest}"))
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    match arguments.verb {
        Verb::Apply { manifest, how, if_revision } => apply::run(&session, &manifest.file, &how, if_revision).await,
        Verb::Diff { manifest } => apply::diff(&session, &manifest.file).await,
        Verb::List => {
            let answer = session.list(&session.of_project("/pipelines")?, &[], None).await?;
            let rows = items(&answer).iter().map(show::row).collect();
            let nothing = "no pipelines; `bulkhead pipeline apply` makes one";
            session.show(&answer, || output::table(&show::HEADINGS, rows, nothing))
        }
        Verb::Status { name } => show::status(&session, &name).await,
        Verb::Pause { name } => {
            let answer = session.post(&of(&session, &name, "/pause")?, &Value::Null).await?;
            session.done(&answer, &format!("paused {name}; `bulkhead pipeline resume {name}` lets it go on"))
        }
        Verb::Resume { name } => {
            let answer = session.post(&of(&session, &name, "/resume")?, &Value::Null).await?;
            session.done(&answer, &format!("{name} goes on"))
        }
        Verb::Rollback { name, revision, how } => apply::rollback(&session, &name, revision, &how).await,
        Verb::Revisions { name, revision: None } => {
            let answer = session.list(&of(&session, &name, "/revisions")?, &[], None).await?;
            let rows = items(&answer).iter().map(show::revision_row).collect();
            session.show(&answer, || output::table(&show::REVISION_HEADINGS, rows, "no revisions"))
        }
        Verb::Revisions { name, revision: Some(revision) } => {
            let answer = session.get(&of(&session, &name, &format!("/revisions/{revision}"))?).await?;
            session.show(&answer, || output::line(cell(&answer["manifest"]).trim_end()))
        }
        Verb::Uses { name } => {
            let answer = session.get(&of(&session, &name, "/uses")?).await?;
            let rows = items(&answer).iter().map(show::use_row).collect();
            session.show(&answer, || output::table(&show::USE_HEADINGS, rows, "no stage has used a grant yet"))
        }
        Verb::Delete { name } => {
            let answer = session.delete(&of(&session, &name, "")?).await?;
            session.done(&answer, &format!("deleted pipeline {name}"))
        }
    }
}
