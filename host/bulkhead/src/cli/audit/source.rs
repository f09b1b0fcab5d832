//! Where lines of an audit come from: the server, or a file of an export or of records of the audit's topic.
//!
//! Must never: hold a whole audit in memory.

use crate::cli::output;
use crate::cli::session::Session;
use crate::cli::unreadable;
use crate::client::accepted;
use reqwest::{Method, Response, header};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

/// How long an export may take: it is as long as the audit.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3_600);

/// What stands in a line of an export.
pub(super) enum Entry {
    /// A line of the chain, or what should be one.
    Line(Value),
    /// A signed checkpoint.
    Checkpoint(String),
}

impl Entry {
    /// One of an export; or a record of the audit's topic as `bulkhead consume` prints it, whose value is a line.
    fn of(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        if let Some(checkpoint) = value["checkpoint"].as_str() {
            return Self::Checkpoint(checkpoint.to_owned());
        }
        if value.get("offset").is_some() && value.get("seq").is_none() {
            return Self::Line(inner(&value["value"]));
        }
        Self::Line(value)
    }
}

/// A record's value: JSON as it is or as a text.
fn inner(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    }
}

async fn ask(session: &Session, path: &str) -> anyhow::Result<Response> {
    let request = session.client.request(Method::GET, path)?.timeout(EXPORT_TIMEOUT);
    accepted(request.header(header::ACCEPT, "application/x-ndjson").send().await?).await
}

/// Writes an export as it comes.
pub(super) async fn export(session: &Session, path: &str, to: Option<&Path>) -> anyhow::Result<()> {
    let mut response = ask(session, path).await?;
    let Some(to) = to else {
        let mut out = std::io::stdout().lock();
        while let Some(chunk) = response.chunk().await? {
            out.write_all(&chunk)?;
        }
        return Ok(());
    };
    let mut file = File::create(to).map_err(|error| unreadable(to, &error))?;
    while let Some(chunk) = response.chunk().await? {
        file.write_all(&chunk)?;
    }
    file.sync_all()?;
    if session.is_json() { Ok(()) } else { output::line(&format!("wrote {}", to.display())) }
}

/// Gives each entry that the server has.
pub(super) async fn from_server(session: &Session, path: &str, mut take: impl FnMut(Entry)) -> anyhow::Result<()> {
    let mut response = ask(session, path).await?;
    let mut rest = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            take(Entry::of(&String::from_utf8_lossy(&line)));
        }
    }
    if !rest.is_empty() {
        take(Entry::of(&String::from_utf8_lossy(&rest)));
    }
    Ok(())
}

/// Gives each entry of a file.
pub(super) fn from_file(file: &Path, mut take: impl FnMut(Entry)) -> anyhow::Result<()> {
    let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
    for line in BufReader::new(opened).lines() {
        let line = line.map_err(|error| unreadable(file, &error))?;
        if !line.trim().is_empty() {
            take(Entry::of(&line));
        }
    }
    Ok(())
}
