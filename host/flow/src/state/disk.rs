//! Stores that are too large for memory: a log-structured tree in a folder that lasts no longer than the worker.
//!
//! One database serves a tenant, with a keyspace for each store; it is opened when the first store needs it, and goes, folder and all, with
//! the last: a database's journal keeps what was deleted for as long as others write to it, and nothing of a tenant that is gone
//! may stay in the journal of those that remain. Nothing is ever synchronised to the disk, for nothing is ever read after a restart. (fjall, against redb: restoring millions of keys in no
//! order costs a tree of pages a page each, and a log-structured one little; and its memory is bounded by two numbers.)
//! What is in it is sealed under keys that are nowhere but in this process's memory: [`super::ranges`].
//! Must never: open what an earlier process left, or put two tenants into one file.

use super::ranges::DiskStore;
use bulkhead_core::code::Code;
use bulkhead_core::fault::HostFault;
use bulkhead_core::name::TenantId;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Bytes of blocks kept in memory, of all stores of a tenant together.
const CACHE_BYTES: u64 = 16 << 20;
/// Bytes of writes that one store collects in memory before they become a file.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Bytes of the database's own journal, which is there but never read.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Threads of one database that write files and merge them.
const THREADS: usize = 2;

/// Where the large stores of a worker's tenants are.
pub(crate) struct WorkerDisks {
    /// The worker's own; `None` for the system's folder for temporary files.
    folder: Option<PathBuf>,
    tenants: Mutex<HashMap<TenantId, Weak<Disks>>>,
}

/// Where those of one tenant are.
pub(crate) struct Disks {
    folder: Option<PathBuf>,
    open: Mutex<Weak<Disk>>,
    next: AtomicU64,
}

/// The open database. The folder goes after it.
pub(super) struct Disk {
    database: Database,
    _folder: tempfile::TempDir,
}

/// A failure of the disk.
pub(crate) fn failed(error: impl std::fmt::Display) -> HostFault {
    HostFault::new(Code::Internal, format!("the local store of a stage's state failed: {error}"))
}

impl WorkerDisks {
    /// In this folder, of which nobody else makes use, or the system's for temporary files. Nothing is made yet; what a worker that was
    /// killed left there is removed, since its tenants may be gone by now.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        if let Some(own) = folder.as_ref().filter(|own| own.exists())
            && let Err(error) = std::fs::remove_dir_all(own)
        {
            tracing::warn!(%error, "what an earlier worker left of stages' state stays");
        }
        Self { folder, tenants: Mutex::default() }
    }

    /// Those of a tenant: one value for as long as somebody has it.
    pub(crate) fn of(&self, tenant: &TenantId) -> Arc<Disks> {
        let mut tenants = self.tenants.lock();
        if let Some(disks) = tenants.get(tenant).and_then(Weak::upgrade) {
            return disks;
        }
        tenants.retain(|_, disks| disks.strong_count() > 0);
        let disks = Arc::new(Disks::new(self.folder.clone()));
        tenants.insert(tenant.clone(), Arc::downgrade(&disks));
        disks
    }
}

impl Disks {
    /// In this folder, or the system's for temporary files. Nothing is made yet.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, open: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// A new, empty store.
    pub(crate) fn store(&self) -> Result<DiskStore, HostFault> {
        let disk = self.disk()?;
        let name = format!("store-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspace = disk.database.keyspace(&name, options).map_err(failed)?;
        DiskStore::new(disk, keyspace)
    }

    fn disk(&self) -> Result<Arc<Disk>, HostFault> {
        let mut open = self.open.lock();
        if let Some(disk) = open.upgrade() {
            return Ok(disk);
        }
        if let Some(own) = &self.folder {
            std::fs::create_dir_all(own).map_err(failed)?;
        }
        let within = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new().prefix("bulkhead-state-").tempdir_in(within).map_err(failed)?;
        let database = Database::builder(folder.path())
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .manual_journal_persist(true)
            .worker_threads(THREADS)
            .open()
            .map_err(failed)?;
        let disk = Arc::new(Disk { database, _folder: folder });
        *open = Arc::downgrade(&disk);
        Ok(disk)
    }
}

impl Disk {
    /// Removes a store that is no longer used.
    pub(super) fn forget(&self, store: &Keyspace) {
        // What stays goes with the folder.
        if let Err(error) = self.database.delete_keyspace(store.clone()) {
            tracing::warn!(%error, "the files of a state store stay until the last of its tenant's goes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn databases(folder: &std::path::Path) -> usize {
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn a_tenants_files_go_with_its_last_store_and_no_others_do() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("pool-0");
        std::fs::create_dir_all(folder.join("bulkhead-state-of-a-killed-worker")).unwrap();
        let worker = WorkerDisks::new(Some(folder.clone()));
        assert_eq!(databases(&folder), 0);
        let [acme, globex] = ["acme", "globex"].map(|name| worker.of(&name.parse().unwrap()));
        let (mut one, two, mut other) = (acme.store().unwrap(), acme.store().unwrap(), globex.store().unwrap());
        one.put(b"k", Some(b"of acme")).unwrap();
        other.put(b"k", Some(b"of globex")).unwrap();
        assert_eq!(two.get(b"k").unwrap(), None, "a store is its own");
        assert_eq!(databases(&folder), 2, "a database for each tenant");
        drop(one);
        assert_eq!(databases(&folder), 2, "the other store still needs it");
        drop(two);
        assert_eq!(databases(&folder), 1);
        assert_eq!(other.get(b"k").unwrap().unwrap(), b"of globex");
        acme.store().unwrap().put(b"k", None).unwrap();
    }
}
