//! The changelog: what of a store goes there, and how a store comes back from it.
//!
//! A record's key is the store's prefix (stage, input topic, source partition) and the entry's key; its value is the entry's, null
//! where it was removed. Only the last write of each key in a batch is there.
//!
//! Where the log does not seal what it keeps, both are sealed under the pipeline's keys: the key as a *name*, which is the same bytes for the
//! same entry, so that the topic still compacts, the value tied to that name, so that it cannot be put beside another. A plain key begins with a
//! stage's name and a sealed one with [`NAME_FORMAT`], which none begins with: so a changelog from before it was sealed is read as well. An
//! entry that has been plain would come back once the topic forgets that its sealed name was removed; so each write to a store in which
//! plain ones were found removes the plain one, too, until a later restore finds none.
//! What this does not keep out is a record that somebody adds who may write to the topic: the broker's access rights are for that.
//! Must never: end a restore before all that was committed when it began is in the store, or pass over a change that does not open.

use super::stage::{StageState, Writes};
use bulkhead_core::code::Code;
use bulkhead_core::columns::Outputs;
use bulkhead_core::fault::HostFault;
use bulkhead_core::limits::{BatchLimits, STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX};
use bulkhead_core::manifest::Start;
use bulkhead_core::name::{StageName, TopicName};
use bulkhead_core::scope::PhysicalTopic;
use bulkhead_log::{Keep, Log, LogError, TopicSpec};
use bulkhead_vault::{NAME_FORMAT, PipelineKeys, VaultError};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a restore reads at a time.
const READ: BatchLimits = BatchLimits { records: 100_000, bytes: 8 << 20, linger_ms: 0 };
/// How long it waits for a transaction that hides the end.
const READ_WAIT: Duration = Duration::from_millis(100);
/// Bytes of a prefix, of a record's framing and of its seals, at most.
const FRAMING_BYTES_MAX: usize = 1 << 10;

/// A timestamp that the log replaces by its own.
const NOW: i64 = -1;

/// What is sealed, for the seals.
const KIND: &str = "state";

/// One store, as the changelog knows it.
pub(super) struct Store {
    /// How its keys begin.
    prefix: Vec<u8>,
    pub(super) state: Arc<StageState>,
    /// Whether plain entries were found in a changelog that is sealed now.
    plain_found: AtomicBool,
}

impl Store {
    /// An empty one, of a stage and a partition of an input.
    pub(super) fn new(stage: &StageName, input: &TopicName, partition: i32, state: Arc<StageState>) -> Self {
        Self { prefix: prefix(stage, input, partition), state, plain_found: AtomicBool::new(false) }
    }

    /// Adds a batch's writes.
    ///
    /// # Errors
    /// Where they cannot be sealed.
    pub(super) fn push(
        &self,
        outputs: &mut Outputs,
        writes: &Writes,
        keys: Option<&PipelineKeys>,
    ) -> Result<(), HostFault> {
        let mut whole = self.prefix.clone();
        for (key, value) in &writes.entries {
            whole.truncate(self.prefix.len());
            whole.extend_from_slice(key);
            let Some(keys) = keys else {
                outputs.push(0, 0, NOW, Some(&whole), value.as_deref());
                continue;
            };
            if self.plain_found.load(Ordering::Relaxed) {
                outputs.push(0, 0, NOW, Some(&whole), None);
            }
            let name = keys.name(KIND, &whole).map_err(unsealed)?;
            let value = value.as_ref().map(|value| keys.seal(KIND, &[&name], value)).transpose().map_err(unsealed)?;
            outputs.push(0, 0, NOW, Some(&name), value.as_deref());
        }
        Ok(())
    }
}

fn unsealed(error: VaultError) -> HostFault {
    HostFault::new(error.code, error.message)
}

/// What a pipeline's changelog is to be like. `partitions` of the largest of its inputs are enough, and any number is right.
pub fn changelog_spec(partitions: i32) -> TopicSpec {
    let bytes = STATE_KEY_BYTES_MAX + STATE_VALUE_BYTES_MAX + FRAMING_BYTES_MAX;
    TopicSpec { partitions, max_record_bytes: Some(bytes as u32), replicas: None, keep: Keep::Latest }
}

/// The prefix of a store's keys. Names hold no zero byte, so no prefix begins another.
fn prefix(stage: &StageName, input: &TopicName, partition: i32) -> Vec<u8> {
    let mut prefix = Vec::new();
    prefix.extend_from_slice(stage.as_str().as_bytes());
    prefix.push(0);
    prefix.extend_from_slice(input.as_str().as_bytes());
    prefix.push(0);
    prefix.extend_from_slice(&partition.to_be_bytes());
    prefix
}

/// What a restore read.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Fills new stores from one partition's changes. Blocks; ends early, as if the log were away, once `stop` is set.
pub(super) fn restore(
    log: &dyn Log,
    topic: &PhysicalTopic,
    partition: i32,
    stores: &[Arc<Store>],
    keys: Option<&PipelineKeys>,
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
    let mut filling: Vec<_> = stores.iter().map(|store| (store, store.state.restoring())).collect();
    while next < end {
        if stop.load(Ordering::Acquire) {
            return Err(LogError::new(Code::LogUnavailable, "the partition went while its state was being restored"));
        }
        let (batch, to) = log.read(topic, partition, from, &READ, READ_WAIT).map_err(lost)?;
        for i in 0..batch.len() {
            let Some(written) = batch.keys.get(i) else { continue };
            let whole = opened_name(written, keys)?;
            let of = |store: &Store| whole.strip_prefix(store.prefix.as_slice());
            let found = filling.iter_mut().find_map(|(store, state)| Some((of(store)?, store, state)));
            let Some((key, store, state)) = found else { continue };
            match keys.filter(|_| is_sealed(written)) {
                None => {
                    store.plain_found.store(keys.is_some(), Ordering::Relaxed);
                    state.put(key, batch.values.get(i)).map_err(host)?;
                }
                Some(keys) => {
                    let open = |value: &[u8]| keys.open(KIND, &[written], value);
                    let value = batch.values.get(i).map(open).transpose().map_err(not_opened)?;
                    state.put(key, value.as_ref().map(|value| value.as_slice())).map_err(host)?;
                }
            }
            restored.bytes += (written.len() + batch.values.get(i).map_or(0, <[u8]>::len)) as u64;
        }
        restored.records += batch.len() as u64;
        (next, from) = (to, Start::Offset(to));
    }
    for (_, state) in filling {
        state.finish().map_err(host)?;
    }
    Ok(restored)
}

fn is_sealed(key: &[u8]) -> bool {
    key.first() == Some(&NAME_FORMAT)
}

/// A record's key in plain.
fn opened_name<'a>(written: &'a [u8], keys: Option<&PipelineKeys>) -> Result<Cow<'a, [u8]>, LogError> {
    if !is_sealed(written) {
        return Ok(Cow::Borrowed(written));
    }
    let missing = || LogError::new(Code::StateKeyAway, "the state is sealed, and this worker was given no key for it");
    let name = keys.ok_or_else(missing)?.open_name(KIND, written).map_err(not_opened)?;
    Ok(Cow::Owned(name.to_vec()))
}

/// A key that is not here may come; what was changed stays so.
fn not_opened(error: VaultError) -> LogError {
    let code = if error.code == Code::KeysShredded { Code::StateKeyAway } else { Code::StateBroken };
    LogError::new(code, error.message)
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
