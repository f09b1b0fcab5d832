//! What a guest's descriptors are, and what each operation does. All of it runs inside [`Home::run`], so it may block, and the ledger
//! is right before and after.
//!
//! Links of either kind cannot be made, so each file has one name, and a path that stays below its folder by its words stays there.
//! `cap-std` sees to that once more.
//! Must never: change the disk without noting it in the ledger.

use super::failure::Failed;
use super::folder::private;
use super::home::{Hold, Home};
use super::ledger::Inode;
use bulkhead_core::limits::SCRATCH_PATH_BYTES_MAX;
use cap_std::fs::{Dir, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, MetadataHashValue, OpenFlags,
};

/// Bytes of one read at most.
pub(super) const READ_BYTES_MAX: usize = 64 << 10;
/// Fuel for each entry of a folder that is listed.
const ENTRY_FUEL: u64 = 500;

/// WASI's `descriptor`.
#[derive(Clone)]
pub(crate) enum Descriptor {
    File(Arc<OpenFile>),
    Folder(Arc<OpenFolder>),
}

/// A file, and what it was opened for. It closes before its handle is given back.
pub(crate) struct OpenFile {
    pub(super) file: File,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) hold: Hold,
}

/// A folder.
pub(crate) struct OpenFolder {
    dir: Dir,
    hold: Hold,
}

/// WASI's `directory-entry-stream`: a folder as it was, by name, so that the order is the same everywhere.
pub(crate) struct Listing {
    pub(super) entries: std::vec::IntoIter<DirectoryEntry>,
    _hold: Hold,
}

impl Descriptor {
    /// The instance's own folder.
    pub(super) fn root(home: &Arc<Home>) -> Result<Self, Failed> {
        let (dir, inode) = home.root()?;
        Ok(Self::Folder(Arc::new(OpenFolder { dir, hold: Hold::on(home, inode)? })))
    }

    pub(super) fn home(&self) -> &Arc<Home> {
        &self.hold().home
    }

    fn hold(&self) -> &Hold {
        match self {
            Self::File(open) => &open.hold,
            Self::Folder(open) => &open.hold,
        }
    }

    pub(super) fn file(&self) -> Result<&Arc<OpenFile>, Failed> {
        match self {
            Self::File(open) => Ok(open),
            Self::Folder(_) => Err(ErrorCode::IsDirectory.into()),
        }
    }

    fn folder(&self) -> Result<&OpenFolder, Failed> {
        match self {
            Self::Folder(open) => Ok(open),
            Self::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    pub(super) fn kind(&self) -> DescriptorType {
        match self {
            Self::File(_) => DescriptorType::RegularFile,
            Self::Folder(_) => DescriptorType::Directory,
        }
    }

    pub(super) fn flags(&self) -> DescriptorFlags {
        match self {
            Self::Folder(_) => DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY,
            Self::File(open) => {
                let flag = |has, flag| if has { flag } else { DescriptorFlags::empty() };
                flag(open.read, DescriptorFlags::READ) | flag(open.write, DescriptorFlags::WRITE)
            }
        }
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.hold().inode == other.hold().inode
    }

    pub(super) fn stat(&self) -> Result<DescriptorStat, Failed> {
        match self {
            Self::File(open) => Ok(stat(false, open.file.metadata()?.len())),
            Self::Folder(_) => Ok(stat(true, 0)),
        }
    }

    pub(super) fn hash(&self) -> MetadataHashValue {
        hash(self.home(), self.hold().inode)
    }

    pub(super) fn read(&self, bytes: u64, at: u64) -> Result<(Vec<u8>, bool), Failed> {
        let read = self.file()?.read(usize::try_from(bytes).unwrap_or(usize::MAX), at)?;
        self.home().owe(read.len() as u64);
        let end = read.is_empty();
        Ok((read, end))
    }

    pub(super) fn write(&self, bytes: &[u8], at: u64) -> Result<u64, Failed> {
        self.file()?.write(bytes, Some(at))?;
        Ok(bytes.len() as u64)
    }

    pub(super) fn set_size(&self, bytes: u64) -> Result<(), Failed> {
        let open = self.file()?;
        open.writable()?;
        let ledger = &open.hold.home.ledger;
        ledger.lock().room_for_size(open.hold.inode, bytes)?;
        let done = open.file.set_len(bytes);
        open.note_size()?;
        Ok(done?)
    }

    pub(super) fn open_at(&self, path: &str, how: OpenFlags, flags: DescriptorFlags) -> Result<Self, Failed> {
        let (folder, path) = (self.folder()?, checked(path)?);
        let (create, truncate) = (how.contains(OpenFlags::CREATE), how.contains(OpenFlags::TRUNCATE));
        let (read, write) = (flags.contains(DescriptorFlags::READ), flags.contains(DescriptorFlags::WRITE));
        let want_folder = how.contains(OpenFlags::DIRECTORY);
        if want_folder && (create || truncate) {
            return Err(ErrorCode::Invalid.into());
        }
        // Looked for now, so that nothing is made or emptied for a guest that then cannot have it.
        folder.hold.home.ledger.lock().room_for_handle().map_err(|_| Failed::TOO_MANY_OPEN)?;
        // The system creates and empties only what is opened for writing; what the guest may do is in `OpenFile`.
        let writes = write || create || truncate;
        let mut options = OpenOptions::new();
        options.read(read || !writes).write(writes).truncate(truncate);
        options.create(create).create_new(create && how.contains(OpenFlags::EXCLUSIVE)).mode(0o600);
        if create && !folder.has(path)? {
            folder.hold.home.ledger.lock().room_for_entry()?;
        }
        let opened = folder.dir.open_with(path, &options);
        if create {
            folder.note_made(path)?;
        }
        let file = opened?.into_std();
        let metadata = file.metadata()?;
        let home = &folder.hold.home;
        if truncate {
            home.ledger.lock().sized(metadata.ino(), metadata.len());
        }
        let hold = Hold::on(home, metadata.ino())?;
        match (metadata.is_dir(), want_folder) {
            (true, _) => Ok(Self::Folder(Arc::new(OpenFolder { dir: Dir::from_std_file(file), hold }))),
            (false, true) => Err(ErrorCode::NotDirectory.into()),
            (false, false) => Ok(Self::File(Arc::new(OpenFile { file, read, write, hold }))),
        }
    }

    pub(super) fn list(&self) -> Result<Listing, Failed> {
        let folder = self.folder()?;
        let mut entries = Vec::new();
        for entry in folder.dir.entries()? {
            let entry = entry?;
            let type_ = kind(entry.file_type()?.is_dir());
            let name = entry.file_name().into_string().map_err(|_| ErrorCode::IllegalByteSequence)?;
            entries.push(DirectoryEntry { type_, name });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        self.home().owe(ENTRY_FUEL * entries.len() as u64);
        Ok(Listing { entries: entries.into_iter(), _hold: folder.hold.again()? })
    }

    pub(super) fn create_folder_at(&self, path: &str) -> Result<(), Failed> {
        let (folder, path) = (self.folder()?, checked(path)?);
        folder.hold.home.ledger.lock().room_for_entry()?;
        folder.dir.create_dir_with(path, &private())?;
        folder.note_made(path)
    }

    pub(super) fn stat_at(&self, path: &str) -> Result<DescriptorStat, Failed> {
        let metadata = self.folder()?.dir.symlink_metadata(checked(path)?)?;
        Ok(stat(metadata.is_dir(), metadata.len()))
    }

    pub(super) fn hash_at(&self, path: &str) -> Result<MetadataHashValue, Failed> {
        let metadata = self.folder()?.dir.symlink_metadata(checked(path)?)?;
        Ok(hash(self.home(), metadata.ino()))
    }

    /// Nothing is a link, so reading one fails in the way that says so.
    pub(super) fn read_link_at(&self, path: &str) -> Result<String, Failed> {
        self.stat_at(path)?;
        Err(ErrorCode::Invalid.into())
    }

    pub(super) fn remove_file_at(&self, path: &str) -> Result<(), Failed> {
        let (folder, path) = (self.folder()?, checked(path)?);
        let metadata = folder.dir.symlink_metadata(path)?;
        if metadata.is_dir() {
            return Err(ErrorCode::IsDirectory.into());
        }
        folder.dir.remove_file(path)?;
        folder.hold.home.ledger.lock().unnamed(metadata.ino());
        Ok(())
    }

    pub(super) fn remove_folder_at(&self, path: &str) -> Result<(), Failed> {
        let (folder, path) = (self.folder()?, checked(path)?);
        let inode = folder.dir.symlink_metadata(path)?.ino();
        folder.dir.remove_dir(path)?;
        folder.hold.home.ledger.lock().unnamed(inode);
        Ok(())
    }

    pub(super) fn rename_at(&self, from: &str, to: &Self, new: &str) -> Result<(), Failed> {
        let (folder, from, target, new) = (self.folder()?, checked(from)?, to.folder()?, checked(new)?);
        let moved = folder.dir.symlink_metadata(from)?.ino();
        let replaced = target.dir.symlink_metadata(new).ok().map(|metadata| metadata.ino());
        folder.dir.rename(from, &target.dir, new)?;
        if let Some(replaced) = replaced.filter(|replaced| *replaced != moved) {
            folder.hold.home.ledger.lock().unnamed(replaced);
        }
        Ok(())
    }
}

impl OpenFile {
    pub(super) fn writable(&self) -> Result<(), Failed> {
        if self.write { Ok(()) } else { Err(ErrorCode::NotPermitted.into()) }
    }

    pub(super) fn readable(&self) -> Result<(), Failed> {
        if self.read { Ok(()) } else { Err(ErrorCode::NotPermitted.into()) }
    }

    /// What is there, at most [`READ_BYTES_MAX`]; nothing at the end.
    pub(super) fn read(&self, bytes: usize, at: u64) -> Result<Vec<u8>, Failed> {
        self.readable()?;
        let mut buffer = vec![0; bytes.min(READ_BYTES_MAX)];
        let read = self.file.read_at(&mut buffer, at)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    /// All or nothing, at a place or at the end.
    pub(super) fn write(&self, bytes: &[u8], at: Option<u64>) -> Result<(), Failed> {
        self.writable()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let has = self.file.metadata()?.len();
        let start = at.unwrap_or(has);
        let end = start.checked_add(bytes.len() as u64).ok_or(ErrorCode::InsufficientSpace)?;
        self.hold.home.ledger.lock().room_for_size(self.hold.inode, end.max(has))?;
        let written = self.file.write_all_at(bytes, start);
        self.note_size()?;
        Ok(written?)
    }

    fn note_size(&self) -> Result<(), Failed> {
        let bytes = self.file.metadata()?.len();
        self.hold.home.ledger.lock().sized(self.hold.inode, bytes);
        Ok(())
    }
}

impl OpenFolder {
    fn has(&self, path: &str) -> Result<bool, Failed> {
        match self.dir.symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes what is at a path, if it is new. What was to be made may have been, though making it failed.
    fn note_made(&self, path: &str) -> Result<(), Failed> {
        match self.dir.symlink_metadata(path) {
            Ok(metadata) => self.hold.home.ledger.lock().made(metadata.ino()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn checked(path: &str) -> Result<&str, Failed> {
    if path.len() > SCRATCH_PATH_BYTES_MAX { Err(ErrorCode::NameTooLong.into()) } else { Ok(path) }
}

fn kind(is_folder: bool) -> DescriptorType {
    if is_folder { DescriptorType::Directory } else { DescriptorType::RegularFile }
}

/// Without times: they would be a clock finer than the one that guests have, and differ between two runs of one record. A folder's size
/// differs between file systems.
fn stat(is_folder: bool, bytes: u64) -> DescriptorStat {
    DescriptorStat {
        type_: kind(is_folder),
        link_count: 1,
        size: if is_folder { 0 } else { bytes },
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
    }
}

/// Tells files apart, and nothing of the host's disk.
fn hash(home: &Home, inode: Inode) -> MetadataHashValue {
    MetadataHashValue { lower: home.ledger.lock().serial(inode), upper: 0 }
}
