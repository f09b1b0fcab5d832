//! Deleting the oldest records of a topic.
//!
//! Must never: delete a record at or behind the offset that was named.

use super::admin::{ADMIN_TIMEOUT, shapes};
use super::client::Client;
use super::errors::GONE;
use super::native::{NativeError, Partitions, read_partitions};
use super::topics::gone;
use crate::LogError;
use rdkafka::bindings as rd;

/// Deletes the records before these offsets. A negative offset would mean all that there is to Kafka, so it is left out.
pub(super) fn delete_records(client: &Client, topic: &str, before: &[(i32, i64)]) -> Result<(), LogError> {
    let mut offsets = Partitions::new();
    before.iter().filter(|(_, offset)| *offset >= 0).for_each(|(partition, offset)| {
        offsets.add(topic, *partition, *offset);
    });
    if offsets.len() == 0 {
        return Ok(());
    }
    // For a topic that is not there, librdkafka would look for a leader until the time is over.
    if shapes(client, &[topic])?.iter().any(Option::is_none) {
        return Err(gone(topic));
    }
    let doing = format!("deleting records of topic {topic}");
    // SAFETY: the deletion is ours and destroyed once, after the request has copied it.
    let event = unsafe {
        let delete = rd::rd_kafka_DeleteRecords_new(offsets.as_ptr());
        let api = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETERECORDS;
        let event = client.request(&doing, api, ADMIN_TIMEOUT, |rk, options, queue| {
            let mut list = [delete];
            rd::rd_kafka_DeleteRecords(rk, list.as_mut_ptr(), 1, options, queue);
        });
        rd::rd_kafka_DeleteRecords_destroy(delete);
        event?
    };
    // SAFETY: a successful answer to this request holds this result, which lives as long as the event.
    let done = unsafe {
        let result = rd::rd_kafka_event_DeleteRecords_result(event.as_ptr());
        read_partitions(rd::rd_kafka_DeleteRecords_result_offsets(result))
    };
    match done.iter().find(|partition| partition.error != 0) {
        None => Ok(()),
        Some(failed) if GONE.contains(&failed.error) => Err(gone(topic)),
        Some(failed) => {
            let doing = format!("{doing}, partition {}", failed.partition);
            Err(client.error(&doing, &NativeError::of(failed.error)))
        }
    }
}
