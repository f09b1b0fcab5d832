//! Pipelines as people see them.
//!
//! Must never: leave out why a pipeline does not run.

use super::of;
use crate::cli::output::{self, cell, short_digest};
use crate::cli::session::{Session, items};
use bulkhead_core::name::PipelineName;
use serde_json::Value;

/// Headings of [`row`].
pub(super) const HEADINGS: [&str; 8] = ["PIPELINE", "REVISION", "PHASE", "LAG", "IN", "OUT", "DEAD LETTERS", "FUEL"];
/// Headings of [`revision_row`].
pub(super) const REVISION_HEADINGS: [&str; 5] = ["REVISION", "APPLIED", "BY", "CURRENT", "NOTE"];

/// A pipeline in a list.
pub(super) fn row(pipeline: &Value) -> Vec<String> {
    let (status, totals) = (&pipeline["status"], &pipeline["status"]["totals"]);
    vec![
        cell(&pipeline["name"]),
        cell(&pipeline["revision"]),
        phase(pipeline),
        cell(&status["lag"]),
        cell(&totals["recordsIn"]),
        cell(&totals["recordsOut"]),
        cell(&totals["deadLetters"]),
        cell(&totals["fuel"]),
    ]
}

fn phase(pipeline: &Value) -> String {
    match pipeline["status"]["phase"].as_str() {
        Some(phase) if pipeline["status"]["parked"] == true => format!("{phase} (parked)"),
        Some(phase) => phase.to_owned(),
        None if pipeline["paused"] == true => "paused".to_owned(),
        None => "unknown".to_owned(),
    }
}

/// A revision in a list.
pub(super) fn revision_row(revision: &Value) -> Vec<String> {
    let back = revision["rolledBackTo"].as_u64().map(|to| format!("back to {to}"));
    let start = revision["start"].as_str().map(|start| format!("from {start}"));
    vec![
        cell(&revision["revision"]),
        cell(&revision["appliedAt"]),
        cell(&revision["appliedBy"]),
        if revision["current"] == true { "yes".to_owned() } else { String::new() },
        back.into_iter().chain(start).collect::<Vec<_>>().join(", "),
    ]
}

/// Shows a pipeline with its stages.
///
/// # Errors
/// Control's.
pub(super) async fn status(session: &Session, name: &PipelineName) -> anyhow::Result<()> {
    let mut answer = session.get(&of(session, name, "")?).await?;
    let stages = session.get(&of(session, name, "/stages")?).await?;
    if session.is_json() {
        answer["stages"] = stages["items"].clone();
        return output::json(&answer);
    }
    let (status, totals) = (&answer["status"], &answer["status"]["totals"]);
    output::fields(&[
        ("pipeline", cell(&answer["name"])),
        ("revision", revision(&answer)),
        ("phase", phase(&answer)),
        ("code", cell(&status["code"])),
        ("message", cell(&status["message"])),
        ("slowed", slowed(&status["slowed"])),
        ("lag", cell(&status["lag"])),
        ("workers", cell(&status["workers"])),
        ("partitions", cell(&status["partitions"])),
        ("records in", cell(&totals["recordsIn"])),
        ("records out", cell(&totals["recordsOut"])),
        ("dead letters", cell(&totals["deadLetters"])),
        ("fuel", cell(&totals["fuel"])),
        ("changed", cell(&answer["updatedAt"])),
    ])?;
    for odd in items_of(&status["unusual"]) {
        output::line(&unusual(odd))?;
    }
    let rows: Vec<_> = items(&stages).iter().map(stage_row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::table(&["STAGE", "MODULE", "IN", "OUT", "FUEL", "FAULTS", "DEAD LETTERS"], rows, "no stages")
}

fn items_of(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// Something that differs from the pipeline's own past.
fn unusual(odd: &Value) -> String {
    let number = |name: &str| match odd[name].as_f64().unwrap_or_default() {
        whole if whole.abs() >= 100.0 => format!("{whole:.0}"),
        small => format!("{small:.4}"),
    };
    let [signal, since, code] = ["signal", "since", "code"].map(|name| cell(&odd[name]));
    format!(
        "unusual: {signal} is {}, usually {}, since {since}; `bulkhead explain {code}`",
        number("value"),
        number("usual")
    )
}

/// By which limit of its tenant it is slowed down.
fn slowed(slowed: &Value) -> String {
    let Some(waiting) = slowed["waiting"].as_u64() else { return String::new() };
    let [limit, allowed, unit] = ["limit", "allowed", "unit"].map(|field| cell(&slowed[field]));
    format!("by `{limit}`, {allowed} {unit}: it waits {} % of the time; see `bulkhead tenant limits`", waiting / 10)
}

/// The revision that is applied, and the one that still runs where that is another.
fn revision(pipeline: &Value) -> String {
    let (applied, running) = (&pipeline["revision"], &pipeline["status"]["runningRevision"]);
    match running.as_u64() {
        Some(running) if *applied != running => format!("{applied} (workers still run {running})"),
        _ => cell(applied),
    }
}

fn stage_row(stage: &Value) -> Vec<String> {
    let mut row = vec![cell(&stage["stage"]), short_digest(&cell(&stage["module"]))];
    row.extend(["recordsIn", "recordsOut", "fuel", "faults", "deadLetters"].map(|field| cell(&stage[field])));
    row
}

/// Headings of [`use_row`].
pub(super) const USE_HEADINGS: [&str; 6] = ["REVISION", "STAGE", "GRANT", "COUNT", "FIRST", "LAST"];

/// A grant that a stage has used.
pub(super) fn use_row(used: &Value) -> Vec<String> {
    ["revision", "stage", "grant", "count", "firstAt", "lastAt"].map(|name| cell(&used[name])).to_vec()
}
