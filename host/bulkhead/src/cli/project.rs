//! `bulkhead project`: a tenant's folders for modules and pipelines. Their names nest by dots: `shop.eu` lies in `shop`.
//!
//! Must never: be confused with `bulkhead new`, which makes a stage's folder on this machine.

use super::config::Connection;
use super::output::{self, cell};
use super::session::{Session, items};
use bulkhead_core::name::ProjectId;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the projects
    List,
    /// Make a project
    Create {
        name: ProjectId,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
    },
    /// Delete a project that has no modules and no pipelines
    Delete { name: ProjectId },
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    match arguments.verb {
        Verb::List => {
            let answer = session.list(&session.of_tenant("/projects")?, &[], None).await?;
            let row =
                |project: &Value| ["name", "createdAt", "description"].map(|field| cell(&project[field])).to_vec();
            let rows = items(&answer).iter().map(row).collect();
            session.show(&answer, || output::table(&["PROJECT", "MADE", "DESCRIPTION"], rows, "no projects"))
        }
        Verb::Create { name, description } => {
            let mut body = json!({"name": name});
            if let Some(description) = description {
                body["description"] = description.into();
            }
            let answer = session.post(&session.of_tenant("/projects")?, &body).await?;
            session.done(&answer, &format!("made project {name}"))
        }
        Verb::Delete { name } => {
            let answer = session.delete(&session.of_tenant(&format!("/projects/{name}"))?).await?;
            session.done(&answer, &format!("deleted project {name}"))
        }
    }
}
