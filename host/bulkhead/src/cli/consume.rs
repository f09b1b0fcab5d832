//! `bulkhead consume`: records of a topic, up to its present ends or as they come.
//!
//! Without `--follow`, partition after partition is read up to the end that it had at the start, so the command ends. With it, records of
//! all partitions come as they are written, until the command is interrupted; a connection that breaks goes on where it was.
//! Must never: commit a position: pipelines do not notice who looks.

use super::config::Connection;
use super::events::Events;
use super::output;
use super::records;
use super::session::{Session, with_query};
use bulkhead_core::name::TopicName;
use clap::Args;
use serde_json::Value;

/// Records of one read at most.
const READ_RECORDS: u64 = 1_000;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    topic: TopicName,
    /// Where to begin: earliest, latest, offset:N or time:RFC3339 [default: earliest; with --follow, latest]
    #[arg(long, value_name = "POSITION")]
    from: Option<String>,
    /// Only this partition
    #[arg(long)]
    partition: Option<i32>,
    /// Go on as records are written, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// End after so many records
    #[arg(long, value_name = "RECORDS")]
    limit: Option<u64>,
    /// Show headers too
    #[arg(long)]
    headers: bool,
    /// Print values alone, one a line, for another program
    #[arg(long, conflicts_with_all = ["headers", "output"])]
    values: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    match arguments.follow {
        true => follow(&session, &arguments, &mut left).await,
        false => read(&session, &arguments, &mut left).await,
    }
}

fn show(session: &Session, arguments: &Arguments, record: &Value) -> anyhow::Result<()> {
    if arguments.values {
        output::line(&records::field(record, "value"))
    } else if session.is_json() {
        output::json(record)
    } else {
        output::line(&records::line(record, arguments.headers))
    }
}

/// Up to the present ends.
async fn read(session: &Session, arguments: &Arguments, left: &mut u64) -> anyhow::Result<()> {
    let path = session.of_tenant(&format!("/topics/{}", arguments.topic))?;
    let topic = session.get(&path).await?;
    let ends: Vec<i64> = topic["ends"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    match arguments.partition {
        // Control knows better whether there is such a partition.
        Some(only) => {
            let end = usize::try_from(only).ok().and_then(|only| ends.get(only)).copied();
            read_partition(session, arguments, &path, (only, end.unwrap_or(i64::MAX)), left).await
        }
        None => {
            for partition in (0..).zip(ends) {
                read_partition(session, arguments, &path, partition, left).await?;
            }
            Ok(())
        }
    }
}

async fn read_partition(
    session: &Session,
    arguments: &Arguments,
    path: &str,
    (partition, end): (i32, i64),
    left: &mut u64,
) -> anyhow::Result<()> {
    let mut from = arguments.from.clone().unwrap_or_else(|| "earliest".to_owned());
    while *left > 0 {
        let limit = READ_RECORDS.min(*left);
        let query = [("partition", partition.to_string()), ("from", from.clone()), ("limit", limit.to_string())];
        let mut page = session.get(&with_query(&format!("{path}/records"), &query)).await?;
        let next = page["next"].as_i64().unwrap_or(end);
        for record in page["records"].as_array_mut().into_iter().flatten() {
            if record["offset"].as_i64().is_some_and(|offset| offset < end) {
                record["partition"] = partition.into();
                show(session, arguments, record)?;
                *left -= 1;
            }
        }
        // A page may be empty where a transaction left a gap; one that does not go on is the last.
        if next >= end || next.to_string() == from {
            break;
        }
        from = next.to_string();
    }
    Ok(())
}

/// As they come.
async fn follow(session: &Session, arguments: &Arguments, left: &mut u64) -> anyhow::Result<()> {
    let mut query = vec![("from", arguments.from.clone().unwrap_or_else(|| "latest".to_owned()))];
    query.extend(arguments.partition.map(|partition| ("partition", partition.to_string())));
    let path = session.of_tenant(&format!("/topics/{}/records", arguments.topic))?;
    let mut events = Events::new(session, with_query(&path, &query));
    while *left > 0 {
        let event = events.next().await?;
        if event.kind == "record" {
            show(session, arguments, &serde_json::from_str(&event.data)?)?;
            *left -= 1;
        }
    }
    Ok(())
}
