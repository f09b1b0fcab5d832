//! Offsets of partitions and positions of groups.
//!
//! Must never: report a position that an open transaction may still change.

use super::Shared;
use super::admin::{ADMIN_TIMEOUT, Shape, shapes};
use super::client::Client;
use super::errors::{GONE, meaning};
use super::native::{NativeError, Partition, Partitions, describe, read_partition};
use crate::LogError;
use bulkhead_core::code::Code;
use rdkafka::bindings as rd;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long positions are waited for that a transaction still holds: a little above the transaction timeout of a writer that vanished, with
/// the broker's own delay in aborting it.
pub(super) const STABLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a partition's leader may take to learn that it is one.
const LEADER_TIMEOUT: Duration = Duration::from_secs(2);
const LEADER_POLL: Duration = Duration::from_millis(50);

/// The offset of the oldest record kept, as an offset that asks for it.
pub(super) const EARLIEST: i64 = -2;
/// The read-committed end, as an offset that asks for it.
pub(super) const LATEST: i64 = -1;

/// What is said of the end of a partition that nobody leads at the moment.
pub(super) const UNKNOWN_END: i64 = -1;

/// Asks for offsets: each element's `offset` is [`EARLIEST`], [`LATEST`] or a time in milliseconds, and is replaced by the answer.
/// Errors of single partitions are in the elements.
pub(super) fn list(client: &Client, partitions: &Partitions) -> Result<Vec<Partition>, LogError> {
    list_as(client, partitions, rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED)
}

fn list_as(
    client: &Client,
    partitions: &Partitions,
    isolation: rd::rd_kafka_IsolationLevel_t,
) -> Result<Vec<Partition>, LogError> {
    if partitions.len() == 0 {
        return Ok(Vec::new());
    }
    let api = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
    let event = client.request("listing offsets", api, ADMIN_TIMEOUT, |rk, options, queue| {
        // SAFETY: options and queue are the request's; the list is copied.
        unsafe {
            let _ = NativeError::take(rd::rd_kafka_AdminOptions_set_isolation_level(options, isolation));
            rd::rd_kafka_ListOffsets(rk, partitions.as_ptr(), options, queue);
        }
    })?;
    let mut count = 0;
    // SAFETY: a successful answer to this request holds this result, which lives as long as the event.
    unsafe {
        let result = rd::rd_kafka_event_ListOffsets_result(event.as_ptr());
        let infos = rd::rd_kafka_ListOffsets_result_infos(result, &mut count);
        let element = |i| rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(i));
        Ok((0..count).map(|i| read_partition(element(i))).collect())
    }
}

/// The read-committed end of every partition of each topic.
pub(super) fn ends(client: &Client, topics: &[&str]) -> Result<Vec<Vec<i64>>, LogError> {
    let until = Instant::now() + LEADER_TIMEOUT;
    loop {
        let shapes = shapes(client, topics)?;
        let (found, all) = led_ends(client, topics, &shapes)?;
        // A partition with a leader has an end. Where its leader does not know yet, it will in a moment.
        if all || Instant::now() >= until {
            let end =
                |topic: &str, partition| found.get(&(topic.to_owned(), partition)).copied().unwrap_or(UNKNOWN_END);
            let of = |(topic, shape): (&&str, &Option<Shape>)| match shape {
                None => Vec::new(),
                Some(shape) => (0..shape.partitions).map(|partition| end(topic, partition)).collect(),
            };
            return Ok(topics.iter().zip(&shapes).map(of).collect());
        }
        std::thread::sleep(LEADER_POLL);
    }
}

/// The offset after the last record of a partition, those of open transactions included.
pub(super) fn written(client: &Client, topic: &str, partition: i32) -> Result<i64, LogError> {
    let mut asked = Partitions::new();
    asked.add(topic, partition, LATEST);
    let all = rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED;
    match list_as(client, &asked, all)?.into_iter().next() {
        Some(answer) if answer.error == 0 => Ok(answer.offset),
        Some(answer) if GONE.contains(&answer.error) => Err(super::topics::gone(topic)),
        Some(answer) if meaning(answer.error) == Code::PartitionLeaderless => {
            Err(LogError::new(Code::LogUnavailable, format!("nobody leads partition {partition} of topic {topic}")))
        }
        Some(answer) => {
            let doing = format!("asking for the end of topic {topic}");
            Err(client.error(&doing, &NativeError::of(answer.error)))
        }
        None => Err(LogError::new(Code::LogUnavailable, "listing offsets: an empty answer")),
    }
}

type Ends = HashMap<(String, i32), i64>;

/// The ends of partitions that have a leader, and whether all of these answered.
fn led_ends(client: &Client, topics: &[&str], shapes: &[Option<Shape>]) -> Result<(Ends, bool), LogError> {
    let mut asked = Partitions::new();
    for (topic, shape) in topics.iter().zip(shapes) {
        let Some(shape) = shape else { continue };
        for partition in (0..shape.partitions).filter(|partition| !shape.leaderless.contains(partition)) {
            asked.add(topic, partition, LATEST);
        }
    }
    let mut found = HashMap::new();
    let mut all = true;
    for answer in list(client, &asked)? {
        if answer.error == 0 {
            found.insert((answer.topic, answer.partition), answer.offset);
            continue;
        }
        all = false;
        if !GONE.contains(&answer.error) && meaning(answer.error) != Code::PartitionLeaderless {
            let doing = format!("asking for the end of topic {}", answer.topic);
            return Err(client.error(&doing, &NativeError::of(answer.error)));
        }
    }
    Ok((found, all))
}

/// The group's position in every partition of each topic, with open transactions waited for.
pub(super) fn committed(shared: &Shared, group: &str, topics: &[&str]) -> Result<Vec<Vec<Option<i64>>>, LogError> {
    let shapes = shapes(&shared.admin, topics)?;
    let mut asked = Partitions::new();
    for (topic, shape) in topics.iter().zip(&shapes) {
        let count = shape.as_ref().map_or(0, |shape| shape.partitions);
        (0..count).for_each(|partition| asked.add(topic, partition, i64::from(rd::RD_KAFKA_OFFSET_INVALID)));
    }
    let found = shared.groups.positions(&shared.config, group, &asked, STABLE_TIMEOUT)?;
    if let Some(failed) = found.iter().find(|found| found.error != 0 && !GONE.contains(&found.error)) {
        let doing = format!("asking for the position of group {group} in topic {}", failed.topic);
        return Err(LogError::new(meaning(failed.error), format!("{doing}: {}", describe(failed.error))));
    }
    let position = |topic: &str, partition| {
        let found = found.iter().find(|found| found.topic == topic && found.partition == partition);
        found.map(|found| found.offset).filter(|offset| *offset >= 0)
    };
    let of = |(topic, shape): (&&str, &Option<Shape>)| {
        let count = shape.as_ref().map_or(0, |shape| shape.partitions);
        (0..count).map(|partition| position(topic, partition)).collect()
    };
    Ok(topics.iter().zip(&shapes).map(of).collect())
}
