//! The master key at work: makes, opens and re-wraps tenants' keys.
//!
//! While a master key is rotated there are two: the current one wraps, and what the previous one wrapped still opens, until every key is
//! wrapped by the current one.
//! Must never: wrap by the previous master key, or remember a key after it was shredded.

use crate::error::VaultError;
use crate::key::DataKey;
use crate::master::{ID_BYTES, MasterKey, MasterKeyId};
use crate::place;
use crate::source::MasterKeySource;
use crate::tenant::TenantKeys;
use bulkhead_core::name::TenantId;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The format of a wrapped key.
const FORMAT: u8 = 1;

/// A wrapped key as it is kept, with its version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WrappedKey {
    /// Rises with every new key of the tenant, from 1.
    pub version: u32,
    /// See the crate's documentation.
    pub bytes: Vec<u8>,
}

impl WrappedKey {
    /// Which master key wrapped it; `None` where these bytes are no wrapped key.
    pub fn wrapped_by(&self) -> Option<MasterKeyId> {
        let (header, _) = self.bytes.split_at_checked(1 + ID_BYTES)?;
        let id = header[1..].try_into().ok()?;
        (header[0] == FORMAT).then_some(MasterKeyId(id))
    }
}

/// See the module's documentation. Its functions may wait for the master key: call them where a thread may be held up.
pub struct Vault {
    current: Arc<dyn MasterKey>,
    previous: Option<Arc<dyn MasterKey>>,
    /// Keys that were opened, so that a key service is not asked at each request. Found by the wrapped bytes, so a row that is gone or
    /// was changed finds nothing.
    opened: Mutex<HashMap<(TenantId, WrappedKey), DataKey>>,
    /// Tenants' keys for those who cannot wait for a database.
    held: RwLock<HashMap<TenantId, Arc<TenantKeys>>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let previous = self.previous.as_ref().map(|master| master.id().to_string());
        f.debug_struct("Vault")
            .field("master", &self.current.id().to_string())
            .field("previous", &previous)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// A vault of this master key. `previous` opens what was wrapped before a rotation.
    pub fn new(current: Arc<dyn MasterKey>, previous: Option<Arc<dyn MasterKey>>) -> Self {
        Self { current, previous, opened: Mutex::default(), held: RwLock::default() }
    }

    /// The same of the places where master keys are, for a process with this data folder.
    ///
    /// # Errors
    /// As [`MasterKeySource::open`].
    pub fn of(
        data_dir: &Path,
        current: &MasterKeySource,
        previous: Option<&MasterKeySource>,
    ) -> Result<Self, VaultError> {
        let previous = previous.map(|previous| previous.open(data_dir)).transpose()?;
        Ok(Self::new(current.open(data_dir)?, previous))
    }

    /// A new key for a tenant, wrapped.
    ///
    /// # Errors
    /// Where the master key is away, or the system has no random bytes.
    pub fn new_key(&self, tenant: &TenantId, version: u32) -> Result<WrappedKey, VaultError> {
        self.wrap(tenant, version, &DataKey::generate()?)
    }

    /// The master key that wraps now.
    pub fn master(&self) -> MasterKeyId {
        self.current.id()
    }

    /// Opens all keys of a tenant.
    ///
    /// # Errors
    /// [`Code::KeysShredded`](bulkhead_core::code::Code::KeysShredded) where there are none; as [`MasterKey::unwrap`].
    pub fn open(&self, tenant: &TenantId, wrapped: Vec<WrappedKey>) -> Result<TenantKeys, VaultError> {
        let mut keys = BTreeMap::new();
        for key in wrapped {
            let version = key.version;
            keys.insert(version, self.unwrap(tenant, key)?);
        }
        TenantKeys::new(tenant.clone(), keys).ok_or_else(|| {
            let message = format!("tenant `{tenant}` has no key");
            VaultError::new(bulkhead_core::code::Code::KeysShredded, message)
        })
    }

    /// The same key wrapped by the current master key; `None` where it is already.
    ///
    /// # Errors
    /// As [`MasterKey::unwrap`] and [`MasterKey::wrap`].
    pub fn wrapped_by_current(&self, tenant: &TenantId, key: &WrappedKey) -> Result<Option<WrappedKey>, VaultError> {
        if key.wrapped_by() == Some(self.current.id()) {
            return Ok(None);
        }
        let opened = self.unwrap(tenant, key.clone())?;
        self.wrap(tenant, key.version, &opened).map(Some)
    }

    /// Holds a tenant's keys for [`Vault::held`]. Call it once they are kept durably: what is sealed under a key that is not is lost. An
    /// earlier version never replaces a later one.
    pub fn hold(&self, keys: TenantKeys) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.get(keys.tenant()).is_none_or(|there| there.current() <= keys.current()) {
            held.insert(keys.tenant().clone(), Arc::new(keys));
        }
    }

    /// The keys of a tenant that are held.
    pub fn held(&self, tenant: &TenantId) -> Option<Arc<TenantKeys>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// Forgets what it opened and holds of a tenant whose keys were shredded.
    pub fn forget(&self, tenant: &TenantId) {
        self.held.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.opened().retain(|(of, _), _| of != tenant);
    }

    fn wrap(&self, tenant: &TenantId, version: u32, key: &DataKey) -> Result<WrappedKey, VaultError> {
        let wrapped = self.current.wrap(&place::of_key(tenant, version), key)?;
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.current.id().0);
        bytes.extend_from_slice(&wrapped);
        Ok(WrappedKey { version, bytes })
    }

    fn unwrap(&self, tenant: &TenantId, wrapped: WrappedKey) -> Result<DataKey, VaultError> {
        let known = (tenant.clone(), wrapped);
        if let Some(key) = self.opened().get(&known) {
            return Ok(key.clone());
        }
        let (_, wrapped) = &known;
        let id = wrapped.wrapped_by();
        let id = id.ok_or_else(|| VaultError::unwrap(format!("a key of tenant `{tenant}` is in no known format")))?;
        let master = self.master_of(id, &format!("a key of tenant `{tenant}`"))?;
        let key = master.unwrap(&place::of_key(tenant, wrapped.version), &wrapped.bytes[1 + ID_BYTES..])?;
        self.opened().insert(known, key.clone());
        Ok(key)
    }

    pub(crate) fn current(&self) -> &dyn MasterKey {
        &*self.current
    }

    /// The master key with this id, which wrapped `what`.
    pub(crate) fn master_of(&self, id: MasterKeyId, what: &str) -> Result<&dyn MasterKey, VaultError> {
        let masters = [Some(&self.current), self.previous.as_ref()];
        masters.into_iter().flatten().find(|master| master.id() == id).map(|master| &**master).ok_or_else(|| {
            VaultError::unwrap(format!(
                "{what} was wrapped by the master key {id}, which was not given; the current one is {}",
                self.current.id()
            ))
        })
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<(TenantId, WrappedKey), DataKey>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
