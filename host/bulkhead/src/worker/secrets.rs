//! The secrets of the pipelines that this worker runs, and the keys that seal what they leave in the log: fetched from control, and kept on its
//! disk in an envelope under its master key.
//!
//! A worker that starts while control is away must run what it ran before, so its last assignment is a file, and so are the secrets of
//! that. They are fetched before an assignment that names new ones is taken over; where control goes away in between, the worker goes on
//! with what it has. What no assigned pipeline needs any more is forgotten, on disk too.
//! Must never: write a value that is not sealed, or say one.

use crate::client::{Client, Refused};
use anyhow::Context;
use bulkhead_core::assignment::{Assignment, PipelineAssignment, PipelineKey};
use bulkhead_core::code::Code;
use bulkhead_core::fault::HostFault;
use bulkhead_core::secret::{Lent, Secrets};
use bulkhead_flow::SecretSource;
use bulkhead_vault::{PipelineKeys, Place, Vault};
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What the envelope is, beside its slot.
const KIND: &str = "worker-secrets";
/// Pipelines whose secrets are fetched at a time: a worker's first assignment may name thousands.
const FETCHES: usize = 16;

/// See the module's documentation. Cheap to clone.
#[derive(Clone)]
pub(crate) struct WorkerSecrets(Arc<Inner>);

struct Inner {
    client: Client,
    vault: Arc<Vault>,
    slot: String,
    path: PathBuf,
    known: Mutex<BTreeMap<PipelineKey, Lent>>,
    /// Held while the file is written.
    writing: Mutex<()>,
}

impl WorkerSecrets {
    /// Those that were kept in this folder, which is there.
    ///
    /// # Errors
    /// Where the file cannot be read. One that does not open is no error: control is asked again.
    pub(crate) fn open(client: Client, vault: Arc<Vault>, folder: &Path, slot: &str) -> anyhow::Result<Self> {
        let path = folder.join("secrets.sealed");
        let known = match std::fs::read(&path) {
            Ok(sealed) => remembered(&vault, slot, &sealed).unwrap_or_else(|error| {
                tracing::error!(code = %error.code, error = error.message, "the remembered secrets do not open; control is asked for them");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let known = Mutex::new(known);
        Ok(Self(Arc::new(Inner { client, vault, slot: slot.to_owned(), path, known, writing: Mutex::default() })))
    }

    /// Fetches what an assignment needs and is not known, and forgets what it no longer needs.
    ///
    /// # Errors
    /// Where control does not answer. That it refuses one pipeline's is no error here: that pipeline will say so.
    pub(crate) async fn follow(&self, assignment: &Assignment) -> anyhow::Result<()> {
        let lacking: Vec<_> = assignment.pipelines.iter().filter(|pipeline| self.lacks(pipeline)).collect();
        let fetch = |pipeline: &PipelineAssignment| {
            let (client, key) = (self.0.client.clone(), pipeline.key.clone());
            async move {
                let lent = client.secrets(&key).await;
                (key, lent)
            }
        };
        let mut fetched = futures::stream::iter(lacking.into_iter().map(fetch)).buffer_unordered(FETCHES);
        let mut changed = false;
        while let Some((key, lent)) = fetched.next().await {
            match lent {
                Ok(lent) => {
                    changed = true;
                    self.0.known.lock().insert(key, lent);
                }
                Err(error) if error.is::<Refused>() => refused(&key, &error),
                Err(error) => return Err(error),
            }
        }
        let needs: BTreeMap<_, _> =
            assignment.pipelines.iter().map(|pipeline| (&pipeline.key, needs(pipeline))).collect();
        self.0.known.lock().retain(|key, _| {
            let needed = needs.get(key) == Some(&true);
            changed |= !needed;
            needed
        });
        if changed {
            self.remember().await;
        }
        Ok(())
    }

    fn lacks(&self, pipeline: &PipelineAssignment) -> bool {
        needs(pipeline)
            && self.0.known.lock().get(&pipeline.key).is_none_or(|lent| {
                let newest = lent.keys.as_ref().and_then(|keys| keys.versions.keys().next_back());
                newest.copied().unwrap_or(0) < pipeline.key_version
                    || !pipeline
                        .secrets
                        .iter()
                        .all(|(name, stamp)| lent.secrets.get(name).is_some_and(|s| s.stamp == *stamp))
            })
    }

    /// Asks control for what is lacking of a pipeline that starts.
    async fn fetch_lacking(&self, assignment: &PipelineAssignment) {
        if self.lacks(assignment) {
            match self.0.client.secrets(&assignment.key).await {
                Ok(lent) => {
                    self.0.known.lock().insert(assignment.key.clone(), lent);
                    self.remember().await;
                }
                // With what it had before, if it had something: control may be away for long.
                Err(error) => refused(&assignment.key, &error),
            }
        }
    }

    /// Writes what is known, as well as it can: a worker that cannot write goes on.
    async fn remember(&self) {
        let inner = self.0.clone();
        let written = tokio::task::spawn_blocking(move || inner.write()).await;
        if let Err(error) = written.map_err(anyhow::Error::from).and_then(|written| written) {
            tracing::error!(
                error = format!("{error:#}"),
                "could not remember the secrets; running with them all the same"
            );
        }
    }

    fn values(&self, key: &PipelineKey) -> Option<Secrets> {
        let known = self.0.known.lock();
        let secrets = &known.get(key)?.secrets;
        Some(secrets.iter().map(|(name, lent)| (name.clone(), lent.value.clone())).collect())
    }
}

impl Inner {
    fn write(&self) -> anyhow::Result<()> {
        let _writing = self.writing.lock();
        let all: Vec<_> = self.known.lock().iter().map(|(key, lent)| (key.clone(), lent.clone())).collect();
        let json = Zeroizing::new(serde_json::to_vec(&all)?);
        let sealed = self.vault.envelop(Place(&[KIND, &self.slot]), &json)?;
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

fn remembered(
    vault: &Vault,
    slot: &str,
    sealed: &[u8],
) -> Result<BTreeMap<PipelineKey, Lent>, bulkhead_vault::VaultError> {
    let json = vault.unveil(Place(&[KIND, slot]), sealed)?;
    // What cannot be read is as good as nothing, and its text is no words for a log.
    let all: Vec<(PipelineKey, Lent)> = serde_json::from_slice(&json).unwrap_or_default();
    Ok(all.into_iter().collect())
}

/// Whether there is anything to fetch for a pipeline.
fn needs(pipeline: &PipelineAssignment) -> bool {
    !pipeline.secrets.is_empty() || pipeline.key_version > 0
}

fn refused(key: &PipelineKey, error: &anyhow::Error) {
    let PipelineKey { tenant, project, pipeline } = key;
    tracing::error!(%tenant, %project, %pipeline, error = format!("{error:#}"), "control did not give a pipeline its secrets");
}

impl SecretSource for WorkerSecrets {
    fn fetch(&self, assignment: Arc<PipelineAssignment>) -> BoxFuture<'static, Result<Secrets, HostFault>> {
        let secrets = self.clone();
        Box::pin(async move {
            secrets.fetch_lacking(&assignment).await;
            secrets.values(&assignment.key).ok_or_else(|| {
                HostFault::new(Code::SecretUnavailable, "control does not give the secrets of this pipeline")
            })
        })
    }

    fn keys(&self, assignment: Arc<PipelineAssignment>) -> BoxFuture<'static, Result<Arc<PipelineKeys>, HostFault>> {
        let secrets = self.clone();
        Box::pin(async move {
            secrets.fetch_lacking(&assignment).await;
            let known = secrets.0.known.lock();
            let lent = known.get(&assignment.key).and_then(|lent| lent.keys.as_ref());
            let lent = lent.ok_or_else(|| {
                HostFault::new(Code::SecretUnavailable, "control does not give the keys of this pipeline")
            })?;
            let keys = PipelineKeys::lent(&assignment.key, lent);
            keys.map(Arc::new).map_err(|error| HostFault::new(error.code, error.message))
        })
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
