//! Reading whole topics, read committed, with a plain client.
//!
//! Must never: join a group, or stop before the end that the brokers name.

use anyhow::{Context, Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// How long brokers may take for a question.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long transactions of killed processes may stay open: their timeout is 10 s.
const OPEN_TRANSACTIONS_MAX: Duration = Duration::from_secs(60);
/// How long a whole read may go without a record.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// A topic and how many partitions it has.
pub type Topic = (String, i32);

/// A client that sees only what is committed, soon after it is.
///
/// # Errors
/// Where the configuration is not accepted.
pub fn reader(config: &ClientConfig) -> Result<BaseConsumer> {
    let mut config = config.clone();
    config
        .set("group.id", "fire-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "20")
        .set("fetch.error.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("topic.metadata.refresh.fast.interval.ms", "50")
        .set("log_level", "0");
    config.create().context("cannot make a reader")
}

/// Assigns all partitions from their beginning.
///
/// # Errors
/// The client's.
pub fn assign(reader: &BaseConsumer, topics: &[Topic]) -> Result<()> {
    let mut list = TopicPartitionList::new();
    for (topic, partitions) in topics {
        for partition in 0..*partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    Ok(reader.assign(&list)?)
}

/// Calls `each` with every committed record, partition by partition in offset order, once no transaction is open.
///
/// # Errors
/// Where the brokers do not answer, a transaction stays open, or `each` fails.
pub fn read_all(
    config: &ClientConfig,
    topics: &[Topic],
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let reader = reader(config)?;
    wait_settled(config, &reader, topics)?;
    for (topic, partitions) in topics {
        for partition in 0..*partitions {
            let mut one = TopicPartitionList::new();
            one.add_partition_offset(topic, partition, Offset::Beginning)?;
            reader.assign(&one)?;
            let mut heard = Instant::now();
            loop {
                match reader.poll(POLL) {
                    Some(Ok(message)) => {
                        heard = Instant::now();
                        each(&message)?;
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) => break,
                    Some(Err(error)) if heard.elapsed() > SILENCE_MAX => return Err(error.into()),
                    None if heard.elapsed() > SILENCE_MAX => bail!("the end of {topic} {partition} was not reached"),
                    Some(Err(_)) | None => {}
                }
            }
        }
    }
    Ok(())
}

/// Waits until the last committed offset is the last one written, everywhere: no transaction is open.
fn wait_settled(config: &ClientConfig, committed: &BaseConsumer, topics: &[Topic]) -> Result<()> {
    let mut all = config.clone();
    all.set("isolation.level", "read_uncommitted").set("group.id", "fire-reader").set("log_level", "0");
    let all: BaseConsumer = all.create()?;
    for (topic, partitions) in topics {
        for partition in 0..*partitions {
            bulkhead_testbed::until_within(OPEN_TRANSACTIONS_MAX, "open transactions to end", || {
                let ask = |client: &BaseConsumer| {
                    client.fetch_watermarks(topic, partition, ASK_TIMEOUT).map_err(|error| error.to_string())
                };
                let (stable, written) = (ask(committed)?.1, ask(&all)?.1);
                if stable == written { Ok(()) } else { Err(format!("{topic} {partition}: {stable} of {written}")) }
            })?;
        }
    }
    Ok(())
}

/// The text of a header.
pub fn header(message: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    found.value.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Bytes as text.
pub fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
