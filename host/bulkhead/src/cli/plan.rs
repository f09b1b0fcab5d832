//! `bulkhead plan`: plans, which say how much a tenant may. Needs a platform admin's token.
//!
//! Must never: take a limit's name or value for good by itself: control knows which there are.

use super::config::Connection;
use super::output::{self, cell};
use super::session::{Session, items};
use bulkhead_core::name::PlanName;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::str::FromStr;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List plans with some of what they allow
    List,
    /// Show all limits of a plan
    Show { name: PlanName },
    /// Make or change a plan; what it does not say is as in `standard`
    Put {
        name: PlanName,
        /// A limit that it says, for instance `fuelPerSecond=2000000000`; others that it has said before stay
        #[arg(long, value_name = "LIMIT=VALUE")]
        set: Vec<Setting>,
        /// A limit that it no longer says
        #[arg(long, value_name = "LIMIT")]
        unset: Vec<String>,
    },
    /// Delete a plan that no tenant has
    Delete { name: PlanName },
}

/// `LIMIT=VALUE`.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) limit: String,
    pub(crate) value: u64,
}

impl FromStr for Setting {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (limit, value) = text.split_once('=').ok_or("write it as LIMIT=VALUE")?;
        let value = value.replace('_', "").parse().map_err(|_| format!("`{value}` is no whole number"))?;
        Ok(Self { limit: limit.to_owned(), value })
    }
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    match arguments.verb {
        Verb::List => list(&session).await,
        Verb::Show { name } => {
            let plan = session.get(&at(&name)).await?;
            session.show(&plan, || show(&plan))
        }
        Verb::Put { name, set, unset } => put(&session, &name, set, &unset).await,
        Verb::Delete { name } => {
            let answer = session.delete(&at(&name)).await?;
            session.done(&answer, &format!("deleted plan {name}"))
        }
    }
}

fn at(name: &PlanName) -> String {
    format!("/api/v1/plans/{name}")
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let answer = session.get("/api/v1/plans").await?;
    let row = |plan: &Value| {
        let limit = |name: &str| cell(&plan["limits"][name]);
        let mut row = vec![cell(&plan["name"])];
        row.extend(["pipelines", "topics", "modules", "fuelPerSecond", "bytesInPerSecond"].map(limit));
        row
    };
    let rows = items(&answer).iter().map(row).collect();
    let headings = ["PLAN", "PIPELINES", "TOPICS", "MODULES", "FUEL A SECOND", "BYTES A SECOND"];
    session.show(&answer, || output::table(&headings, rows, "none"))
}

fn show(plan: &Value) -> anyhow::Result<()> {
    let says = |name: &str| plan["says"].as_array().is_some_and(|says| says.iter().any(|said| said == name));
    let limits = plan["limits"].as_object().cloned().unwrap_or_default();
    let row = |(name, value): (&String, &Value)| {
        let from = if says(name) { "this plan" } else { "" };
        vec![name.clone(), cell(value), from.to_owned()]
    };
    output::table(&["LIMIT", "VALUE", "SAID BY"], limits.iter().map(row).collect(), "none")
}

/// What it said before stays but for what is named. Nobody else changes it in between: the request names the state that was read.
async fn put(session: &Session, name: &PlanName, set: Vec<Setting>, unset: &[String]) -> anyhow::Result<()> {
    let plans = session.get("/api/v1/plans").await?;
    let known = items(&plans).iter().any(|plan| plan["name"] == json!(name));
    let mut request = session.client.request(Method::PUT, &at(name))?;
    let mut limits = Map::new();
    if known {
        let response = crate::client::accepted(session.client.request(Method::GET, &at(name))?.send().await?).await?;
        if let Some(tag) = response.headers().get("etag").cloned() {
            request = request.header("if-match", tag);
        }
        let plan: Value = response.json().await?;
        let says = plan["says"].as_array().cloned().unwrap_or_default();
        limits
            .extend(says.iter().filter_map(Value::as_str).map(|name| (name.to_owned(), plan["limits"][name].clone())));
    }
    limits.extend(set.into_iter().map(|Setting { limit, value }| (limit, json!(value))));
    limits.retain(|limit, _| !unset.contains(limit));
    let answer = session.send(request.json(&json!({"limits": limits}))).await?;
    session.done(&answer, &format!("plan {name} says {} limits; they hold from now on", limits.len()))
}
