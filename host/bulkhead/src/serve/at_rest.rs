//! What the embedded log seals records with: the keys of the topic's owner, as the vault holds them.
//!
//! The log is opened before control, which opens the vault; until then nothing is asked of it.
//! Must never: write a record of a tenant whose key is not held, or seal what is no tenant's.

use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use bulkhead_log::{AtRest, LogError, RunPlace};
use bulkhead_vault::{Place, TenantKeys, Vault, VaultError};
use std::sync::{Arc, OnceLock};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct LogKeys(OnceLock<Arc<Vault>>);

impl LogKeys {
    /// Gives it the vault, once.
    pub(crate) fn hold(&self, vault: Arc<Vault>) {
        // A second one would be a mistake of the caller's, and changes nothing.
        let _first = self.0.set(vault);
    }

    fn of(&self, topic: &str) -> Result<Arc<TenantKeys>, LogError> {
        let owner: Option<TenantId> = TenantScope::owner(topic);
        let held = self.0.get().zip(owner).and_then(|(vault, owner)| vault.held(&owner));
        held.ok_or_else(|| {
            LogError::new(Code::KeysShredded, format!("there is no key for the records of topic {topic}"))
        })
    }
}

/// The run's place, as its seal covers it.
fn parts(place: RunPlace<'_>) -> [String; 3] {
    [place.number.to_string(), place.partition.to_string(), place.base.to_string()]
}

fn told(error: VaultError) -> LogError {
    let code = if error.code == Code::SealBroken { Code::LogCorrupt } else { error.code };
    LogError::new(code, error.message)
}

impl AtRest for LogKeys {
    fn check(&self, topic: &str) -> Result<(), LogError> {
        self.of(topic).map(drop)
    }

    fn seal(&self, place: RunPlace<'_>, run: &[u8]) -> Result<Vec<u8>, LogError> {
        let [number, partition, base] = parts(place);
        self.of(place.topic)?.seal(Place(&["records", &number, &partition, &base]), run).map_err(told)
    }

    fn open(&self, place: RunPlace<'_>, sealed: &[u8]) -> Result<Vec<u8>, LogError> {
        let [number, partition, base] = parts(place);
        let mut run =
            self.of(place.topic)?.open(Place(&["records", &number, &partition, &base]), sealed).map_err(told)?;
        Ok(std::mem::take(&mut *run))
    }
}

#[cfg(test)]
#[path = "at_rest_tests.rs"]
mod tests;
