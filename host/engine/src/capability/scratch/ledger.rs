//! What one instance's scratch files hold of what they may: bytes, entries and open handles.
//!
//! The rule: each file and folder counts from when it is made until it has no name *and* nothing holds it open, with its size, holes
//! included, and [`SCRATCH_ENTRY_BYTES`]. So a file that is removed while open frees nothing before it is closed. There are no links, so a
//! file has one name or none. Room is looked for before the disk is touched, and the size is what the disk says afterwards; no other
//! operation of the instance comes between, which is for the caller to see to.
//! Must never: let the sum of what counts pass the limit.

use bulkhead_core::limits::{SCRATCH_ENTRIES_MAX, SCRATCH_ENTRY_BYTES, SCRATCH_OPEN_MAX};
use std::collections::HashMap;
use std::collections::hash_map;

/// There is no room for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The name that a file system gives a file or folder for as long as it is there.
pub(super) type Inode = u64;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Ledger {
    bytes_max: u64,
    bytes: u64,
    entries: HashMap<Inode, Entry>,
    handles: usize,
    /// How many entries there ever were.
    made: u64,
}

#[derive(Debug)]
struct Entry {
    /// The how manieth it is: the same in each run, as an inode is not.
    serial: u64,
    bytes: u64,
    handles: usize,
    named: bool,
}

impl Ledger {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, entries: HashMap::new(), handles: 0, made: 0 }
    }

    /// Whether one more file or folder may be made.
    pub(super) fn room_for_entry(&self) -> Result<(), Full> {
        let fits = self.entries.len() < SCRATCH_ENTRIES_MAX && self.bytes + SCRATCH_ENTRY_BYTES <= self.bytes_max;
        if fits { Ok(()) } else { Err(Full) }
    }

    /// Whether a file may have this size.
    pub(super) fn room_for_size(&self, file: Inode, bytes: u64) -> Result<(), Full> {
        let has = self.entries.get(&file).map_or(0, |entry| entry.bytes);
        let more = bytes.saturating_sub(has);
        if self.bytes.saturating_add(more) <= self.bytes_max { Ok(()) } else { Err(Full) }
    }

    /// Notes a file or folder that was made, if it is not known.
    pub(super) fn made(&mut self, inode: Inode) {
        if let hash_map::Entry::Vacant(place) = self.entries.entry(inode) {
            self.made += 1;
            self.bytes += SCRATCH_ENTRY_BYTES;
            place.insert(Entry { serial: self.made, bytes: 0, handles: 0, named: true });
        }
    }

    /// Notes the size that a file has.
    pub(super) fn sized(&mut self, file: Inode, bytes: u64) {
        if let Some(entry) = self.entries.get_mut(&file) {
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
        }
    }

    /// Notes that a file or folder lost its name.
    pub(super) fn unnamed(&mut self, inode: Inode) {
        if let Some(entry) = self.entries.get_mut(&inode) {
            entry.named = false;
            self.forget_if_gone(inode);
        }
    }

    /// Whether one more thing may be held open.
    pub(super) fn room_for_handle(&self) -> Result<(), Full> {
        if self.handles < SCRATCH_OPEN_MAX { Ok(()) } else { Err(Full) }
    }

    /// Notes that something holds this open, be it the instance's own folder, which has no entry.
    pub(super) fn open(&mut self, inode: Inode) -> Result<(), Full> {
        self.room_for_handle()?;
        self.handles += 1;
        if let Some(entry) = self.entries.get_mut(&inode) {
            entry.handles += 1;
        }
        Ok(())
    }

    /// Notes that something holds it open no more.
    pub(super) fn close(&mut self, inode: Inode) {
        self.handles -= 1;
        if let Some(entry) = self.entries.get_mut(&inode) {
            entry.handles -= 1;
            self.forget_if_gone(inode);
        }
    }

    /// What tells it from others, the same in each run; 0 is the instance's own folder.
    pub(super) fn serial(&self, inode: Inode) -> u64 {
        self.entries.get(&inode).map_or(0, |entry| entry.serial)
    }

    fn forget_if_gone(&mut self, inode: Inode) {
        if let hash_map::Entry::Occupied(entry) = self.entries.entry(inode)
            && !entry.get().named
            && entry.get().handles == 0
        {
            self.bytes -= entry.remove().bytes + SCRATCH_ENTRY_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 10 * SCRATCH_ENTRY_BYTES;

    #[test]
    fn a_file_counts_until_it_has_neither_name_nor_handle() {
        let mut ledger = Ledger::new(MAX);
        ledger.made(7);
        ledger.open(7).unwrap();
        ledger.sized(7, MAX - SCRATCH_ENTRY_BYTES);
        assert_eq!(ledger.room_for_entry(), Err(Full));
        ledger.unnamed(7);
        assert_eq!(ledger.room_for_entry(), Err(Full), "it is removed, but open");
        ledger.close(7);
        assert_eq!((ledger.bytes, ledger.entries.len()), (0, 0));
        assert_eq!(ledger.room_for_entry(), Ok(()));
        ledger.made(7);
        assert_eq!(ledger.serial(7), 2, "an inode that is used again is another file");
    }

    #[test]
    fn sizes_are_the_sum_and_shrinking_frees() {
        let mut ledger = Ledger::new(MAX);
        ledger.made(1);
        ledger.made(2);
        let all = MAX - 2 * SCRATCH_ENTRY_BYTES;
        ledger.room_for_size(1, all).unwrap();
        ledger.sized(1, all);
        assert_eq!(ledger.room_for_size(2, 1), Err(Full));
        assert_eq!(ledger.room_for_size(1, all), Ok(()), "what it has may be written again");
        assert_eq!(ledger.room_for_size(1, u64::MAX), Err(Full));
        ledger.sized(1, 0);
        assert_eq!(ledger.room_for_size(2, all), Ok(()));
    }

    #[test]
    fn entries_and_handles_are_limited_however_large_the_folder() {
        let mut ledger = Ledger::new(u64::MAX / 2);
        for inode in 0..SCRATCH_ENTRIES_MAX as u64 {
            ledger.room_for_entry().unwrap();
            ledger.made(inode);
        }
        assert_eq!(ledger.room_for_entry(), Err(Full));
        for _ in 0..SCRATCH_OPEN_MAX {
            ledger.open(1).unwrap();
        }
        assert_eq!(ledger.open(2), Err(Full));
        ledger.close(1);
        assert_eq!(ledger.open(2), Ok(()));
    }
}
