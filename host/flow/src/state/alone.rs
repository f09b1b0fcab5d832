//! A stage's stores where there is no log: what a run on a developer's machine lends it.
//!
//! Layers, limits and counts are a worker's own; only the changelog is missing, so that nothing outlives the value.
//! Must never: keep what a call wrote whose outcome its caller gave up.

use super::disk::Disks;
use super::stage::StageState;
use bulkhead_core::fault::HostFault;
use bulkhead_core::limits::STATE_SCAN_BYTES_MAX;
use bulkhead_engine::{KeyValue, StateError, StateStore};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The stores of one stage, for each input and partition one.
pub struct LocalStores {
    max_bytes: u64,
    disks: Arc<Disks>,
    stores: BTreeMap<(u16, i32), LocalStore>,
}

/// The store of one input and partition: in memory while it is small, then in a folder for temporary files.
#[derive(Clone)]
pub struct LocalStore(Arc<StageState>);

impl LocalStores {
    /// Empty ones, of `max_bytes` at most each, counted as [`STATE_ENTRY_BYTES`](bulkhead_core::limits::STATE_ENTRY_BYTES) says.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, disks: Arc::new(Disks::new(None)), stores: BTreeMap::new() }
    }

    /// The store of the stage's input with this index, and this partition.
    pub fn of(&mut self, input: u16, partition: i32) -> LocalStore {
        let new = || LocalStore(Arc::new(StageState::new(self.max_bytes, self.disks.clone())));
        self.stores.entry((input, partition)).or_insert_with(new).clone()
    }

    /// All that were asked for, by input and partition.
    pub fn iter(&self) -> impl Iterator<Item = (u16, i32, &LocalStore)> {
        self.stores.iter().map(|((input, partition), store)| (*input, *partition, store))
    }

    /// Bytes of all of them, counted as their limit is.
    pub fn bytes(&self) -> u64 {
        self.stores.values().map(|store| store.0.bytes()).sum()
    }
}

impl LocalStore {
    /// The store as a call is to see it. What an earlier call wrote, and nobody kept, is gone.
    pub fn lend(&self) -> Arc<dyn StateStore> {
        self.0.discard_call();
        self.0.clone()
    }

    /// Keeps what the last call wrote.
    ///
    /// # Errors
    /// Where the folder for temporary files fails.
    pub fn keep(&self) -> Result<(), HostFault> {
        self.0.keep_call();
        self.0.accept(|_| ())
    }

    /// The entries whose key comes after `after`, in the order of their keys: as many as one scan gives, none at the end.
    ///
    /// # Errors
    /// Where the folder for temporary files fails.
    pub fn after(&self, after: Option<&[u8]>) -> Result<Vec<KeyValue>, HostFault> {
        // The least key that comes after another is that with a zero byte more.
        let start = after.map_or_else(Vec::new, |after| [after, &[0]].concat());
        self.lend().scan(&start, None, usize::MAX, STATE_SCAN_BYTES_MAX).map_err(|error| match error {
            StateError::Host(fault) => fault,
            StateError::Full(words) => HostFault::new(bulkhead_core::code::Code::Internal, words),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_keeps_what_it_is_told_to_and_nothing_of_another() {
        let mut stores = LocalStores::new(1 << 20);
        let (one, other) = (stores.of(0, 1), stores.of(0, 2));
        one.lend().set(b"kept", b"1").unwrap();
        one.keep().unwrap();
        one.lend().set(b"given up", b"2").unwrap();
        assert_eq!(one.lend().get(b"given up").unwrap(), None);
        assert_eq!(other.lend().get(b"kept").unwrap(), None);
        assert_eq!(stores.of(0, 1).after(None).unwrap(), [(b"kept".to_vec(), b"1".to_vec())]);
        assert_eq!(one.after(Some(b"kept")).unwrap(), []);
        assert_eq!(stores.bytes(), super::super::entry_bytes(4, 1));
        assert_eq!(stores.iter().map(|(_, partition, _)| partition).collect::<Vec<_>>(), [1, 2]);
    }
}
