//! A stage's keys and values for a case: in memory, one store for each input and partition, over the host's own port.
//!
//! What it promises: the manifest's limit, counted as the host counts.
//! Must never: outlive its case.

use bulkhead_core::limits::STATE_ENTRY_BYTES;
use bulkhead_engine::{StateError, StateStore};
use bulkhead_sdk::testing::Stores;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keys and values of one input and partition.
pub(crate) struct Memory {
    max_bytes: u64,
    entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Memory {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + STATE_ENTRY_BYTES
}

impl StateStore for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.entries().get(key).cloned())
    }

    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        let mut entries = self.entries();
        let held: u64 = entries.iter().filter(|(other, _)| *other != key).map(|(key, value)| bytes(key, value)).sum();
        let before = entries.get(key).map_or(0, |before| bytes(key, before));
        let after = bytes(key, value);
        if after > before && held + after > self.max_bytes {
            let (would, max) = (held + after, self.max_bytes);
            return Err(StateError::Full(format!(
                "the state would have {would} bytes in this partition, and {max} are granted"
            )));
        }
        entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), StateError> {
        self.entries().remove(key);
        Ok(())
    }

    fn scan(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
        bytes_max: u64,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        let (entries, mut counted) = (self.entries(), 0);
        let in_range = entries.range::<[u8], _>((Bound::Included(start), Bound::Unbounded));
        let page = in_range.take_while(|(key, _)| end.is_none_or(|end| key.as_slice() < end)).take(limit);
        let page = page.take_while(|(key, value)| {
            let is_first = counted == 0;
            counted += bytes(key, value);
            is_first || counted <= bytes_max
        });
        Ok(page.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// The stores of a case.
pub(crate) struct Memories {
    max_bytes: u64,
    stores: BTreeMap<(u16, i32), Arc<Memory>>,
}

impl Memories {
    /// Empty ones, of so many bytes at most each.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, stores: BTreeMap::new() }
    }

    /// The store of an input and partition.
    pub(crate) fn of(&mut self, input: u16, partition: i32) -> Arc<dyn StateStore> {
        let new = || Arc::new(Memory { max_bytes: self.max_bytes, entries: Mutex::default() });
        self.stores.entry((input, partition)).or_insert_with(new).clone()
    }

    /// What they hold; those that are empty are left out, as natively.
    pub(crate) fn held(&self) -> Stores {
        let stores = self.stores.iter().map(|(partition, memory)| (*partition, memory.entries().clone()));
        stores.filter(|(_, entries)| !entries.is_empty()).collect()
    }
}
