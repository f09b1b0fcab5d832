//! One stage's store in one partition, as its guest sees it: three layers, the newest first.
//!
//! Must never: let a write of a failed call, or of a batch that is not to commit, reach the local view.

use super::disk::Disks;
use super::entry_bytes;
use super::local::{Entry, Local};
use bulkhead_core::fault::HostFault;
use bulkhead_core::limits::STATE_BATCH_BYTES_MAX;
use bulkhead_engine::{StateError, StateStore};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

/// See the module's documentation. Used by one task; the lock is for the guest's side of it.
pub(crate) struct StageState {
    layers: Mutex<Layers>,
    max_bytes: u64,
}

struct Layers {
    local: Local,
    batch: Writes,
    call: Writes,
}

/// Writes that are not in the local view yet; `None` removes.
#[derive(Default)]
pub(crate) struct Writes {
    pub(crate) entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What they count.
    bytes: u64,
    /// How much larger they make the store.
    delta: i64,
}

impl Writes {
    fn put(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let count = |value: &Option<Vec<u8>>| entry_bytes(key.len(), value.as_ref().map_or(0, Vec::len));
        self.bytes += count(&value);
        let before = match self.entries.get_mut(key) {
            Some(place) => Some(std::mem::replace(place, value)),
            None => self.entries.insert(key.to_vec(), value),
        };
        self.bytes -= before.as_ref().map_or(0, count);
    }
}

impl StageState {
    pub(crate) fn new(max_bytes: u64, disks: Arc<Disks>) -> Self {
        let layers = Layers { local: Local::new(disks), batch: Writes::default(), call: Writes::default() };
        Self { layers: Mutex::new(layers), max_bytes }
    }

    /// The writes of a call that ended well become the batch's.
    pub(crate) fn keep_call(&self) {
        let layers = &mut *self.layers.lock();
        let call = std::mem::take(&mut layers.call);
        layers.batch.delta += call.delta;
        for (key, value) in call.entries {
            layers.batch.put(&key, value);
        }
    }

    pub(crate) fn discard_call(&self) {
        self.layers.lock().call = Writes::default();
    }

    pub(crate) fn discard_batch(&self) {
        let mut layers = self.layers.lock();
        (layers.batch, layers.call) = Default::default();
    }

    /// The batch is to commit: gives `write` what it wrote, then shows it to the batches after it.
    pub(crate) fn accept(&self, write: impl FnOnce(&Writes)) -> Result<(), HostFault> {
        let layers = &mut *self.layers.lock();
        let batch = std::mem::take(&mut layers.batch);
        write(&batch);
        layers.local.apply(batch.entries, batch.delta)
    }

    /// Whether the batch has written anything.
    pub(crate) fn has_changes(&self) -> bool {
        !self.layers.lock().batch.entries.is_empty()
    }

    /// What the entries of accepted batches count.
    pub(crate) fn bytes(&self) -> u64 {
        self.layers.lock().local.bytes
    }

    /// To restore it.
    pub(super) fn restoring(&self) -> Restoring<'_> {
        Restoring(self.layers.lock())
    }
}

/// A store that is being restored.
pub(super) struct Restoring<'a>(MutexGuard<'a, Layers>);

impl Restoring<'_> {
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), HostFault> {
        self.0.local.restore(key, value)
    }

    pub(super) fn finish(mut self) -> Result<(), HostFault> {
        self.0.local.restored()
    }
}

impl Layers {
    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, HostFault> {
        match self.call.entries.get(key).or_else(|| self.batch.entries.get(key)) {
            Some(written) => Ok(written.as_ref().map(Vec::len)),
            None => self.local.value_len(key),
        }
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>, max: u64) -> Result<(), StateError> {
        let before = self.value_len(key).map_err(StateError::Host)?;
        let count = |len: Option<usize>| len.map_or(0, |len| entry_bytes(key.len(), len)) as i64;
        let change = count(value.map(<[u8]>::len)) - count(before);
        let bytes = self.local.bytes.saturating_add_signed(self.batch.delta + self.call.delta + change);
        if change > 0 && bytes > max {
            let words = format!("the state would have {bytes} bytes in this partition, and {max} are granted");
            return Err(StateError::Full(words));
        }
        let replaced =
            self.call.entries.get(key).map_or(0, |old| entry_bytes(key.len(), old.as_ref().map_or(0, Vec::len)));
        let written = entry_bytes(key.len(), value.map_or(0, <[u8]>::len));
        let written = self.batch.bytes + self.call.bytes - replaced + written;
        if written > STATE_BATCH_BYTES_MAX {
            let words = format!("more than {STATE_BATCH_BYTES_MAX} bytes of state were written in one batch");
            return Err(StateError::Full(words));
        }
        self.call.put(key, value.map(<[u8]>::to_vec));
        self.call.delta += change;
        Ok(())
    }
}

impl StateStore for StageState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let layers = self.layers.lock();
        match layers.call.entries.get(key).or_else(|| layers.batch.entries.get(key)) {
            Some(written) => Ok(written.clone()),
            None => layers.local.get(key).map_err(StateError::Host),
        }
    }

    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.layers.lock().write(key, Some(value), self.max_bytes)
    }

    fn delete(&self, key: &[u8]) -> Result<(), StateError> {
        self.layers.lock().write(key, None, self.max_bytes)
    }

    fn scan(&self, start: &[u8], end: Option<&[u8]>, limit: usize, bytes: u64) -> Result<Vec<Entry>, StateError> {
        let layers = self.layers.lock();
        let range = (Bound::Included(start), Bound::Unbounded);
        let mut call = layers.call.entries.range::<[u8], _>(range).peekable();
        let mut batch = layers.batch.entries.range::<[u8], _>(range).peekable();
        let mut local = layers.local.from(start).peekable();
        let (mut found, mut counted) = (Vec::new(), 0);
        while found.len() < limit {
            let next = next_key(&mut call, &mut batch, &mut local).map_err(StateError::Host)?;
            let Some(key) = next.filter(|key| end.is_none_or(|end| key.as_slice() < end)) else { break };
            let new = call.next_if(|(k, _)| **k == key).map(|(_, value)| value.clone());
            let newer = batch.next_if(|(k, _)| **k == key).map(|(_, value)| value.clone());
            let old = local.next_if(|entry| entry.as_ref().is_ok_and(|(k, _)| *k == key));
            let old = old.transpose().map_err(StateError::Host)?.map(|(_, value)| Some(value));
            let Some(value) = new.or(newer).or(old).flatten() else { continue };
            counted += entry_bytes(key.len(), value.len());
            if !found.is_empty() && counted > bytes {
                break;
            }
            found.push((key, value));
        }
        Ok(found)
    }
}

/// The least key of the three, without taking it.
fn next_key<'a>(
    call: &mut Peekable<impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)>>,
    batch: &mut Peekable<impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)>>,
    local: &mut Peekable<impl Iterator<Item = Result<Entry, HostFault>>>,
) -> Result<Option<Vec<u8>>, HostFault> {
    let local = match local.peek() {
        Some(Err(fault)) => return Err(fault.clone()),
        Some(Ok((key, _))) => Some(key),
        None => None,
    };
    let written = [call.peek().map(|(key, _)| *key), batch.peek().map(|(key, _)| *key), local];
    Ok(written.into_iter().flatten().min().cloned())
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
