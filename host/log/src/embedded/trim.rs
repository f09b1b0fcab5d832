//! Deleting the oldest records of a topic.
//!
//! Must never: delete a record at or behind the offset that was named, or give an offset out twice: where a partition goes on is kept
//! apart from its records.

use super::Shared;
use super::block::Place;
use super::store::{delete_batches, insert_batch};
use super::topics::Topic;
use crate::LogError;
use bulkhead_core::code::Code;

/// Deletes the records before these offsets, all in one transaction.
pub(super) fn delete_records(shared: &Shared, topic: &Topic, before: &[(i32, i64)]) -> Result<(), LogError> {
    if topic.compacted {
        let text = format!("topic {} keeps the last record of each key: none is deleted by its offset", topic.name);
        return Err(LogError::new(Code::LogRefused, text));
    }
    let mut write = shared.store.writing();
    if topic.is_gone() {
        return Err(super::topics::gone(&topic.name));
    }
    let mut cuts = Vec::new();
    for (partition, offset) in before.iter().copied().filter(|(_, offset)| *offset > 0) {
        if !(0..topic.partitions()).contains(&partition) {
            let text = format!("topic {} has no partition {partition}", topic.name);
            return Err(LogError::new(Code::NotFound, text));
        }
        if offset > topic.end(partition) {
            let text = format!("partition {partition} of topic {} ends before {offset}", topic.name);
            return Err(LogError::new(Code::OffsetLost, text));
        }
        // The run that the offset cuts in two, if it does. Nobody else can write it meanwhile.
        let run = shared.store.fetch(topic, partition, offset)?;
        let cut = run.filter(|run| run.offsets.first().is_some_and(|first| *first < offset));
        cuts.push((partition, offset, cut));
    }
    write.transaction(|tx| {
        for (partition, offset, cut) in cuts {
            let last = cut.as_ref().and_then(|run| run.offsets.last().copied()).unwrap_or(offset - 1);
            delete_batches(tx, topic.id, partition, 0..=last)?;
            if let Some(run) = cut {
                let kept = run.select(run.offsets.partition_point(|at| *at < offset)..run.len());
                let place = Place { topic: topic.id, partition, base: kept.offsets[0] };
                insert_batch(tx, (&shared.store.blocks, topic), place, &kept)?;
            }
        }
        Ok(())
    })
}
