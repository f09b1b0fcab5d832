//! One store on disk, of which neither keys nor values can be read there: sealed under a key that is only in this value.
//!
//! A tree on disk keeps its keys in order, and sealed keys have none. So the order is kept here, coarsely: the store's keys are cut into
//! *ranges* of some hundred entries, and only where each begins is in memory. On disk an entry's key is the number of its range and a hash of
//! its own key; its own key is sealed with its value. One entry is found by its hash; a scan opens a range whole and sorts it.
//! A range that grew is cut in two, which moves half of its entries, each about once in all; a value is sealed for its hash alone, so it
//! moves as it is. Memory: a key for each few hundred entries.
//! Must never: write a key or a value that is not sealed.

use super::disk::{Disk, failed};
use bulkhead_core::fault::HostFault;
use bulkhead_vault::{HASH_BYTES, MEMORY_SEAL_BYTES, MemoryKey};
use fjall::Keyspace;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Entries above which a range is cut.
const RANGE: usize = 512;
/// Before an entry's own key stands how long it is.
const LENGTH_BYTES: usize = 4;
const NUMBER_BYTES: usize = 8;

type Entry = (Vec<u8>, Vec<u8>);
type Place = [u8; NUMBER_BYTES + HASH_BYTES];

/// See the module's documentation.
pub(crate) struct DiskStore {
    disk: Arc<Disk>,
    keyspace: Keyspace,
    key: MemoryKey,
    /// By the least key that belongs to each; the first begins with the empty one.
    ranges: BTreeMap<Vec<u8>, Range>,
    next: u64,
}

struct Range {
    number: u64,
    /// Writes until it is looked at again whether it is to be cut.
    left: usize,
}

impl DiskStore {
    pub(super) fn new(disk: Arc<Disk>, keyspace: Keyspace) -> Result<Self, HostFault> {
        let ranges = BTreeMap::from([(Vec::new(), Range { number: 0, left: RANGE })]);
        Ok(Self { disk, keyspace, key: MemoryKey::generate().map_err(failed)?, ranges, next: 1 })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, HostFault> {
        let place = self.place(key);
        let Some(sealed) = self.keyspace.get(place).map_err(failed)? else { return Ok(None) };
        self.open(&place, &sealed).map(|(_, value)| Some(value))
    }

    pub(crate) fn value_len(&self, key: &[u8]) -> Result<Option<usize>, HostFault> {
        let sealed = self.keyspace.size_of(self.place(key)).map_err(failed)?;
        Ok(sealed.map(|bytes| bytes as usize - MEMORY_SEAL_BYTES - LENGTH_BYTES - key.len()))
    }

    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), HostFault> {
        let place = self.place(key);
        let Some(value) = value else { return self.keyspace.remove(place).map_err(failed) };
        // A key has far less than 4 GiB.
        let plain = [&(key.len() as u32).to_be_bytes(), key, value].concat();
        let sealed = self.key.seal(hash_of(&place), &plain).map_err(failed)?;
        self.keyspace.insert(place, sealed).map_err(failed)?;
        let Some((start, range)) = self.ranges.range_mut::<[u8], _>(up_to(key)).next_back() else { return Ok(()) };
        range.left = range.left.saturating_sub(1);
        if range.left > 0 {
            return Ok(());
        }
        let (start, number) = (start.clone(), range.number);
        self.look_at(&start, number)
    }

    /// Entries from `start` on, in the order of their keys.
    pub(crate) fn from<'a>(&'a self, start: &[u8]) -> impl Iterator<Item = Result<Entry, HostFault>> + use<'a> {
        let first = self.ranges.range::<[u8], _>(up_to(start)).next_back().map_or(&[][..], |(first, _)| first);
        let start = start.to_vec();
        self.ranges.range::<[u8], _>((Bound::Included(first), Bound::Unbounded)).flat_map(move |(_, range)| match self
            .sorted(range.number)
        {
            Ok(mut entries) => {
                entries.retain(|(_, (key, _))| *key >= start);
                entries.into_iter().map(|(_, entry)| Ok(entry)).collect()
            }
            Err(fault) => vec![Err(fault)],
        })
    }

    /// Cuts a range in two where it has become large; writes may also have been to entries that were there.
    fn look_at(&mut self, start: &[u8], number: u64) -> Result<(), HostFault> {
        let mut entries = self.sorted(number)?;
        let half = entries.len() / 2;
        let cut = entries.len() > RANGE;
        if cut {
            let upper = entries.split_off(half);
            let (begin, new) = (upper[0].1.0.clone(), self.next);
            self.next += 1;
            for (place, _) in &upper {
                let Some(sealed) = self.keyspace.get(place).map_err(failed)? else { continue };
                self.keyspace.insert(at(new, hash_of(place)), sealed).map_err(failed)?;
                self.keyspace.remove(place).map_err(failed)?;
            }
            self.ranges.insert(begin, Range { number: new, left: until_next_look(upper.len()) });
        }
        if let Some(range) = self.ranges.get_mut(start) {
            range.left = until_next_look(entries.len());
        }
        Ok(())
    }

    /// The entries of a range with their places, in the order of their keys.
    fn sorted(&self, number: u64) -> Result<Vec<(Place, Entry)>, HostFault> {
        let mut entries = Vec::new();
        for guard in self.keyspace.prefix(number.to_be_bytes()) {
            let (place, sealed) = guard.into_inner().map_err(failed)?;
            let place = Place::try_from(&*place).map_err(failed)?;
            entries.push((place, self.open(&place, &sealed)?));
        }
        entries.sort_unstable_by(|(_, (a, _)), (_, (b, _))| a.cmp(b));
        Ok(entries)
    }

    fn place(&self, key: &[u8]) -> Place {
        let range = self.ranges.range::<[u8], _>(up_to(key)).next_back();
        at(range.map_or(0, |(_, range)| range.number), &self.key.hash(key))
    }

    fn open(&self, place: &Place, sealed: &[u8]) -> Result<Entry, HostFault> {
        let plain = self.key.open(hash_of(place), sealed).map_err(failed)?;
        let broken = || failed("an entry is cut off");
        let (length, rest) = plain.split_first_chunk::<LENGTH_BYTES>().ok_or_else(broken)?;
        let (key, value) = rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(broken)?;
        Ok((key.to_vec(), value.to_vec()))
    }
}

/// At least half of a range, so that a look, which opens all of it, is rare.
fn until_next_look(entries: usize) -> usize {
    RANGE.saturating_sub(entries).max(RANGE / 2)
}

fn up_to(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(key))
}

fn at(number: u64, hash: &[u8]) -> Place {
    let mut place = [0; NUMBER_BYTES + HASH_BYTES];
    place[..NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
    place[NUMBER_BYTES..].copy_from_slice(hash);
    place
}

fn hash_of(place: &Place) -> &[u8] {
    &place[NUMBER_BYTES..]
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.disk.forget(&self.keyspace);
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disks;
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, RngCore, SeedableRng};

    /// Against a tree in memory, with keys that are one another's beginnings, in an order in which ranges are cut over and over.
    #[test]
    fn it_is_an_ordered_map_whatever_is_written_in_which_order() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Disks::new(Some(home.path().to_owned())).store().unwrap();
        let mut model = BTreeMap::new();
        let mut random = StdRng::seed_from_u64(7);
        for n in 0..12_000_u32 {
            let mut key = vec![0; random.random_range(0..4)];
            random.fill_bytes(&mut key);
            // Some downwards, so that the first range is cut again and again.
            key.extend_from_slice(if n % 3 == 0 { b"" } else { b"same" });
            if n % 5 == 0 {
                model.remove(&key);
                store.put(&key, None).unwrap();
            } else {
                let value = n.to_be_bytes().repeat(n as usize % 3);
                store.put(&key, Some(&value)).unwrap();
                model.insert(key, value);
            }
        }
        assert!(store.ranges.len() > 8, "{} ranges", store.ranges.len());
        for start in [&b""[..], b"\x10", b"\x80same", b"\xff\xff\xff\xff"] {
            let found: Vec<_> = store.from(start).map(Result::unwrap).collect();
            let model: Vec<_> =
                model.range(start.to_vec()..).map(|(key, value)| (key.clone(), value.clone())).collect();
            assert_eq!(found, model);
        }
        for (key, value) in &model {
            assert_eq!(store.get(key).unwrap().as_ref(), Some(value));
            assert_eq!(store.value_len(key).unwrap(), Some(value.len()));
        }
        assert_eq!((store.get(b"none").unwrap(), store.value_len(b"none").unwrap()), (None, None));
    }

    #[test]
    fn no_file_holds_a_key_or_a_value() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Disks::new(Some(home.path().to_owned())).store().unwrap();
        for n in 0..20_000 {
            store.put(format!("customer-{n:05}").as_bytes(), Some(&b"hunter2".repeat(100))).unwrap();
        }
        let searched = std::process::Command::new("grep")
            .args(["--recursive", "--binary-files=text", "--count", "-e", "customer-", "-e", "hunter2"])
            .arg(home.path())
            .output();
        let searched = String::from_utf8(searched.unwrap().stdout).unwrap();
        let counts: Vec<_> = searched.lines().filter_map(|line| line.rsplit_once(':')).collect();
        assert!(!counts.is_empty() && counts.iter().all(|(_, lines)| *lines == "0"), "{searched}");
        let bytes: u64 = counts.iter().map(|(file, _)| std::fs::metadata(file).unwrap().len()).sum();
        assert!(bytes > 10 << 20, "{bytes} bytes were written");
    }
}
