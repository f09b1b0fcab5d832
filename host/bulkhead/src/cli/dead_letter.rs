//! `bulkhead deadletter`: records that a stage could not handle.
//!
//! Must never: run a record again without being told to.

use super::config::Connection;
use super::failure::Complaint;
use super::output::{self, cell, printable};
use super::progress;
use super::records;
use super::secret::{SecretFile, read_secrets};
use super::session::{Session, items, with_query};
use crate::replay::{self, Letter, Replayed, Verdict};
use bulkhead_core::code::Code;
use bulkhead_core::name::PipelineName;
use clap::{Args, Subcommand};
use serde_json::Value;

/// Dead letters shown unasked.
const LETTERS: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Which {
    pipeline: PipelineName,
    /// As `list` shows it: PARTITION-OFFSET
    #[arg(value_parser = id)]
    id: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List a pipeline's dead letters, oldest first
    List {
        pipeline: PipelineName,
        /// Only of this partition of the dead-letter topic
        #[arg(long)]
        partition: Option<i32>,
        /// Dead letters at most
        #[arg(long, default_value_t = LETTERS, value_name = "NUMBER")]
        limit: usize,
    },
    /// Show a dead letter with its record, reason and backtrace
    Show(Which),
    /// Write its record to the pipeline's input again: the pipeline handles it anew
    Replay {
        #[command(flatten)]
        which: Which,
        /// Even where that was done before
        #[arg(long)]
        again: bool,
        /// Run it on this machine instead, and compare the verdict and its fuel; nothing is written
        #[arg(long, conflicts_with = "again")]
        local: bool,
        /// A secret that a stage is granted, by the project's name for it, and a file with a value for this machine; can be given again
        #[arg(long = "secret", value_name = "NAME=FILE", requires = "local")]
        secrets: Vec<SecretFile>,
    },
    /// Take a dead letter out of the list
    Drop(Which),
}

/// `PARTITION-OFFSET`, so that nothing else gets into a path.
fn id(text: &str) -> Result<String, String> {
    let (partition, offset) = text.split_once('-').ok_or("write it as PARTITION-OFFSET, for instance 0-17")?;
    let (partition, offset) = (partition.parse::<u32>(), offset.parse::<u64>());
    match (partition, offset) {
        (Ok(partition), Ok(offset)) => Ok(format!("{partition}-{offset}")),
        _ => Err("write it as PARTITION-OFFSET, for instance 0-17".to_owned()),
    }
}

fn of(session: &Session, pipeline: &PipelineName, rest: &str) -> anyhow::Result<String> {
    session.of_project(&format!("/pipelines/{pipeline}/dead-letters{rest}"))
}

fn one(session: &Session, which: &Which, rest: &str) -> anyhow::Result<String> {
    of(session, &which.pipeline, &format!("/{}{rest}", which.id))
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    match arguments.verb {
        Verb::List { pipeline, partition, limit } => {
            let query: Vec<_> = partition.map(|partition| ("partition", partition.to_string())).into_iter().collect();
            let answer = session.list(&of(&session, &pipeline, "")?, &query, Some(limit)).await?;
            let rows = items(&answer).iter().map(row).collect();
            let headings = ["ID", "CODE", "STAGE", "SOURCE", "FUEL", "STATE", "REASON"];
            session.show(&answer, || output::table(&headings, rows, "no dead letters"))
        }
        Verb::Show(which) => {
            let answer = session.get(&one(&session, &which, "")?).await?;
            session.show(&answer, || show(&answer))
        }
        Verb::Replay { which, local: true, secrets, .. } => replay_here(&session, &which, &secrets).await,
        Verb::Replay { which, again, local: false, .. } => {
            let query = if again { vec![("again", "true".to_owned())] } else { Vec::new() };
            let answer = session.post(&with_query(&one(&session, &which, "/replay")?, &query), &Value::Null).await?;
            session.done(&answer, &format!("{} was written to its input again", which.id))
        }
        Verb::Drop(which) => {
            let answer = session.delete(&one(&session, &which, "")?).await?;
            session.done(&answer, &format!("dropped {}", which.id))
        }
    }
}

/// Fetches record, modules and settings, and runs the record alone, as the host did that made it a dead letter.
async fn replay_here(session: &Session, which: &Which, secrets: &[SecretFile]) -> anyhow::Result<()> {
    let secrets = read_secrets(secrets)?;
    let (tenant, project) = (session.tenant()?.to_string(), session.project().to_string());
    let letter =
        Letter { tenant: &tenant, project: &project, pipeline: which.pipeline.as_str(), id: which.id.as_str() };
    let spinner = progress::waiting("fetching and running".to_owned());
    let replayed = replay::local(&session.client, letter, &super::cache_folder()?, &secrets).await;
    spinner.finish_and_clear();
    let replayed = replayed?;
    session.show(&replayed.json(), || show_replayed(&replayed))?;
    if replayed.same() {
        return Ok(());
    }
    let detail = format!("{} came to another verdict here than it says", which.id);
    Err(Complaint::new(Code::ReplayDiffers, detail).into())
}

fn show_replayed(replayed: &Replayed) -> anyhow::Result<()> {
    for line in &replayed.lines {
        output::line(&printable(line))?;
    }
    let verdict = |verdict: &Verdict| {
        let fuel = verdict.fuel.map(|fuel| format!(", fuel {fuel}")).unwrap_or_default();
        format!("{} in stage {}{fuel}: {}", verdict.code, verdict.stage, verdict.message)
    };
    let found = replayed.found.as_ref().map_or("the record passed".to_owned(), verdict);
    output::fields(&[
        ("the letter", verdict(&replayed.said)),
        ("here", found),
        ("same", if replayed.same() { "yes" } else { "no" }.to_owned()),
    ])?;
    replayed.backtrace.iter().try_for_each(|frame| output::line(&format!("  at {}", printable(frame))))
}

fn source(letter: &Value) -> String {
    let source = &letter["source"];
    format!("{} {}:{}", cell(&source["topic"]), source["partition"], source["offset"])
}

fn row(letter: &Value) -> Vec<String> {
    let field = |name: &str| cell(&letter[name]);
    let reason: String = field("reason").lines().next().unwrap_or_default().chars().take(80).collect();
    vec![field("id"), field("code"), field("stage"), source(letter), field("fuel"), field("state"), reason]
}

fn show(letter: &Value) -> anyhow::Result<()> {
    let field = |name: &str| cell(&letter[name]);
    output::fields(&[
        ("id", field("id")),
        ("state", field("state")),
        ("code", field("code")),
        ("reason", field("reason")),
        ("fuel", field("fuel")),
        ("stage", field("stage")),
        ("module", field("module")),
        ("pipeline", format!("{}, revision {}", field("pipeline"), letter["revision"])),
        ("source", source(letter)),
        ("replayed", field("replayedAt")),
        ("key", records::field(&letter["record"], "key")),
        ("value", records::field(&letter["record"], "value")),
    ])?;
    for header in letter["record"]["headers"].as_array().into_iter().flatten() {
        output::line(&format!("  {}: {}", printable(&cell(&header["name"])), records::field(header, "value")))?;
    }
    for frame in letter["backtrace"].as_array().into_iter().flatten() {
        output::line(&format!("  at {}", printable(&cell(frame))))?;
    }
    if letter["complete"] == false {
        output::line("The record did not fit its dead letter: what is missing lies at its source.")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn an_id_is_two_numbers() {
        assert_eq!(id("0-17").unwrap(), "0-17");
        for bad in ["", "0", "0-", "-1-2", "0-1/../x", "a-b"] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }
}
