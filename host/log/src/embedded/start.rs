//! Where to begin in a partition.
//!
//! Must never: move a position that was once committed.

use super::Shared;
use super::topics::Topic;
use crate::LogError;
use bulkhead_core::manifest::Start;

/// The offset that a start policy means now.
pub(super) fn resolve(shared: &Shared, topic: &Topic, partition: i32, start: Start) -> Result<i64, LogError> {
    let end = topic.end(partition);
    let first = shared.store.oldest(topic.id, partition)?.unwrap_or(end);
    Ok(match start {
        Start::Earliest => first,
        Start::Latest => end,
        Start::Offset(offset) => offset.clamp(first, end.max(first)),
        Start::TimeMs(time) => shared.store.first_since(topic, partition, time)?.unwrap_or(end),
    })
}
