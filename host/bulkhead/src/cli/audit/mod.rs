//! `bulkhead audit`: who did what or tried to, and whether anybody has changed what is written of it.
//!
//! Must never: let a line rule the terminal, or call a chain whole that was not checked to its end.

mod source;
mod verify;

use super::config::Connection;
use super::output::{self, cell, printable};
use super::session::{Session, items};
use bulkhead_core::name::TopicName;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Lines shown unasked.
const LINES: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The platform's own audit instead of a tenant's
    #[arg(long, global = true)]
    platform: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show lines, the newest first
    List(List),
    /// Print all lines with their hashes, the oldest first, and the signed checkpoints, as JSON lines
    Export {
        /// Write them to this file instead
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Check that no line was changed, taken away, moved, put in or cut off
    Verify(verify::Verify),
    /// Show the signed checkpoints, to be kept where nobody who can change the audit can change them
    Checkpoints,
    /// Show, or set, the topic that the audit goes into
    Topic {
        /// A topic that is there
        name: Option<TopicName>,
        /// Let it go into none
        #[arg(long, conflicts_with = "name")]
        off: bool,
    },
}

#[derive(Debug, Args)]
struct List {
    /// Only from this time on, for instance 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only what this subject did
    #[arg(long)]
    subject: Option<String>,
    /// Only this action, for instance pipelines.apply, or all of its kind: pipelines
    #[arg(long)]
    action: Option<String>,
    /// Only about this, and what is below it, for instance project/default
    #[arg(long)]
    resource: Option<String>,
    /// Only lines of this kind: decision, outcome, use or pruned
    #[arg(long)]
    kind: Option<String>,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Lines at most
    #[arg(long, default_value_t = LINES, value_name = "LINES")]
    limit: usize,
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it; [`bulkhead_core::code::Code::AuditBroken`] where a chain is not whole.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let platform = arguments.platform;
    if let Verb::Verify(verify) = arguments.verb {
        return verify::run(&verify, platform, &arguments.connection).await;
    }
    let session = Session::open(&arguments.connection)?;
    let path = path(&session, platform)?;
    match arguments.verb {
        Verb::Verify(_) => Ok(()),
        Verb::List(list) => {
            let answer = session.list(&path, &list.query(), Some(list.limit)).await?;
            let headings = ["SEQ", "TIME", "KIND", "SUBJECT", "ACTION", "RESOURCE", "RESULT", "FROM"];
            session.show(&answer, || output::table(&headings, items(&answer).iter().map(row).collect(), "no lines"))
        }
        Verb::Export { to } => source::export(&session, &path, to.as_deref()).await,
        Verb::Checkpoints => {
            let answer = session.get(&format!("{path}/checkpoints")).await?;
            session.show(&answer, || show_checkpoints(&answer))
        }
        Verb::Topic { name: Some(name), .. } => {
            let request = session.client.request(reqwest::Method::PUT, &format!("{path}/topic"))?;
            let answer = session.send(request.json(&json!({"topic": name}))).await?;
            session.done(&answer, &format!("the audit goes into topic {name}"))
        }
        Verb::Topic { off: true, .. } => {
            let answer = session.delete(&format!("{path}/topic")).await?;
            session.done(&answer, "the audit goes into no topic")
        }
        Verb::Topic { .. } => {
            let answer = session.get(&format!("{path}/topic")).await?;
            session.show(&answer, || show_topic(&answer))
        }
    }
}

/// Where the chain is.
fn path(session: &Session, platform: bool) -> anyhow::Result<String> {
    if platform { Ok("/api/v1/audit".to_owned()) } else { session.of_tenant("/audit") }
}

impl List {
    fn query(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("since", &self.since),
            ("until", &self.until),
            ("subject", &self.subject),
            ("action", &self.action),
            ("resource", &self.resource),
            ("kind", &self.kind),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        given.chain(self.refused.then(|| ("allowed", "false".to_owned()))).collect()
    }
}

fn row(line: &Value) -> Vec<String> {
    let field = |name: &str| cell(&line[name]);
    let result = match (line["allowed"].as_bool(), line["status"].as_u64()) {
        (Some(false), _) => format!("refused {}", field("code")),
        (_, Some(status)) => format!("{status} {}", field("code")).trim_end().to_owned(),
        _ if line["kind"] == "decision" => "allowed".to_owned(),
        _ => String::new(),
    };
    vec![
        field("seq"),
        field("at"),
        field("kind"),
        field("subject"),
        field("action"),
        field("resource"),
        result,
        field("from"),
    ]
}

fn show_checkpoints(answer: &Value) -> anyhow::Result<()> {
    for item in items(answer).iter().chain(answer.get("head").filter(|head| head.is_object())) {
        output::line(&format!(
            "{} {}",
            cell(&item["seq"]),
            printable(item["checkpoint"].as_str().unwrap_or_default())
        ))?;
    }
    Ok(())
}

fn show_topic(answer: &Value) -> anyhow::Result<()> {
    if answer["topic"].is_null() {
        return output::line("the audit goes into no topic");
    }
    let code = cell(&answer["code"]);
    let waits = if code.is_empty() { code } else { format!("{code} since {}", cell(&answer["since"])) };
    output::fields(&[("topic", cell(&answer["topic"])), ("last line", cell(&answer["seq"])), ("waits", waits)])
}
