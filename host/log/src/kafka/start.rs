//! Where a member goes on in partitions that it was given: the committed position, or where the start policy says, committed first.
//!
//! Must never: start a partition that had a position from anywhere else, or from one that others have moved.

use super::Shared;
use super::client::Client;
use super::groups;
use super::inputs::Inputs;
use super::native::{NativeError, Partition, Partitions, Queue, describe};
use super::offsets::{self, EARLIEST, LATEST};
use super::stamp;
use crate::{LogError, Source};
use bulkhead_core::code::Code;
use bulkhead_core::manifest::Start;
use rdkafka::bindings as rd;
use std::collections::HashMap;
use std::time::Duration;

/// How long the group's coordinator may take to say positions before the reader looks at its group again. An open transaction that may
/// change one is waited for as well.
const POSITIONS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the group's coordinator may take to store first positions.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there are no positions yet.
pub(super) enum NotYet {
    /// The group went on without this member, which learns of it at its next poll.
    Expelled,
    Failed(LogError),
}

impl From<LogError> for NotYet {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

/// A position for each of these partitions, committed.
pub(super) fn positions(
    shared: &Shared,
    member: &Client,
    inputs: &Inputs,
    sources: &[Source],
) -> Result<HashMap<Source, i64>, NotYet> {
    let mut asked = Partitions::new();
    for source in sources {
        asked.add(inputs.topic(*source), source.partition, i64::from(rd::RD_KAFKA_OFFSET_INVALID));
    }
    let mut positions = HashMap::new();
    for found in groups::ask(member, inputs.group(), &asked, POSITIONS_TIMEOUT)? {
        let Some(source) = inputs.source(&found.topic, found.partition) else { continue };
        check(&found, "asking for its position")?;
        if found.offset >= 0 {
            stamp::check(inputs.group(), &found)?;
            positions.insert(source, found.offset);
        }
    }
    let new: Vec<Source> = sources.iter().copied().filter(|source| !positions.contains_key(source)).collect();
    if let Some(lost) = new.iter().find(|source| inputs.was_initialised(**source)) {
        let text = format!(
            "partition {} of topic {}: the committed position of group {} is gone",
            lost.partition,
            inputs.topic(*lost),
            inputs.group()
        );
        return Err(LogError::new(Code::OffsetLost, text).into());
    }
    if !new.is_empty() {
        let first = first_positions(&shared.admin, inputs, &new)?;
        commit(member, inputs, &first)?;
        positions.extend(first);
    }
    Ok(positions)
}

fn check(found: &Partition, doing: &str) -> Result<(), LogError> {
    if found.error == 0 {
        return Ok(());
    }
    let doing = format!("{doing}: partition {} of topic {}: {}", found.partition, found.topic, describe(found.error));
    Err(LogError::new(super::errors::meaning(found.error), doing))
}

/// What the start policies mean now.
fn first_positions(admin: &Client, inputs: &Inputs, new: &[Source]) -> Result<HashMap<Source, i64>, LogError> {
    let query = |spec: &dyn Fn(Source) -> Option<i64>| {
        let mut asked = Partitions::new();
        for source in new {
            if let Some(offset) = spec(*source) {
                asked.add(inputs.topic(*source), source.partition, offset);
            }
        }
        let mut answers = HashMap::new();
        for found in offsets::list(admin, &asked)? {
            check(&found, "looking for where to start")?;
            if let Some(source) = inputs.source(&found.topic, found.partition) {
                answers.insert(source, found.offset);
            }
        }
        Ok::<_, LogError>(answers)
    };
    let lows = query(&|source| matches!(inputs.start(source), Start::Earliest | Start::Offset(_)).then_some(EARLIEST))?;
    let ends = query(&|source| (inputs.start(source) != Start::Earliest).then_some(LATEST))?;
    let times = query(&|source| match inputs.start(source) {
        // Negative times have meanings of their own in this request.
        Start::TimeMs(time) => Some(time.max(0)),
        _ => None,
    })?;
    let mut first = HashMap::new();
    for source in new {
        let low = lows.get(source).copied().unwrap_or(0);
        let end = ends.get(source).copied().unwrap_or(low).max(low);
        let position = match inputs.start(*source) {
            Start::Earliest => low,
            Start::Latest => end,
            Start::Offset(offset) => offset.clamp(low, end),
            Start::TimeMs(_) => times.get(source).copied().filter(|offset| *offset >= 0).unwrap_or(end),
        };
        first.insert(*source, position);
    }
    Ok(first)
}

fn commit(member: &Client, inputs: &Inputs, first: &HashMap<Source, i64>) -> Result<(), NotYet> {
    let mut list = Partitions::new();
    for (source, position) in first {
        list.add_stamped(inputs.topic(*source), source.partition, *position);
    }
    let doing = format!("committing first positions of group {}", inputs.group());
    // SAFETY: handle, list and queue are live; the list is copied.
    let answer = unsafe {
        let queue = Queue::own(rd::rd_kafka_queue_new(member.rk())).expect("librdkafka aborts where memory is out");
        let failed = rd::rd_kafka_commit_queue(member.rk(), list.as_ptr(), queue.as_ptr(), None, std::ptr::null_mut());
        NativeError::check(super::native::code(failed)).map_err(|error| member.error(&doing, &error))?;
        queue.poll(COMMIT_TIMEOUT)
    };
    let Some(answer) = answer else {
        return Err(LogError::new(Code::LogUnavailable, format!("{doing}: no answer within {COMMIT_TIMEOUT:?}")).into());
    };
    let failed = |error: NativeError| {
        if super::errors::MEMBER_FENCED.contains(&error.code) {
            NotYet::Expelled
        } else {
            NotYet::Failed(member.error(&doing, &error))
        }
    };
    answer.error().map_err(failed)?;
    // SAFETY: the event is live, and its list with it.
    let committed = unsafe { super::native::read_partitions(rd::rd_kafka_event_topic_partition_list(answer.as_ptr())) };
    match committed.iter().find(|partition| partition.error != 0) {
        None => Ok(()),
        Some(partition) => Err(failed(NativeError::of(partition.error))),
    }
}
