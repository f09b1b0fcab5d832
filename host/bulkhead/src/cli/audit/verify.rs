//! `bulkhead audit verify`: checks a chain of the server's, or of a file, against its hashes and against checkpoints.
//!
//! The server is not believed: hashes are computed here, and a checkpoint counts where its signature fits a key. Only keys that were got
//! elsewhere, `--keys`, and checkpoints that were kept elsewhere, `--checkpoints`, hold against somebody who has the server's own key.
//! Must never: end well where a line is wrong, or a checkpoint was given that could not be checked.

use super::source::{Entry, from_file, from_server};
use crate::cli::config::Connection;
use crate::cli::failure::Complaint;
use crate::cli::output;
use crate::cli::read_text;
use crate::cli::session::Session;
use bulkhead_control::audit::{JwkSet, read_checkpoint};
use bulkhead_core::audit::{Anchor, Checker, FINDINGS_MAX, Verdict};
use bulkhead_core::code::Code;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// An export, or records of the audit's topic as `bulkhead consume` prints them with --values or --output json; otherwise the
    /// server's chain as it is
    file: Option<PathBuf>,
    /// The server's public keys, as /.well-known/jwks.json gave them; otherwise the server is asked
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Checkpoints that were kept elsewhere, as `bulkhead audit checkpoints` prints them
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// [`Code::AuditBroken`] where the chain is not whole; [`Code::CheckpointForged`] where a checkpoint does not bear its key's signature.
pub(super) async fn run(verify: &Verify, platform: bool, connection: &Connection) -> anyhow::Result<()> {
    let session = Session::open(connection);
    let keys = keys(verify, session.as_ref().ok()).await?;
    let mut signed = Vec::new();
    if let Some(kept) = &verify.checkpoints {
        signed.extend(kept_checkpoints(&read_text(kept)?));
    }
    let verdict = match &verify.file {
        Some(file) => {
            // Twice: checkpoints stand after the lines that they vouch for.
            from_file(file, |entry| signed.extend(checkpoint(entry)))?;
            let mut checker = Checker::new(anchors(&signed, keys.as_ref())?, true);
            from_file(file, |entry| line(&mut checker, entry))?;
            checker.end()
        }
        None => {
            let session = session.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            let path = super::path(session, platform)?;
            let answer = session.get(&format!("{path}/checkpoints")).await?;
            let items = answer["items"].as_array().into_iter().flatten().chain([&answer["head"]]);
            signed.extend(items.filter_map(|item| item["checkpoint"].as_str().map(str::to_owned)));
            let mut checker = Checker::new(anchors(&signed, keys.as_ref())?, false);
            from_server(session, &path, |entry| line(&mut checker, entry)).await?;
            checker.end()
        }
    };
    let checked = if keys.is_some() { signed.len() } else { 0 };
    tell(&verdict, checked, signed.len(), is_json(connection))?;
    if verdict.wrong == 0 {
        return Ok(());
    }
    let first = verdict.findings.first().map_or_else(String::new, ToString::to_string);
    Err(Complaint::new(Code::AuditBroken, format!("the audit is not whole: {first}")).into())
}

fn line(checker: &mut Checker, entry: Entry) {
    if let Entry::Line(value) = entry {
        checker.line(&value);
    }
}

fn checkpoint(entry: Entry) -> Option<String> {
    match entry {
        Entry::Checkpoint(token) => Some(token),
        Entry::Line(_) => None,
    }
}

/// Checkpoints of a text: one a line, after its line's number or alone, or as JSON.
fn kept_checkpoints(text: &str) -> Vec<String> {
    if let Ok(answer) = serde_json::from_str::<Value>(text) {
        let items = answer["items"].as_array().into_iter().flatten().chain([&answer["head"]]);
        return items.filter_map(|item| item["checkpoint"].as_str().map(str::to_owned)).collect();
    }
    text.lines().filter_map(|line| line.split_whitespace().last().map(str::to_owned)).collect()
}

/// The keys that were given or that the server has; none where there is no server to ask.
async fn keys(verify: &Verify, session: Option<&Session>) -> anyhow::Result<Option<JwkSet>> {
    let keys = match (&verify.keys, session) {
        (Some(file), _) => serde_json::from_str(&read_text(file)?).ok(),
        (None, Some(session)) => match session.get("/.well-known/jwks.json").await {
            Ok(keys) => serde_json::from_value(keys).ok(),
            // A file can be checked without its server.
            Err(_) if verify.file.is_some() => return Ok(None),
            Err(error) => return Err(error),
        },
        (None, None) => return Ok(None),
    };
    let detail = "the keys are not a JSON Web Key Set; take them from /.well-known/jwks.json";
    Ok(Some(keys.ok_or_else(|| Complaint::new(Code::LocalFailure, detail))?))
}

/// What the checkpoints vouch for. Without keys nothing.
fn anchors(signed: &[String], keys: Option<&JwkSet>) -> anyhow::Result<Vec<Anchor>> {
    let Some(keys) = keys else { return Ok(Vec::new()) };
    let read = signed.iter().map(|token| read_checkpoint(token, keys));
    let read: Result<Vec<_>, _> = read.collect();
    Ok(read.map_err(|error| Complaint::new(Code::CheckpointForged, format!("{error}; check where it is from")))?)
}

fn is_json(connection: &Connection) -> bool {
    connection.output == Some(output::Format::Json)
}

fn tell(verdict: &Verdict, checked: usize, given: usize, json: bool) -> anyhow::Result<()> {
    if json {
        let findings = verdict
            .findings
            .iter()
            .map(|finding| json!({"seq": finding.seq, "wrong": finding.wrong.as_str(), "detail": finding.to_string()}));
        return output::json(&json!({
            "whole": verdict.wrong == 0, "chain": verdict.chain, "lines": verdict.lines,
            "first": verdict.range.map(|range| range.0), "last": verdict.range.map(|range| range.1),
            "hash": verdict.hash, "pruned": verdict.pruned, "checkpoints": checked, "wrong": verdict.wrong,
            "findings": findings.collect::<Vec<_>>(),
        }));
    }
    for finding in &verdict.findings {
        output::line(&output::red(&finding.to_string()))?;
    }
    if verdict.wrong > FINDINGS_MAX as u64 {
        output::line(&format!("and {} more", verdict.wrong - FINDINGS_MAX as u64))?;
    }
    let range = verdict.range.map_or_else(String::new, |(first, last)| format!(", {first} to {last}"));
    let pruned = if verdict.pruned { "; those before were pruned, which is signed" } else { "" };
    output::line(&format!("{} of chain {}{range}{pruned}", output::count(verdict.lines, "line"), verdict.chain))?;
    let unchecked = if checked < given { "; signatures were not checked: give --keys, or --server" } else { "" };
    let whole = if verdict.wrong == 0 { "whole" } else { "not whole" };
    output::line(&format!("{whole}, checked against {}{unchecked}", output::count(checked as u64, "checkpoint")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_checkpoints_are_read_as_they_were_printed_and_as_json() {
        assert_eq!(kept_checkpoints("3 aaa\n9 bbb\nccc\n\n"), ["aaa", "bbb", "ccc"]);
        let json = r#"{"items": [{"seq": 3, "checkpoint": "aaa"}], "head": {"seq": 9, "checkpoint": "bbb"}}"#;
        assert_eq!(kept_checkpoints(json), ["aaa", "bbb"]);
        assert_eq!(kept_checkpoints(r#"{"items": [], "head": null}"#), Vec::<String>::new());
    }
}
