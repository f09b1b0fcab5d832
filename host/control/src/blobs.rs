//! The bytes of modules, in an object store: staged while they arrive, published when they were accepted.
//!
//! An upload is written under `staging/`, which nobody reads, and renamed to its tenant's key only after inspection. A staged
//! upload that is dropped, for whatever reason, deletes itself; what a crash leaves is swept at the next start.
//! Must never: have bytes under a tenant's key whose digest is not the key's.

use crate::folder::OpenError;
use crate::problem::Problem;
use bulkhead_core::code::Code;
use bulkhead_core::name::ModuleDigest;
use bulkhead_core::scope::TenantScope;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

const STAGING: &str = "staging";
/// Bytes that are written at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks of one upload that may wait for the disk; more holds the client back.
const CHUNKS_WAITING_MAX: usize = 2;

/// The object store.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    store: Arc<dyn ObjectStore>,
    folder: Arc<std::path::Path>,
    /// Held while metadata and objects change together, so that a deletion cannot take the bytes of an upload that has
    /// just found them there.
    together: Arc<Mutex<()>>,
}

impl Blobs {
    /// Objects as files in a folder.
    pub(crate) fn local(folder: &std::path::Path) -> Result<Self, OpenError> {
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| {
            OpenError::because(Code::ConfigInvalid, format!("cannot keep modules in `{}`", folder.display()), error)
        })?;
        Ok(Self { store: Arc::new(store.with_fsync(true)), folder: folder.into(), together: Arc::default() })
    }

    /// Deletes what uploads left that a crash ended. Call it before there are uploads.
    pub(crate) async fn sweep(&self) -> Result<usize, Problem> {
        self.delete_all(&Path::from(STAGING)).await
    }

    /// Begins an upload.
    pub(crate) async fn stage(&self) -> Result<Staging, Problem> {
        let path = Path::from_iter([STAGING, &uuid::Uuid::now_v7().to_string()]);
        let upload = self.store.put_multipart(&path).await?;
        let writer = WriteMultipart::new_with_chunk_size(upload, CHUNK_BYTES);
        Ok(Staging { store: Arc::clone(&self.store), path, writer, hash: Sha256::new(), bytes: 0 })
    }

    /// Waits until nobody else changes metadata and objects together.
    pub(crate) async fn together(&self) -> MutexGuard<'_, ()> {
        self.together.lock().await
    }

    /// Puts an accepted upload where its tenant's modules are. Publishing the same bytes again changes nothing.
    pub(crate) async fn publish(&self, scope: &TenantScope, staged: &Staged) -> Result<(), Problem> {
        let key = Path::from(scope.module(&staged.digest).as_str());
        Ok(self.store.rename(&staged.path, &key).await?)
    }

    /// A module's length and bytes; `None` where there are none.
    pub(crate) async fn read(
        &self,
        scope: &TenantScope,
        digest: &ModuleDigest,
    ) -> Result<Option<(u64, BoxStream<'static, object_store::Result<Bytes>>)>, Problem> {
        match self.store.get(&Path::from(scope.module(digest).as_str())).await {
            Ok(found) => Ok(Some((found.meta.size, found.into_stream()))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a module's bytes. No error where there are none.
    pub(crate) async fn delete(&self, scope: &TenantScope, digest: &ModuleDigest) -> Result<(), Problem> {
        match self.store.delete(&Path::from(scope.module(digest).as_str())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the bytes of all of a tenant's modules, and the folder, whose name is the tenant's.
    pub(crate) async fn delete_tenant(&self, scope: &TenantScope) -> Result<usize, Problem> {
        let folder = scope.module_folder();
        let deleted = self.delete_all(&Path::from(folder.as_str())).await?;
        match tokio::fs::remove_dir(self.folder.join(&folder)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Problem::internal(error)),
            _ => Ok(deleted),
        }
    }

    /// How many modules' bytes a tenant has, the folder counted where it is there.
    pub(crate) async fn left_of(&self, scope: &TenantScope) -> Result<u64, Problem> {
        let folder = scope.module_folder();
        let found: Vec<_> = self.store.list(Some(&Path::from(folder.as_str()))).try_collect().await?;
        Ok(found.len() as u64 + u64::from(self.folder.join(&folder).exists()))
    }

    async fn delete_all(&self, folder: &Path) -> Result<usize, Problem> {
        let found: Vec<_> = self.store.list(Some(folder)).try_collect().await?;
        for object in &found {
            self.store.delete(&object.location).await?;
        }
        Ok(found.len())
    }
}

/// An upload under way.
pub(crate) struct Staging {
    store: Arc<dyn ObjectStore>,
    path: Path,
    writer: WriteMultipart,
    hash: Sha256,
    bytes: u64,
}

impl Staging {
    /// Adds bytes, waiting for the disk where it is behind.
    pub(crate) async fn write(&mut self, chunk: &[u8]) -> Result<(), Problem> {
        self.writer.wait_for_capacity(CHUNKS_WAITING_MAX).await?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        self.writer.write(chunk);
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the upload. Its bytes are on disk, and nobody's yet.
    pub(crate) async fn finish(self) -> Result<Staged, Problem> {
        let Self { store, path, writer, hash, bytes } = self;
        writer.finish().await?;
        let digest = ModuleDigest::from_bytes(hash.finalize().into());
        Ok(Staged { store, path, digest, bytes })
    }
}

/// A complete upload that nobody has accepted yet. Deletes itself when dropped, unless it was published.
#[derive(Debug)]
pub(crate) struct Staged {
    store: Arc<dyn ObjectStore>,
    path: Path,
    digest: ModuleDigest,
    bytes: u64,
}

impl Staged {
    /// The digest of what arrived.
    pub(crate) fn digest(&self) -> ModuleDigest {
        self.digest
    }

    /// How much arrived.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of it, in memory.
    pub(crate) async fn read(&self) -> Result<Bytes, Problem> {
        Ok(self.store.get(&self.path).await?.bytes().await?)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `publish` there is nothing under this path any more, and deleting it is no error that matters.
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move { store.delete(&path).await }));
        }
    }
}
