//! What one call has read and written so far, over the host's store.
//!
//! Each key is read from the host once. Writes of a record can be taken back until the record is accepted; then those that make the store
//! grow or shrink go to the host at once, so that a store over its limit stops at the record that grew it. The others, which overwrite a value by one
//! that is no longer, wait for the end of the call: a counter that a thousand records raise is written once.
//! Must never: send the host anything of a record that was rejected, or allocate for each record once its buffers have grown.

use super::{KEY_BYTES_MAX, VALUE_BYTES_MAX, store};
use crate::Reject;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::rc::Rc;

/// A key and its value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// Where a key lies in the overlay; good until the call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// What a slot knows of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Unknown,
    Absent,
    Present,
}

/// What the host holds under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Unknown,
    Nothing,
    Bytes(usize),
}

#[derive(Debug)]
struct Slot {
    key: Rc<[u8]>,
    content: Content,
    /// The value, where `content` is `Present`.
    value: Vec<u8>,
    host: Host,
    /// Whether the host must still be told.
    dirty: bool,
}

/// A slot before a write of the current record; its value lies in `Overlay::before`.
#[derive(Debug)]
struct Undo {
    slot: usize,
    content: Content,
    dirty: bool,
    value: Range<usize>,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Overlay {
    places: BTreeMap<Rc<[u8]>, usize>,
    slots: Vec<Slot>,
    undo: Vec<Undo>,
    before: Vec<u8>,
    epoch: u64,
}

impl Overlay {
    pub(crate) const fn new() -> Self {
        Self { places: BTreeMap::new(), slots: Vec::new(), undo: Vec::new(), before: Vec::new(), epoch: 0 }
    }

    #[cfg(feature = "state")]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The place of a key, whose value need not be known.
    #[inline]
    pub(crate) fn place(&mut self, key: &[u8]) -> Result<Place, Reject> {
        if let Some(slot) = self.places.get(key) {
            return Ok(Place(*slot));
        }
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(bad_key(key.len()));
        }
        let (slot, key) = (self.slots.len(), Rc::<[u8]>::from(key));
        self.places.insert(Rc::clone(&key), slot);
        self.slots.push(Slot { key, content: Content::Unknown, value: Vec::new(), host: Host::Unknown, dirty: false });
        Ok(Place(slot))
    }

    /// The place of a key, with its value known.
    #[inline]
    pub(crate) fn read(&mut self, key: &[u8]) -> Result<Place, Reject> {
        let place = self.place(key)?;
        let slot = &mut self.slots[place.0];
        if slot.content == Content::Unknown {
            match store::get(key) {
                Some(value) => {
                    (slot.content, slot.host) = (Content::Present, Host::Bytes(value.len()));
                    slot.value = value;
                }
                None => (slot.content, slot.host) = (Content::Absent, Host::Nothing),
            }
        }
        Ok(place)
    }

    /// The value at a place that was read or written.
    #[inline]
    pub(crate) fn value(&self, place: Place) -> Option<&[u8]> {
        let slot = &self.slots[place.0];
        (slot.content == Content::Present).then_some(slot.value.as_slice())
    }

    /// Writes what `fill` puts into an empty buffer.
    #[inline]
    pub(crate) fn write(
        &mut self,
        place: Place,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Reject>,
    ) -> Result<(), Reject> {
        let slot = self.remember(place);
        slot.value.clear();
        slot.content = Content::Present;
        slot.dirty = true;
        let filled = fill(&mut slot.value);
        let length = slot.value.len();
        if filled.is_err() || length > VALUE_BYTES_MAX {
            self.take_back_last();
            filled?;
            return Err(too_long(length));
        }
        Ok(())
    }

    /// Removes the key at a place.
    pub(crate) fn delete(&mut self, place: Place) {
        let slot = self.remember(place);
        slot.value.clear();
        slot.content = Content::Absent;
        slot.dirty = true;
    }

    fn remember(&mut self, place: Place) -> &mut Slot {
        let slot = &mut self.slots[place.0];
        let start = self.before.len();
        self.before.extend_from_slice(&slot.value);
        let value = start..self.before.len();
        self.undo.push(Undo { slot: place.0, content: slot.content, dirty: slot.dirty, value });
        slot
    }

    fn take_back_last(&mut self) -> bool {
        let Some(undo) = self.undo.pop() else { return false };
        let slot = &mut self.slots[undo.slot];
        (slot.content, slot.dirty) = (undo.content, undo.dirty);
        slot.value.clear();
        slot.value.extend_from_slice(&self.before[undo.value.clone()]);
        self.before.truncate(undo.value.start);
        true
    }

    /// Takes back what the current record wrote.
    #[cold]
    pub(crate) fn reject(&mut self) {
        while self.take_back_last() {}
        self.epoch += 1;
    }

    /// Keeps what the current record wrote.
    #[inline]
    pub(crate) fn accept(&mut self) {
        self.before.clear();
        for undo in self.undo.drain(..) {
            self.slots[undo.slot].send(false);
        }
    }

    /// Sends the host what it does not have yet, and forgets everything.
    pub(crate) fn finish(&mut self) {
        for slot in &mut self.slots {
            slot.send(true);
        }
        self.forget();
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        self.places.clear();
        self.slots.clear();
        self.undo.clear();
        self.before.clear();
        self.epoch += 1;
    }

    /// At most `limit` entries of a range, the host's and the overlay's, merged.
    pub(crate) fn scan(&mut self, start: &[u8], end: Option<&[u8]>, limit: usize) -> Vec<Entry> {
        let mut found = Vec::new();
        let mut from = start.to_vec();
        while found.len() < limit && end.is_none_or(|end| from.as_slice() < end) {
            let wanted = u32::try_from(limit - found.len()).unwrap_or(u32::MAX);
            let page = store::scan(&from, end, wanted);
            let covered = page.last().map(|(key, _)| [key.as_slice(), &[0]].concat());
            self.merge(page, &from, covered.as_deref().or(end), limit, &mut found);
            match covered {
                Some(next) => from = next,
                None => break,
            }
        }
        found
    }

    /// Adds the host's page and the overlay's entries of the same range, in order; the overlay knows better.
    fn merge(&self, page: Vec<Entry>, from: &[u8], to: Option<&[u8]>, limit: usize, found: &mut Vec<Entry>) {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let known = self.places.range::<[u8], _>((Bound::Included(from), to));
        let mut known = known
            .map(|(key, slot)| (key.as_ref(), &self.slots[*slot]))
            .filter(|(_, slot)| slot.content != Content::Unknown)
            .peekable();
        let mut page = page.into_iter().peekable();
        while found.len() < limit {
            let host_first = match (page.peek(), known.peek()) {
                (None, None) => return,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((theirs, _)), Some((ours, _))) => {
                    if theirs.as_slice() == *ours {
                        page.next();
                        continue;
                    }
                    theirs.as_slice() < *ours
                }
            };
            if host_first {
                found.extend(page.next());
            } else if let Some((key, slot)) = known.next()
                && slot.content == Content::Present
            {
                found.push((key.to_vec(), slot.value.clone()));
            }
        }
    }
}

impl Slot {
    /// Tells the host. What only overwrites waits, unless `all` is to be sent.
    fn send(&mut self, all: bool) {
        if !self.dirty {
            return;
        }
        match (self.content, self.host) {
            (Content::Present, Host::Bytes(held)) if !all && self.value.len() <= held => return,
            (Content::Present, _) => {
                store::set(&self.key, &self.value);
                self.host = Host::Bytes(self.value.len());
            }
            (Content::Absent, Host::Nothing) => {}
            (Content::Absent | Content::Unknown, _) => {
                store::delete(&self.key);
                self.host = Host::Nothing;
            }
        }
        self.dirty = false;
    }
}

#[cold]
fn bad_key(length: usize) -> Reject {
    Reject::dead_letter(format!("a key of state has 1 to {KEY_BYTES_MAX} bytes, and this one has {length}"))
}

#[cold]
fn too_long(length: usize) -> Reject {
    Reject::dead_letter(format!("a value of state has at most {VALUE_BYTES_MAX} bytes, and this one has {length}"))
}
