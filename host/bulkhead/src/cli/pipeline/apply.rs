//! Applying a manifest, seeing what it would change, rolling back; and waiting until a revision runs.
//!
//! Must never: wait without an end, or say that something runs that does not.

use super::of;
use crate::cli::failure::Complaint;
use crate::cli::output::{self, cell};
use crate::cli::session::{Session, with_query};
use crate::cli::{progress, read_text};
use bulkhead_core::code::Code;
use bulkhead_core::name::PipelineName;
use clap::Args;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// Pause between two looks at a pipeline that does not run yet.
const LOOK: Duration = Duration::from_millis(200);

/// How a revision is to be applied.
#[derive(Debug, Args)]
pub(super) struct How {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Begin anew from here: earliest, latest, offset:N or time:RFC3339
    #[arg(long, value_name = "POSITION")]
    start: Option<String>,
    /// Wait until workers run it, and fail where they do not
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// How long to wait, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS", requires = "wait")]
    wait_s: u64,
}

impl How {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        if self.dry_run {
            query.push(("dryRun", "true".to_owned()));
        }
        query.extend(self.start.clone().map(|start| ("start", start)));
        query
    }
}

/// All that this program has to know of a manifest.
#[derive(Deserialize)]
struct Named {
    name: PipelineName,
}

/// A manifest's text and the name in it.
fn read(file: &Path) -> anyhow::Result<(String, PipelineName)> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        read_text(file)?
    };
    let named: Named = serde_yaml_ng::from_str(&text).map_err(|error| {
        Complaint::new(Code::ManifestSyntax, format!("{}: no pipeline's name can be read: {error}", file.display()))
    })?;
    Ok((text, named.name))
}

/// Applies a manifest.
///
/// # Errors
/// Control's; the pipeline's own where it does not come to run.
pub(super) async fn run(session: &Session, file: &Path, how: &How, if_revision: Option<u64>) -> anyhow::Result<()> {
    let (text, name) = read(file)?;
    let request = session.client.request(Method::PUT, &with_query(&of(session, &name, "")?, &how.query()))?;
    let mut request = request.header("content-type", "application/yaml").body(text);
    match if_revision {
        Some(0) => request = request.header("if-none-match", "*"),
        Some(revision) => request = request.header("if-match", etag(session, &name, revision).await?),
        None => {}
    }
    finish(session, &name, request, how).await
}

/// The entity tag of a revision, where it is the current one.
async fn etag(session: &Session, name: &PipelineName, revision: u64) -> anyhow::Result<String> {
    let response = session.client.request(Method::GET, &of(session, name, "")?)?.send().await?;
    let response = crate::client::accepted(response).await?;
    let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let current: Value = response.json().await?;
    if current["revision"] != revision {
        let detail =
            format!("{name} has revision {}, not {revision}; look at it, then apply again", current["revision"]);
        return Err(Complaint::new(Code::Conflict, detail).into());
    }
    etag.ok_or_else(|| Complaint::new(Code::AnswerUnreadable, "the server gave no ETag").into())
}

/// Goes back to a revision.
///
/// # Errors
/// As [`run`].
pub(super) async fn rollback(session: &Session, name: &PipelineName, to: u64, how: &How) -> anyhow::Result<()> {
    let path = with_query(&of(session, name, "/rollback")?, &how.query());
    let request = session.client.request(Method::POST, &path)?.json(&json!({"revision": to}));
    finish(session, name, request, how).await
}

async fn finish(session: &Session, name: &PipelineName, request: RequestBuilder, how: &How) -> anyhow::Result<()> {
    let mut answer = session.send(request).await?;
    if how.dry_run {
        return session.show(&answer, || changes(&answer));
    }
    let (revision, applied) = (answer["revision"].clone(), answer["applied"].as_str().unwrap_or("applied").to_owned());
    if how.wait {
        let shown = wait(session, name, &revision, Duration::from_secs(how.wait_s)).await?;
        answer["status"] = shown["status"].clone();
    }
    let runs = if how.wait { "; it runs" } else { "" };
    session.done(&answer, &format!("{applied} pipeline {name}, revision {revision}{runs}"))
}

/// Waits until a revision runs.
async fn wait(session: &Session, name: &PipelineName, revision: &Value, patience: Duration) -> anyhow::Result<Value> {
    let until = Instant::now() + patience;
    let spinner = progress::waiting(format!("waiting for {name}, revision {revision}"));
    loop {
        let shown = session.get(&of(session, name, "")?).await?;
        let status = &shown["status"];
        let phase = status["phase"].as_str().unwrap_or("not seen by a worker");
        let ours = status["runningRevision"] == *revision;
        if ours && (phase == "running" || phase == "paused") {
            spinner.finish_and_clear();
            return Ok(shown);
        }
        // A failed start ends the wait; backing off may pass.
        let failed = ours && phase == "failed";
        if failed || Instant::now() >= until {
            spinner.finish_and_clear();
            let code = status["code"].as_str().and_then(|code| code.parse().ok()).unwrap_or(Code::PipelineNotRunning);
            let message = cell(&status["message"]);
            let detail = format!("{name}, revision {revision}, was applied but does not run: {phase}. {message}");
            return Err(Complaint::new(code, detail.trim_end()).into());
        }
        spinner.set_message(format!("{name}, revision {revision}: {phase}"));
        tokio::time::sleep(LOOK).await;
    }
}

/// Shows what a manifest would change.
///
/// # Errors
/// Control's.
pub(super) async fn diff(session: &Session, file: &Path) -> anyhow::Result<()> {
    let (text, name) = read(file)?;
    let request = session.client.request(Method::POST, &of(session, &name, "/diff")?)?;
    let answer = session.send(request.header("content-type", "application/yaml").body(text)).await?;
    session.show(&answer, || changes(&answer))
}

/// A line for each change: what was, what would be.
fn changes(answer: &Value) -> anyhow::Result<()> {
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |change: &Value| vec![cell(&change["path"]), cell(&change["from"]), cell(&change["to"])];
    output::table(&["FIELD", "NOW", "THEN"], changes.iter().map(row).collect(), "nothing would change")
}
