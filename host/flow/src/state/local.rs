//! The local view of one store: in memory while it is small, on disk from then on, sealed there.
//!
//! Must never: keep a large store in memory.

use super::disk::Disks;
use super::entry_bytes;
use super::ranges::DiskStore;
use bulkhead_core::fault::HostFault;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Bytes, counted as the limit of a store counts, up to which it stays in memory. A worker may own some thousand of them.
const MEMORY_BYTES_MAX: u64 = 4 << 20;

pub(super) type Entry = (Vec<u8>, Vec<u8>);

/// See the module's documentation.
pub(super) struct Local {
    place: Place,
    disks: Arc<Disks>,
    /// What its entries count. Of a store on disk that is being restored, known only after [`Local::restored`].
    pub(super) bytes: u64,
}

enum Place {
    Memory(BTreeMap<Vec<u8>, Vec<u8>>),
    Disk(DiskStore),
}

impl Local {
    pub(super) fn new(disks: Arc<Disks>) -> Self {
        Self { place: Place::Memory(BTreeMap::new()), disks, bytes: 0 }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, HostFault> {
        match &self.place {
            Place::Memory(entries) => Ok(entries.get(key).cloned()),
            Place::Disk(store) => store.get(key),
        }
    }

    pub(super) fn value_len(&self, key: &[u8]) -> Result<Option<usize>, HostFault> {
        match &self.place {
            Place::Memory(entries) => Ok(entries.get(key).map(Vec::len)),
            Place::Disk(store) => store.value_len(key),
        }
    }

    /// Writes or removes an entry, without counting it where that would cost a look.
    pub(super) fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), HostFault> {
        match &mut self.place {
            Place::Memory(entries) => {
                let before = match value {
                    Some(value) => entries.insert(key.to_vec(), value.to_vec()),
                    None => entries.remove(key),
                };
                self.bytes -= before.map_or(0, |before| entry_bytes(key.len(), before.len()));
                self.bytes += value.map_or(0, |value| entry_bytes(key.len(), value.len()));
                self.spill()
            }
            Place::Disk(store) => store.put(key, value),
        }
    }

    /// All is restored: counts what there is.
    pub(super) fn restored(&mut self) -> Result<(), HostFault> {
        if let Place::Disk(store) = &self.place {
            self.bytes = 0;
            for entry in store.from(&[]) {
                let (key, value) = entry?;
                self.bytes += entry_bytes(key.len(), value.len());
            }
        }
        Ok(())
    }

    /// Writes or removes entries that change what is counted by `delta`.
    pub(super) fn apply(&mut self, writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>, delta: i64) -> Result<(), HostFault> {
        match &mut self.place {
            Place::Memory(entries) => {
                for (key, value) in writes {
                    match value {
                        Some(value) => drop(entries.insert(key, value)),
                        None => drop(entries.remove(&key)),
                    }
                }
            }
            Place::Disk(store) => writes.iter().try_for_each(|(key, value)| store.put(key, value.as_deref()))?,
        }
        self.bytes = self.bytes.saturating_add_signed(delta);
        self.spill()
    }

    /// Entries from `start` on, in the order of their keys.
    pub(super) fn from(&self, start: &[u8]) -> Box<dyn Iterator<Item = Result<Entry, HostFault>> + '_> {
        match &self.place {
            Place::Memory(entries) => {
                let from = (Bound::Included(start), Bound::Unbounded);
                Box::new(entries.range::<[u8], _>(from).map(|(key, value)| Ok((key.clone(), value.clone()))))
            }
            Place::Disk(store) => Box::new(store.from(start)),
        }
    }

    fn spill(&mut self) -> Result<(), HostFault> {
        if let Place::Memory(entries) = &mut self.place
            && self.bytes > MEMORY_BYTES_MAX
        {
            let mut store = self.disks.store()?;
            for (key, value) in std::mem::take(entries) {
                store.put(&key, Some(&value))?;
            }
            self.place = Place::Disk(store);
        }
        Ok(())
    }
}
