//! The changelog: what of a store goes there, and how a store comes back from it.
//!
//! A record's key is the store's prefix (stage, input topic, source partition) and the entry's key; its value is the entry's, null
//! where it was removed. Only the last write of each key in a batch is there.
//! Must never: end a restore before all that was committed when it began is in the store.

use super::stage::{StageState, Writes};
use bulkhead_core::code::Code;
use bulkhead_core::columns::Outputs;
use bulkhead_core::fault::HostFault;
use bulkhead_core::limits::{BatchLimits, STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX};
use bulkhead_core::manifest::Start;
use bulkhead_core::name::{StageName, TopicName};
use bulkhead_core::scope::PhysicalTopic;
use bulkhead_log::{Keep, Log, LogError, TopicSpec};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a restore reads at a time.
const READ: BatchLimits = BatchLimits { records: 100_000, bytes: 8 << 20, linger_ms: 0 };
/// How long it waits for a transaction that hides the end.
const READ_WAIT: Duration = Duration::from_millis(100);
/// Bytes of a prefix and of a record's framing, at most.
const FRAMING_BYTES_MAX: usize = 1 << 10;

/// A timestamp that the log replaces by its own.
const NOW: i64 = -1;

/// What a pipeline's changelog is to be like. `partitions` of the largest of its inputs are enough, and any number is right.
pub fn changelog_spec(partitions: i32) -> TopicSpec {
    let bytes = STATE_KEY_BYTES_MAX + STATE_VALUE_BYTES_MAX + FRAMING_BYTES_MAX;
    TopicSpec { partitions, max_record_bytes: Some(bytes as u32), replicas: None, keep: Keep::Latest }
}

/// The prefix of a store's keys. Names hold no zero byte, so no prefix begins another.
pub(super) fn prefix(stage: &StageName, input: &TopicName, partition: i32) -> Vec<u8> {
    let mut prefix = Vec::new();
    prefix.extend_from_slice(stage.as_str().as_bytes());
    prefix.push(0);
    prefix.extend_from_slice(input.as_str().as_bytes());
    prefix.push(0);
    prefix.extend_from_slice(&partition.to_be_bytes());
    prefix
}

/// Adds a batch's writes to one store.
pub(super) fn push(outputs: &mut Outputs, prefix: &[u8], writes: &Writes) {
    let mut whole = prefix.to_vec();
    for (key, value) in &writes.entries {
        whole.truncate(prefix.len());
        whole.extend_from_slice(key);
        outputs.push(0, 0, NOW, Some(&whole), value.as_deref());
    }
}

/// What a restore read.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Fills new stores, each with its prefix, from one partition's changes. Blocks; ends early, as if the log were away, once
/// `stop` is set.
pub(super) fn restore(
    log: &dyn Log,
    topic: &PhysicalTopic,
    partition: i32,
    stores: &[(Vec<u8>, Arc<StageState>)],
    stop: &AtomicBool,
) -> Result<Restored, LogError> {
    let lost = |error: LogError| match error.code {
        Code::TopicGone => LogError::new(Code::StateLost, error.message),
        _ => error,
    };
    let info = log.describe(topic)?;
    let info = info.ok_or_else(|| LogError::new(Code::StateLost, format!("there is no topic `{topic}`")))?;
    let partition = partition.rem_euclid(info.partitions);
    // What an owner before this one had under way counts too, until it is known to have ended.
    let end = log.written(topic, partition).map_err(lost)?;
    let mut restored = Restored::default();
    let (mut next, mut from) = (0, Start::Earliest);
    let mut filling: Vec<_> = stores.iter().map(|(prefix, state)| (prefix, state.restoring())).collect();
    while next < end {
        if stop.load(Ordering::Acquire) {
            return Err(LogError::new(Code::LogUnavailable, "the partition went while its state was being restored"));
        }
        let (batch, to) = log.read(topic, partition, from, &READ, READ_WAIT).map_err(lost)?;
        for i in 0..batch.len() {
            let Some(key) = batch.keys.get(i) else { continue };
            let of = |prefix: &Vec<u8>| key.strip_prefix(prefix.as_slice());
            let Some((key, state)) = filling.iter_mut().find_map(|(prefix, state)| Some((of(prefix)?, state))) else {
                continue;
            };
            let value = batch.values.get(i);
            state.put(key, value).map_err(host)?;
            restored.bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        }
        restored.records += batch.len() as u64;
        (next, from) = (to, Start::Offset(to));
    }
    for (_, state) in filling {
        state.finish().map_err(host)?;
    }
    Ok(restored)
}

fn host(fault: HostFault) -> LogError {
    LogError::new(fault.code, fault.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_begins_another() {
        let of =
            |stage: &str, input: &str, partition| prefix(&stage.parse().unwrap(), &input.parse().unwrap(), partition);
        let all = [of("a", "b", 1), of("a", "b", 256), of("ab", "b", 1), of("a", "bb", 1), of("b", "a", 1)];
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                assert!(i == j || !other.starts_with(one), "{one:?} begins {other:?}");
            }
        }
    }
}
