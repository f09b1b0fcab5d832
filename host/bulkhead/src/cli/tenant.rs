//! `bulkhead tenant`: making, seeing and deleting tenants. All but `show` need a platform admin's token.
//!
//! Must never: delete a tenant whose name was not typed twice.

use super::config::Connection;
use super::failure::Complaint;
use super::output::{self, cell};
use super::session::{Session, items};
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
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
    /// List all tenants
    List,
    /// Make a tenant, with its project `default`
    Create {
        name: TenantId,
        /// Where its metadata lives: in tables that all tenants share, or in a schema or a database of its own
        #[arg(long, value_name = "PLACE", value_parser = ["shared", "schema", "database"])]
        metadata: Option<String>,
    },
    /// Show a tenant; without a name, the token's
    Show { name: Option<TenantId> },
    /// Delete a tenant with all its topics, records, modules and pipelines
    Delete {
        name: TenantId,
        /// The name again, to show that it is meant
        #[arg(long, value_name = "NAME")]
        confirm: String,
    },
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    match arguments.verb {
        Verb::List => {
            let answer = session.list("/api/v1/tenants", &[], None).await?;
            let row = |tenant: &Value| vec![cell(&tenant["tenant"]), cell(&tenant["createdAt"])];
            let rows = items(&answer).iter().map(row).collect();
            session.show(&answer, || output::table(&["TENANT", "MADE"], rows, "no tenants"))
        }
        Verb::Create { name, metadata } => {
            let mut wanted = json!({"name": name});
            if let Some(metadata) = metadata {
                wanted["placement"] = json!({"metadata": metadata});
            }
            let answer = session.post("/api/v1/tenants", &wanted).await?;
            session.done(&answer, &format!("made tenant {name}"))
        }
        Verb::Show { name } => {
            let path = match name {
                Some(name) => format!("/api/v1/tenants/{name}"),
                None => session.of_tenant("")?,
            };
            let answer = session.get(&path).await?;
            session.show(&answer, || show(&answer))
        }
        Verb::Delete { name, confirm } => {
            if confirm != name.as_str() {
                let detail = format!("`--confirm {confirm}` is not the name `{name}`; nothing was deleted");
                return Err(Complaint::new(Code::LocalFailure, detail).into());
            }
            let answer = session.delete(&format!("/api/v1/tenants/{name}")).await?;
            session.done(&answer, &format!("deleted tenant {name}"))
        }
    }
}

fn show(tenant: &Value) -> anyhow::Result<()> {
    let projects: Vec<String> = tenant["projects"].as_array().into_iter().flatten().map(cell).collect();
    output::fields(&[
        ("tenant", cell(&tenant["tenant"])),
        ("made", cell(&tenant["createdAt"])),
        ("metadata", cell(&tenant["placement"]["metadata"])),
        ("projects", projects.join(", ")),
    ])
}
