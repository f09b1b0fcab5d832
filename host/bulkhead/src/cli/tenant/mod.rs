//! `bulkhead tenant`: a tenant's life, from its making to the proof that nothing of it is left. All but `show`, `limits` and `export` need a
//! platform admin's token.
//!
//! Must never: delete a tenant whose name was not typed twice.

mod erase;
mod export;
mod limits;

use super::config::Connection;
use super::output::{self, cell};
use super::session::{Session, items};
use bulkhead_core::name::{PlanName, TenantId};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

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
        /// How much it may keep: one of `plan list`
        #[arg(long)]
        plan: Option<PlanName>,
        /// What it is called where people look
        #[arg(long)]
        display_name: Option<String>,
        /// Where its metadata lives: in tables that all tenants share, or in a schema or a database of its own
        #[arg(long, value_name = "PLACE", value_parser = ["shared", "schema", "database"])]
        metadata: Option<String>,
    },
    /// Show a tenant; without a name, the token's
    Show { name: Option<TenantId> },
    /// Change a tenant's plan, or the name that it is shown by
    Update {
        name: TenantId,
        /// How much it may keep: one of `plan list`
        #[arg(long, required_unless_present = "display_name")]
        plan: Option<PlanName>,
        /// What it is called where people look
        #[arg(long)]
        display_name: Option<String>,
        /// Only if it still has this `ETag`
        #[arg(long, value_name = "ETAG")]
        if_match: Option<String>,
    },
    /// Show a tenant's limits with what is used of them, and give it limits of its own
    Limits(limits::Limits),
    /// Stop a tenant's stages and refuse it everything but reading; it keeps what it has
    Suspend {
        name: TenantId,
        /// Why, in words for the tenant
        #[arg(long)]
        reason: String,
    },
    /// Let a suspended tenant go on from where it was
    Resume { name: TenantId },
    /// Write everything of a tenant to a file, and check that it is whole
    Export(export::Export),
    /// Check that an exported file is whole and unchanged; needs no server
    VerifyExport(export::Verify),
    /// Delete a tenant with all its topics, records, modules and pipelines
    Delete(erase::Delete),
    /// List erasures, or show how far one is
    Erasure(erase::Show),
    /// Check a report: that this server has signed it, and that it says that nothing is left
    VerifyErasure(erase::Verify),
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let open = || Session::open(&arguments.connection);
    match arguments.verb {
        Verb::List => list(&open()?).await,
        Verb::Create { name, plan, display_name, metadata } => {
            let mut body = changes(plan.as_ref(), display_name);
            body.insert("name".to_owned(), json!(name));
            if let Some(metadata) = metadata {
                body.insert("placement".to_owned(), json!({"metadata": metadata}));
            }
            let session = open()?;
            let answer = session.post("/api/v1/tenants", &Value::Object(body)).await?;
            session.done(&answer, &format!("made tenant {name}"))
        }
        Verb::Show { name } => {
            let session = open()?;
            let answer = session.get(&at(&session, name.as_ref())?).await?;
            session.show(&answer, || show(&answer))
        }
        Verb::Update { name, plan, display_name, if_match } => {
            let session = open()?;
            let mut request = session.client.request(Method::PATCH, &format!("/api/v1/tenants/{name}"))?;
            if let Some(tag) = if_match {
                request = request.header("if-match", tag);
            }
            let answer = session.send(request.json(&changes(plan.as_ref(), display_name))).await?;
            session.done(&answer, &format!("changed tenant {name}"))
        }
        Verb::Limits(arguments) => limits::run(&open()?, arguments).await,
        Verb::Suspend { name, reason } => {
            let session = open()?;
            let answer = session.post(&format!("/api/v1/tenants/{name}/suspend"), &json!({"reason": reason})).await?;
            session.done(&answer, &format!("suspended tenant {name}; `tenant show` says when its stages have stopped"))
        }
        Verb::Resume { name } => {
            let session = open()?;
            let answer = session.post(&format!("/api/v1/tenants/{name}/resume"), &json!({})).await?;
            session.done(&answer, &format!("tenant {name} goes on"))
        }
        Verb::Export(arguments) => export::export(&open()?, arguments).await,
        Verb::VerifyExport(arguments) => export::verify(&arguments),
        Verb::Delete(arguments) => erase::delete(&open()?, arguments).await,
        Verb::Erasure(arguments) => erase::show(&open()?, arguments).await,
        Verb::VerifyErasure(arguments) => erase::verify(&open, arguments).await,
    }
}

/// The path of a tenant; without a name, of the token's.
fn at(session: &Session, name: Option<&TenantId>) -> anyhow::Result<String> {
    name.map_or_else(|| session.of_tenant(""), |name| Ok(format!("/api/v1/tenants/{name}")))
}

fn changes(plan: Option<&PlanName>, display_name: Option<String>) -> Map<String, Value> {
    let plan = plan.map(|plan| ("plan".to_owned(), json!(plan)));
    plan.into_iter().chain(display_name.map(|name| ("displayName".to_owned(), json!(name)))).collect()
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let answer = session.list("/api/v1/tenants", &[], None).await?;
    let row = |tenant: &Value| vec![cell(&tenant["tenant"]), cell(&tenant["createdAt"])];
    let rows = items(&answer).iter().map(row).collect();
    session.show(&answer, || output::table(&["TENANT", "MADE"], rows, "no tenants"))
}

fn show(tenant: &Value) -> anyhow::Result<()> {
    let projects: Vec<String> = tenant["projects"].as_array().into_iter().flatten().map(cell).collect();
    let mut fields = vec![
        ("tenant", cell(&tenant["tenant"])),
        ("plan", cell(&tenant["plan"])),
        ("made", cell(&tenant["createdAt"])),
        ("metadata", cell(&tenant["placement"]["metadata"])),
        ("projects", projects.join(", ")),
    ];
    if let Some(name) = tenant["displayName"].as_str() {
        fields.insert(1, ("called", name.to_owned()));
    }
    if let Some(suspended) = tenant.get("suspended") {
        let stopped =
            if suspended["stopped"] == json!(true) { "its stages have stopped" } else { "its stages are stopping" };
        let words = format!("since {}: {}; {stopped}", cell(&suspended["since"]), cell(&suspended["reason"]));
        fields.push(("suspended", words));
    }
    output::fields(&fields)
}
