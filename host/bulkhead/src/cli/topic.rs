//! `bulkhead topic`: a tenant's topics. Their records are in [`super::produce`] and [`super::consume`].
//!
//! Must never: delete a topic under a pipeline without being told to.

use super::config::Connection;
use super::output::{self, cell};
use super::session::{Session, items, with_query};
use bulkhead_core::name::TopicName;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the topics
    List,
    /// Make a topic
    Create {
        name: TopicName,
        /// Partitions: how many workers and threads can share its records, and within which they keep their order
        #[arg(long, default_value_t = 1)]
        partitions: i32,
        /// Bytes of one record at most [default: the log's]
        #[arg(long, value_name = "BYTES")]
        max_record_bytes: Option<u32>,
    },
    /// Show a topic: its partitions, and where each ends
    Show { name: TopicName },
    /// Delete a topic with its records
    Delete {
        name: TopicName,
        /// Delete it even where pipelines use it: they stop
        #[arg(long)]
        force: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    match arguments.verb {
        Verb::List => {
            let answer = session.list(&session.of_tenant("/topics")?, &[], None).await?;
            let rows = items(&answer).iter().map(|topic| vec![cell(&topic["name"])]).collect();
            session.show(&answer, || output::table(&["TOPIC"], rows, "no topics; `bulkhead topic create` makes one"))
        }
        Verb::Create { name, partitions, max_record_bytes } => {
            let mut body = json!({"name": name, "partitions": partitions});
            if let Some(bytes) = max_record_bytes {
                body["maxRecordBytes"] = bytes.into();
            }
            let answer = session.post(&session.of_tenant("/topics")?, &body).await?;
            session.done(
                &answer,
                &format!("made topic {name} with {}", output::count(partitions.unsigned_abs().into(), "partition")),
            )
        }
        Verb::Show { name } => {
            let answer = session.get(&session.of_tenant(&format!("/topics/{name}"))?).await?;
            session.show(&answer, || show(&answer))
        }
        Verb::Delete { name, force } => {
            let query = if force { vec![("force", "true".to_owned())] } else { Vec::new() };
            let path = with_query(&session.of_tenant(&format!("/topics/{name}"))?, &query);
            session.done(&session.delete(&path).await?, &format!("deleted topic {name}"))
        }
    }
}

fn show(topic: &Value) -> anyhow::Result<()> {
    output::fields(&[
        ("topic", cell(&topic["name"])),
        ("partitions", cell(&topic["partitions"])),
        ("max record", topic["maxRecordBytes"].as_u64().map(output::size).unwrap_or_default()),
    ])?;
    let ends = topic["ends"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = ends.iter().enumerate().map(|(partition, end)| vec![partition.to_string(), cell(end)]).collect();
    output::table(&["PARTITION", "END"], rows, "no partitions")
}
