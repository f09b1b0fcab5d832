//! `bulkhead logs`: what stages wrote, and what Bulkhead has to say about their pipelines.
//!
//! Must never: let a line rule the terminal, or leave lines out of `--follow` because a connection broke.

use super::config::Connection;
use super::events::Events;
use super::output::{self, bold, cell, printable, red};
use super::session::{Session, items, with_query};
use bulkhead_core::name::{PipelineName, StageName};
use clap::{Args, ValueEnum};
use serde_json::Value;

/// Lines shown unasked.
const LINES: usize = 200;

/// How much a line matters at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Go on with new lines, until interrupted; without --since, only new ones
    #[arg(short, long)]
    follow: bool,
    /// Only lines of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<PipelineName>,
    /// Only lines of this stage
    #[arg(long, value_name = "NAME")]
    stage: Option<StageName>,
    /// Only lines that matter at least so much
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Only lines from this time on, for instance 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines before this time
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    until: Option<String>,
    /// Lines at most [default: 200; with --follow, no end]
    #[arg(long, value_name = "LINES")]
    limit: Option<usize>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl Arguments {
    fn query(&self) -> Vec<(&'static str, String)> {
        let level = self.level.and_then(|level| level.to_possible_value()).map(|value| value.get_name().to_owned());
        let all = [
            ("pipeline", self.pipeline.as_ref().map(ToString::to_string)),
            ("stage", self.stage.as_ref().map(ToString::to_string)),
            ("level", level),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    let path = session.of_project("/logs")?;
    if !arguments.follow {
        let answer = session.list(&path, &arguments.query(), Some(arguments.limit.unwrap_or(LINES))).await?;
        return session.show(&answer, || items(&answer).iter().try_for_each(show));
    }
    let mut events = Events::new(&session, with_query(&path, &arguments.query()));
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    while left > 0 {
        let event = events.next().await?;
        if event.kind == "line" {
            let line: Value = serde_json::from_str(&event.data)?;
            session.show(&line, || show(&line))?;
            left -= 1;
        }
    }
    Ok(())
}

/// `TIME LEVEL PIPELINE/STAGE message`; Bulkhead itself has no stage.
fn show(line: &Value) -> anyhow::Result<()> {
    let level = printable(line["level"].as_str().unwrap_or_default()).to_uppercase();
    let level = match level.as_str() {
        "ERROR" | "WARN" => red(&format!("{level:5}")),
        _ => format!("{level:5}"),
    };
    let who = match line["stage"].as_str() {
        Some(stage) => format!("{}/{stage}", cell(&line["pipeline"])),
        None => cell(&line["pipeline"]),
    };
    let code = line["code"].as_str().map(|code| format!("{code} ")).unwrap_or_default();
    let message = printable(line["message"].as_str().unwrap_or_default()).into_owned();
    let at = printable(line["at"].as_str().unwrap_or_default()).into_owned();
    output::line(&format!("{at} {level} {} {}{message}", bold(&printable(&who)), printable(&code)))
}
