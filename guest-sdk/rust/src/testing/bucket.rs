//! A bucket in memory, which a case lends to a stage, natively and in the sandbox.
//!
//! Must never: hold anything that differs between two runs of a case: etags and times count writes.

use crate::bucket::ObjectInfo;
use std::collections::BTreeMap;

/// What a case's manifest would grant, as `access` says it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Get and list.
    Read,
    /// Put and delete.
    Write,
    /// All of it.
    ReadWrite,
}

impl Access {
    /// Whether it may get and list.
    pub fn reads(self) -> bool {
        self != Access::Write
    }

    /// Whether it may put and delete.
    pub fn writes(self) -> bool {
        self != Access::Read
    }
}

/// Objects in memory, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    objects: BTreeMap<String, (Vec<u8>, u64)>,
    writes: u64,
}

impl Bucket {
    /// Bytes of an object from `offset` on, at most `length`; `None` where there is no such object.
    pub fn get(&self, key: &str, offset: u64, length: u64) -> Option<Vec<u8>> {
        let (bytes, _) = self.objects.get(key)?;
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
        Some(bytes[at(offset)..at(offset.saturating_add(length))].to_vec())
    }

    /// What is known of an object.
    pub fn info(&self, key: &str) -> Option<ObjectInfo> {
        let (bytes, write) = self.objects.get(key)?;
        let (etag, modified) = (format!("{write}"), i64::try_from(*write).unwrap_or(i64::MAX));
        Some(ObjectInfo { key: key.to_owned(), size: bytes.len() as u64, etag, modified })
    }

    /// Objects whose keys begin with `prefix`, after the key `after`, in the order of their bytes, at most `limit`.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<ObjectInfo> {
        let keys = self.objects.keys().map(String::as_str);
        let wanted = keys.filter(|key| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
        wanted.take(limit).filter_map(|key| self.info(key)).collect()
    }

    /// Writes an object, whatever is there.
    pub fn put(&mut self, key: &str, bytes: &[u8]) -> ObjectInfo {
        self.writes += 1;
        self.objects.insert(key.to_owned(), (bytes.to_vec(), self.writes));
        self.info(key).expect("it is there")
    }

    /// Removes an object that may be there.
    pub fn delete(&mut self, key: &str) {
        self.objects.remove(key);
    }

    /// All objects.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.objects.iter().map(|(key, (bytes, _))| (key.clone(), bytes.clone())).collect()
    }
}

/// The host's rules for keys, which the sandbox sees to by itself.
pub(crate) fn key(key: &str) -> Result<(), String> {
    let part_is_none = |part: &str| matches!(part, "" | "." | "..") || part.len() > 255;
    let refused = match key {
        "" => "a key has at least one byte",
        _ if key.len() > 1_024 => "a key has at most 1024 bytes",
        _ if key.starts_with('/') => "a key does not begin with a slash: it is relative to the bucket",
        _ if key.chars().any(char::is_control) => "a key has no control characters",
        _ if key.split('/').any(part_is_none) => {
            "the parts of a key between its slashes have 1 to 255 bytes and are not `.` and not `..`"
        }
        _ => return Ok(()),
    };
    Err(refused.to_owned())
}

/// The same for prefixes.
pub(crate) fn prefix(prefix: &str) -> Result<(), String> {
    if prefix.is_empty() {
        return Ok(());
    }
    self::key(prefix.strip_suffix('/').ok_or("a prefix is empty or ends in a slash")?)
}

#[cfg(test)]
mod tests {
    use bulkhead_core::bucket::{KeyPrefix, ObjectKey};

    #[test]
    fn a_key_is_one_here_where_it_is_one_for_the_host() {
        let (long, part) = ("ab/".repeat(400), "p".repeat(256));
        let texts =
            ["", "a", "a/b", "a/", "/", "/a", "..", "a/../b", ".a", "a//b", "a\0", "ü/ü", &long, &long[1..], &part];
        for text in texts.into_iter().chain([&long[..1_024], &long[..1_023], &part[1..]]) {
            assert_eq!(super::key(text).is_ok(), text.parse::<ObjectKey>().is_ok(), "{text:?}");
            assert_eq!(super::prefix(text).is_ok(), text.parse::<KeyPrefix>().is_ok(), "{text:?}");
        }
    }
}
