//! Modules by digest: fetched when needed, verified, compiled once for all pipelines that use them.
//!
//! Must never: run bytes whose digest is not the one that was asked for.

use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, HostFault};
use bulkhead_core::name::{ModuleDigest, TenantId};
use bulkhead_engine::{Engine, Module};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Where modules' bytes come from.
pub trait ModuleSource: Send + Sync + 'static {
    /// The bytes of a tenant's module.
    fn fetch(&self, tenant: TenantId, digest: ModuleDigest) -> BoxFuture<'static, Result<Vec<u8>, HostFault>>;
}

/// See the module's documentation. Compiled modules are shared between tenants that have the same bytes: code holds no state.
pub(crate) struct Modules {
    engine: Engine,
    source: Arc<dyn ModuleSource>,
    loaded: Mutex<HashMap<ModuleDigest, Module>>,
}

impl Modules {
    pub(crate) fn new(engine: Engine, source: Arc<dyn ModuleSource>) -> Self {
        Self { engine, source, loaded: Mutex::default() }
    }

    /// Forgets all other compiled code, on disk too.
    pub(crate) fn keep_only(&self, used: &BTreeSet<ModuleDigest>) {
        self.loaded.lock().retain(|digest, _| used.contains(digest));
        self.engine.keep_only(used);
    }

    /// A tenant's module, ready to run.
    pub(crate) async fn load(&self, tenant: &TenantId, digest: ModuleDigest) -> Result<Module, Fault> {
        if let Some(module) = self.loaded.lock().get(&digest) {
            return Ok(module.clone());
        }
        let fetch = || async {
            let bytes = self.source.fetch(tenant.clone(), digest).await?;
            if ModuleDigest::of(&bytes) != digest {
                return Err(HostFault::new(Code::ModuleFetch, "the fetched bytes have another digest"));
            }
            Ok(bytes.into())
        };
        let module = self.engine.load_for(tenant, digest, fetch).await?;
        self.loaded.lock().insert(digest, module.clone());
        Ok(module)
    }
}
