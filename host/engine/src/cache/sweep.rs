//! Keeps the folder of compiled code below its size: what was used longest ago goes first.
//!
//! Must never: take away what is being written, or fail a module because the folder is full.

use cap_std::fs::Dir;
use std::io;
use std::time::{Duration, SystemTime};

/// A file that is not whole after this long was left behind by a host that died.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(3600);
/// What a file is called until it is whole.
pub(super) const UNFINISHED: &str = ".new";

struct Entry {
    name: String,
    used: SystemTime,
    bytes: u64,
}

/// Removes leftovers and, above `bytes_max`, the entries used longest ago.
pub(super) fn sweep(dir: &Dir, bytes_max: u64) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in dir.entries()? {
        let entry = entry?;
        let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
        let used = metadata.modified().map_or(SystemTime::UNIX_EPOCH, cap_std::time::SystemTime::into_std);
        if !name.ends_with(UNFINISHED) {
            entries.push(Entry { name, used, bytes: metadata.len() });
        } else if used.elapsed().is_ok_and(|age| age > UNFINISHED_AGE_MAX) {
            remove(dir, &name)?;
        }
    }
    entries.sort_by_key(|entry| entry.used);
    let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    for entry in entries {
        if bytes <= bytes_max {
            break;
        }
        remove(dir, &entry.name)?;
        bytes -= entry.bytes;
    }
    Ok(())
}

/// Removes all entries whose names are not `wanted`.
pub(super) fn keep_only(dir: &Dir, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in dir.entries()? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if !wanted(&name) {
            remove(dir, &name)?;
        }
    }
    Ok(())
}

/// Another host on the same folder may have been faster.
fn remove(dir: &Dir, name: &str) -> io::Result<()> {
    match dir.remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
