//! A folder as a store: a file for each object.
//!
//! `object_store`'s own folder follows symbolic links, so one link in a bucket would open the machine; this one opens every part of
//! a key from its parent with `O_NOFOLLOW`, so that no link is followed anywhere below the root, not even to a place inside of it
//! (`cap-std` would follow those, and a link could lead from one tenant's prefix to another's). A file appears under its name
//! whole and on the disk, or not at all.
//! Must never: open by a path of more than one part, or leave a half-written file under an object's name.

use crate::error::{BucketError, BucketErrorKind};
use bulkhead_core::bucket::{Condition, ObjectInfo};
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, linkat, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// Where files are written before they have their name. No tenant's name begins with an underscore.
const WRITING: &str = "_bulkhead.writing";
/// A folder that is gone by the time that it is used is made again, this often: a delete may take empty folders away at any moment.
const FOLDER_TRIES: u32 = 16;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: Arc<OwnedFd>,
    writing: Arc<OwnedFd>,
    /// Held while a condition is looked at and acted upon. It holds within one process.
    together: Arc<Mutex<()>>,
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Writing {
    folder: Folder,
    name: String,
    file: Option<File>,
    bytes: u64,
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

impl Folder {
    /// Opens the root, which alone may be reached by links. What a crash left half-written is removed.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let root: OwnedFd = File::open(path)?.into();
        make(&root, WRITING)?;
        let writing = openat(&root, WRITING, folder_flags(), Mode::empty())?;
        Ok(Self { root: Arc::new(root), writing: Arc::new(writing), together: Arc::default() })
    }

    /// The folder of a key, opened part by part, and the key's last part.
    fn parent<'a>(&self, key: &'a str, make_missing: bool) -> Result<(OwnedFd, &'a str), BucketError> {
        let (folders, last) = key.rsplit_once('/').unwrap_or(("", key));
        Ok((self.walk(folders, make_missing)?, last))
    }

    fn walk(&self, folders: &str, make_missing: bool) -> Result<OwnedFd, BucketError> {
        let mut at = self.root.try_clone()?;
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            let mut found = openat(&at, part, folder_flags(), Mode::empty());
            if make_missing && matches!(found, Err(Errno::NOENT)) {
                make(&at, part)?;
                found = openat(&at, part, folder_flags(), Mode::empty());
            }
            at = found?;
        }
        Ok(at)
    }

    /// Begins a file that has no name yet.
    pub(crate) fn begin(&self) -> Result<Writing, BucketError> {
        let name = uuid::Uuid::now_v7().to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&*self.writing, name.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Writing { folder: self.clone(), name, file: Some(file.into()), bytes: 0 })
    }

    pub(crate) fn put(&self, key: &str, bytes: &Bytes, condition: &Condition) -> Result<ObjectInfo, BucketError> {
        let mut writing = self.begin()?;
        writing.write(bytes)?;
        writing.publish(key, condition)
    }

    fn open_object(&self, key: &str) -> Result<(File, ObjectInfo), BucketError> {
        let (parent, name) = self.parent(key, false)?;
        // Opening a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&parent, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file.into(), info(key, &stat))),
            FileType::Directory => Err(BucketError::new(BucketErrorKind::Missing, "there is a folder of this name")),
            _ => Err(BucketError::new(BucketErrorKind::KeyTaken, "what has this name is no file")),
        }
    }

    pub(crate) fn head(&self, key: &str) -> Result<ObjectInfo, BucketError> {
        Ok(self.open_object(key)?.1)
    }

    pub(crate) fn get(&self, key: &str, range: Range<u64>) -> Result<(ObjectInfo, Bytes), BucketError> {
        let (mut file, info) = self.open_object(key)?;
        let range = range.start.min(info.size)..range.end.min(info.size);
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
        Ok((info, bytes.into()))
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), BucketError> {
        let removed = self.parent(key, false).and_then(|(parent, name)| {
            // A folder of this name is no object.
            let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                return Ok(());
            }
            Ok(unlinkat(&parent, name, AtFlags::empty())?)
        });
        match removed {
            Err(error) if error.kind == BucketErrorKind::Missing => Ok(()),
            done => done,
        }
    }

    /// Removes the folder `below`, which ends in a slash, with the folders in it. What is no folder stays, and so do those around it.
    pub(crate) fn remove_folders(&self, below: &str) -> Result<(), BucketError> {
        let key = below.trim_end_matches('/');
        let removed = self.parent(key, false).and_then(|(parent, name)| {
            let folder = openat(&parent, name, folder_flags(), Mode::empty())?;
            remove_inner(&folder, 0)?;
            remove_empty(&parent, name)
        });
        match removed {
            Err(error) if error.kind == BucketErrorKind::Missing => Ok(()),
            done => done,
        }
    }

    /// See [`crate::remote::Remote::list`]. Links and other things that are no files are left out.
    pub(crate) fn list(&self, below: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>, BucketError> {
        let mut found = BTreeMap::new();
        match self.walk(below, false) {
            Ok(folder) => collect(&folder, below, after, limit, &mut found)?,
            Err(error) if error.kind == BucketErrorKind::Missing => {}
            Err(error) => return Err(error),
        }
        Ok(found.into_values().collect())
    }

    /// Puts an object under another key, whatever lies there.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), BucketError> {
        let (from_parent, from_name) = self.parent(from, false)?;
        let (to_parent, to_name) = self.parent(to, true)?;
        renameat(&from_parent, from_name, &to_parent, to_name)?;
        sync(&to_parent)
    }
}

impl Writing {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BucketError> {
        let file = self.file.as_mut().ok_or_else(|| BucketError::new(BucketErrorKind::Away, "the file is done"))?;
        file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Gives the file its name, once it is on the disk.
    pub(crate) fn publish(mut self, key: &str, condition: &Condition) -> Result<ObjectInfo, BucketError> {
        let file = self.file.take().ok_or_else(|| BucketError::new(BucketErrorKind::Away, "the file is done"))?;
        file.sync_all()?;
        let stat = fstat(&file)?;
        let (parent, name) = self.parent(key)?;
        let _together = self.folder.together.lock();
        match condition {
            Condition::Absent => linkat(&*self.folder.writing, &self.name, &parent, name, AtFlags::empty())?,
            Condition::Match(etag) => {
                let found = self.folder.head(key).map(|info| info.etag);
                if found.ok().as_ref() != Some(etag) {
                    return Err(BucketError::new(BucketErrorKind::Precondition, "the object has another etag"));
                }
                renameat(&*self.folder.writing, &self.name, &parent, name)?;
            }
            Condition::None => renameat(&*self.folder.writing, &self.name, &parent, name)?,
        }
        sync(&parent)?;
        Ok(info(key, &stat))
    }

    fn parent<'a>(&self, key: &'a str) -> Result<(OwnedFd, &'a str), BucketError> {
        let mut tries = 0;
        loop {
            match self.folder.parent(key, true) {
                Err(error) if error.kind == BucketErrorKind::Missing && tries < FOLDER_TRIES => tries += 1,
                found => return found,
            }
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Gone already where it was given its name by a rename; a link leaves it.
        let _ = unlinkat(&*self.folder.writing, self.name.as_str(), AtFlags::empty());
    }
}

fn make(at: &OwnedFd, name: &str) -> std::io::Result<()> {
    match mkdirat(at, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn sync(folder: &OwnedFd) -> Result<(), BucketError> {
    Ok(rustix::fs::fsync(folder)?)
}

/// Keeps the `limit` first keys after `after`. A key is at most 1,024 bytes, so this is not deep: deeper folders are left out.
fn collect(
    folder: &OwnedFd,
    below: &str,
    after: Option<&str>,
    limit: usize,
    found: &mut BTreeMap<String, ObjectInfo>,
) -> Result<(), BucketError> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        let key = format!("{below}{name}");
        let stat = match statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if after.is_none_or(|after| key.as_str() > after) => {
                found.insert(key.clone(), info(&key, &stat));
                if found.len() > limit {
                    found.pop_last();
                }
            }
            FileType::Directory if key.len() < 2 * bulkhead_core::limits::KEY_BYTES_MAX => {
                match openat(folder, entry.file_name(), folder_flags(), Mode::empty()) {
                    Ok(inner) => collect(&inner, &format!("{key}/"), after, limit, found)?,
                    Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes empty folders from the innermost outwards. A key is at most 1,024 bytes, so this is not deep.
fn remove_inner(folder: &OwnedFd, depth: usize) -> Result<(), BucketError> {
    if depth > bulkhead_core::limits::KEY_BYTES_MAX {
        return Ok(());
    }
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match openat(folder, name, folder_flags(), Mode::empty()) {
            Ok(inner) => remove_inner(&inner, depth + 1)?,
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => continue,
            Err(error) => return Err(error.into()),
        }
        remove_empty(folder, name)?;
    }
    Ok(())
}

fn remove_empty(parent: &OwnedFd, name: impl rustix::path::Arg) -> Result<(), BucketError> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn info(key: &str, stat: &rustix::fs::Stat) -> ObjectInfo {
    let modified_ms = stat.st_mtime.saturating_mul(1_000) + i64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1_000_000;
    let etag = format!("{:x}-{:x}-{:x}.{:x}", stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    ObjectInfo { key: key.to_owned(), size: u64::try_from(stat.st_size).unwrap_or(0), etag, modified_ms }
}
