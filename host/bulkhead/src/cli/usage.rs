//! `bulkhead usage`: what the tenant has used, as a table, as JSON, or in a file for a spreadsheet or a data frame; for platform admins with
//! `--all`, each tenant's sum.
//!
//! Must never: sum up or round a figure itself.

use super::config::Connection;
use super::failure::Complaint;
use super::output::{self, cell};
use super::session::{Session, items, with_query};
use crate::lines;
use bulkhead_core::bucket::Format;
use bulkhead_core::code::Code;
use bulkhead_core::usage;
use clap::Args;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What lines may be about, as the API names it.
const KEYS: [&str; 6] = ["at", "tenant", "project", "pipeline", "revision", "stage"];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// From this hour on (UTC): 2026-01, 2026-01-31 or 2026-01-31T12:00:00Z [default: the begin of this month]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this hour [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// What is told apart, with commas: hour or day; project, pipeline, revision, stage
    #[arg(long, value_name = "WHAT", default_value = "pipeline", conflicts_with = "all")]
    by: String,
    /// The sums of all tenants, for platform admins
    #[arg(long)]
    all: bool,
    /// Write the lines to this file as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the lines to this file as Parquet
    #[arg(long, value_name = "FILE")]
    parquet: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it; [`Code::LocalFailure`] where a file cannot be written.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    let times = [("from", arguments.from.clone()), ("to", arguments.to.clone())];
    let mut query: Vec<_> = times.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let path = match arguments.all {
        true => "/api/v1/usage".to_owned(),
        false => {
            query.push(("by", arguments.by.clone()));
            session.of_tenant("/usage")?
        }
    };
    let answer = session.get(&with_query(&path, &query)).await?;
    for (file, format) in [(&arguments.csv, Format::Csv), (&arguments.parquet, Format::Parquet)] {
        if let Some(file) = file {
            write(file, format, items(&answer))?;
        }
    }
    if arguments.csv.is_some() || arguments.parquet.is_some() {
        return Ok(());
    }
    session.show(&answer, || table(&answer))
}

fn table(answer: &Value) -> anyhow::Result<()> {
    let lines = items(answer);
    let keys = keys_of(lines);
    let figures = ["recordsIn", "recordsOut", "bytesIn", "bytesOut", "fuel", "wastedFuel"];
    let heads = ["RECORDS IN", "OUT", "BYTES IN", "OUT", "FUEL", "WASTED"];
    let headings: Vec<String> = keys.iter().map(|key| key.to_uppercase()).chain(heads.map(str::to_owned)).collect();
    let row = |line: &Value| keys.iter().chain(&figures).map(|name| cell(&line[*name])).collect::<Vec<_>>();
    let mut rows: Vec<_> = lines.iter().map(row).collect();
    if lines.len() > 1 && answer["total"].is_object() {
        let mut total = vec![String::new(); keys.len()];
        if let Some(first) = total.first_mut() {
            "total".clone_into(first);
        }
        rows.push(total.into_iter().chain(figures.map(|name| cell(&answer["total"][name]))).collect());
    }
    let headings: Vec<_> = headings.iter().map(String::as_str).collect();
    output::table(&headings, rows, "nothing was used in this time")
}

fn keys_of(lines: &[Value]) -> Vec<&'static str> {
    KEYS.into_iter().filter(|key| lines.first().is_some_and(|line| line.get(key).is_some())).collect()
}

/// Writes lines as the bucket outputs of stages are written.
fn write(file: &Path, format: Format, lines: &[Value]) -> anyhow::Result<()> {
    let broken =
        |why: String| Complaint::new(Code::AnswerUnreadable, format!("the server's figures cannot be written: {why}"));
    let bytes = lines::write(format, usage::columns(keys_of(lines)), lines).map_err(broken)?;
    let unwritable =
        |error| Complaint::new(Code::LocalFailure, format!("{} cannot be written: {error}", file.display()));
    Ok(std::fs::write(file, bytes).map_err(unwritable)?)
}
