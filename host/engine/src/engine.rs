//! The engine: one for a process, shared by all tenants.
//!
//! Must never: run or link bytes whose digest was not checked, or load code that the cache has not authenticated or the child has not
//! just made.

use crate::bindings::GuestPre;
use crate::cache::Cache;
use crate::capability::scratch::Scratch;
use crate::capability::{self, refuse_import};
use crate::compiler::Compiler;
use crate::config::EngineConfig;
use crate::meter::YIELD_INTERVAL_FUEL;
use crate::module::{Linked, Module};
use crate::profile::{PROFILE_INTERVAL_FUEL, Profile};
use crate::settings;
use crate::state::State;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, HostFault};
use bulkhead_core::name::{ModuleDigest, TenantId};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use wasmtime::component::{Component, Linker};

/// Compiles, links and runs components. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    wasmtime: wasmtime::Engine,
    linker: Linker<State>,
    compiler: Compiler,
    cache: Cache,
    interval: Option<NonZeroU64>,
    profile: Option<Arc<Profile>>,
    scratch: Arc<Scratch>,
    memory_bytes_max: u64,
    /// Modules in use.
    loaded: Mutex<HashMap<ModuleDigest, Weak<Linked>>>,
    /// Held while a module is compiled, so that many who want the same wait for one child.
    under_way: Mutex<HashMap<ModuleDigest, Weak<tokio::sync::Mutex<()>>>>,
}

/// A module that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The digest of its bytes.
    pub digest: ModuleDigest,
    /// Names of the interfaces that it imports, with versions; all are granted.
    pub imports: Vec<String>,
    /// Whether it acts on time.
    pub ticks: bool,
}

/// A module that did not pass, in words for its tenant; with [`Code::CompilerFailed`] or [`Code::Unavailable`] the host is at fault, and
/// the words are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// What exactly, and what to do.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("loaded", &self.shared.loaded.lock().len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Makes an engine: reserves its pool, opens the cache.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] where the cache cannot be opened or the pool has no room in the address space.
    pub fn new(config: EngineConfig) -> Result<Self, HostFault> {
        Self::make(config, Some(YIELD_INTERVAL_FUEL), None)
    }

    /// An engine whose guests report where their fuel goes: for one developer's machine. Compiled code of its own, so it needs a cache
    /// folder of its own.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn profiling(config: EngineConfig, profile: Arc<Profile>) -> Result<Self, HostFault> {
        Self::make(config, Some(PROFILE_INTERVAL_FUEL), Some(profile))
    }

    /// An engine that yields at another interval, or never: to measure what yielding costs.
    #[doc(hidden)]
    pub fn with_yields(config: EngineConfig, fuel: Option<u64>) -> Result<Self, HostFault> {
        Self::make(config, fuel, None)
    }

    fn make(config: EngineConfig, fuel: Option<u64>, profile: Option<Arc<Profile>>) -> Result<Self, HostFault> {
        let failed = |error| HostFault::new(Code::ConfigInvalid, format!("the sandbox cannot be made: {error:#}"));
        let wasmtime = wasmtime::Engine::new(&settings::worker(&config.pool, profile.is_some())).map_err(failed)?;
        let mut linker = Linker::new(&wasmtime);
        capability::link(&mut linker).map_err(failed)?;
        let cache = Cache::open(&config, settings::fingerprint(&wasmtime))?;
        let scratch = config.scratch_dir.unwrap_or_else(|| crate::cache::beside(&config.cache_dir, ".scratch"));
        let scratch = Arc::new(Scratch::new(scratch, config.scratch_bytes_max));
        let compiler = Compiler::new(config.compiler, config.compile, profile.is_some());
        let shared = Shared {
            wasmtime,
            linker,
            compiler,
            cache,
            interval: fuel.and_then(NonZeroU64::new),
            profile,
            scratch,
            memory_bytes_max: config.pool.memory_bytes,
            loaded: Mutex::default(),
            under_way: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Checks an uploaded module: everything that could keep it from running is found here, and the compiled code is kept.
    ///
    /// # Errors
    /// [`Code::NotWasm`], [`Code::CoreModule`], [`Code::ModuleInvalid`], [`Code::WrongWorld`], [`Code::ImportNotGranted`],
    /// [`Code::ModuleTooLarge`], [`Code::CompileLimit`]; [`Code::CompilerFailed`] where the host is at fault.
    pub async fn inspect(&self, wasm: Bytes) -> Result<Inspection, Refusal> {
        self.look(None, wasm, &AtomicU64::new(0)).await
    }

    /// The same in the tenant's turn, adding to `cpu_ms` the milliseconds of a core that it took, whatever came of it.
    ///
    /// # Errors
    /// As [`Engine::inspect`].
    pub async fn inspect_counting(
        &self,
        whose: &TenantId,
        wasm: Bytes,
        cpu_ms: &AtomicU64,
    ) -> Result<Inspection, Refusal> {
        self.look(Some(whose), wasm, cpu_ms).await
    }

    async fn look(&self, whose: Option<&TenantId>, wasm: Bytes, cpu_ms: &AtomicU64) -> Result<Inspection, Refusal> {
        let digest = digest_of(&wasm).await?;
        let module = self.obtain(whose, digest, async || Ok(wasm), cpu_ms).await?;
        Ok(Inspection { digest, imports: module.imports(), ticks: module.ticks() })
    }

    /// Removes compiled code of all modules but these from the cache: code holds what its module held. What runs goes on, and what is
    /// needed again is compiled again. Blocks.
    pub fn keep_only(&self, digests: &BTreeSet<ModuleDigest>) {
        self.shared.cache.keep_only(digests);
    }

    /// The module with this digest, compiled and linked. `fetch` is called only where its code is neither in use nor in the cache.
    ///
    /// # Errors
    /// What `fetch` gives; [`Code::DigestMismatch`] where it fetched something else; and the codes of [`Engine::inspect`]. All are host
    /// faults: no record is to blame.
    pub async fn load<F, Fut>(&self, digest: ModuleDigest, fetch: F) -> Result<Module, Fault>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, HostFault>>,
    {
        self.load_in_turn(None, digest, fetch).await
    }

    /// The same where tenants share the engine: what has to be compiled waits for the tenant's turn, and is fetched then, so that a tenant
    /// with a hundred new modules holds up none of another's, and no more bytes wait in memory than can be compiled.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub async fn load_for<F, Fut>(&self, whose: &TenantId, digest: ModuleDigest, fetch: F) -> Result<Module, Fault>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, HostFault>>,
    {
        self.load_in_turn(Some(whose), digest, fetch).await
    }

    async fn load_in_turn<F, Fut>(
        &self,
        whose: Option<&TenantId>,
        digest: ModuleDigest,
        fetch: F,
    ) -> Result<Module, Fault>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, HostFault>>,
    {
        let mut not_fetched = None;
        let fetch = async || {
            let wasm = match fetch().await {
                Ok(wasm) => wasm,
                Err(fault) => {
                    let refusal = Refusal::new(fault.code, fault.message.clone());
                    not_fetched = Some(fault);
                    return Err(refusal);
                }
            };
            match digest_of(&wasm).await? {
                found if found == digest => Ok(wasm),
                found => Err(Refusal::new(Code::DigestMismatch, format!("{digest} was wanted, {found} was fetched"))),
            }
        };
        match self.obtain(whose, digest, fetch, &AtomicU64::new(0)).await {
            Ok(linked) => Ok(Module::from(linked)),
            Err(refusal) => Err(not_fetched.unwrap_or_else(|| HostFault::new(refusal.code, refusal.detail)).into()),
        }
    }

    async fn obtain(
        &self,
        whose: Option<&TenantId>,
        digest: ModuleDigest,
        fetch: impl AsyncFnOnce() -> Result<Bytes, Refusal>,
        cpu_ms: &AtomicU64,
    ) -> Result<Arc<Linked>, Refusal> {
        {
            let lock = self.lock(digest);
            let _held = lock.lock().await;
            if let Some(linked) = self.at_hand(digest).await? {
                return Ok(linked);
            }
        }
        // The turn first, then the lock: whoever wants the same module waits in its own turn, not in that of a tenant with a hundred.
        let place = self.shared.compiler.place(whose).await;
        let lock = self.lock(digest);
        let _held = lock.lock().await;
        if let Some(linked) = self.at_hand(digest).await? {
            return Ok(linked);
        }
        let code = self.shared.compiler.compile(&place, fetch().await?, cpu_ms).await?;
        let linked = Arc::new(self.blocking(move |shared| shared.keep_compiled(digest, &code)).await??);
        self.shared.remember(digest, &linked);
        Ok(linked)
    }

    /// The module where it is in use or its code in the cache. Call it with the module's lock held.
    async fn at_hand(&self, digest: ModuleDigest) -> Result<Option<Arc<Linked>>, Refusal> {
        if let Some(linked) = self.in_use(digest) {
            return Ok(Some(linked));
        }
        let cached = self.blocking(move |shared| shared.take_cached(digest)).await?;
        let linked = cached.map(Arc::new);
        linked.iter().for_each(|linked| self.shared.remember(digest, linked));
        Ok(linked)
    }

    fn in_use(&self, digest: ModuleDigest) -> Option<Arc<Linked>> {
        self.shared.loaded.lock().get(&digest)?.upgrade()
    }

    /// The lock that those who want one module take.
    fn lock(&self, digest: ModuleDigest) -> Arc<tokio::sync::Mutex<()>> {
        let mut under_way = self.shared.under_way.lock();
        under_way.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = under_way.get(&digest).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        under_way.insert(digest, Arc::downgrade(&lock));
        lock
    }

    /// Runs what reads files or maps code where it delays nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .map_err(|error| Refusal::new(Code::CompilerFailed, format!("loading code failed: {error}")))
    }
}

impl Shared {
    fn take_cached(&self, digest: ModuleDigest) -> Option<Linked> {
        let code = self.cache.get(&digest)?;
        match self.link(digest, &code) {
            Ok(linked) => Some(linked),
            Err(refusal) => {
                self.cache.reject(&digest, &refusal.detail);
                None
            }
        }
    }

    fn keep_compiled(&self, digest: ModuleDigest, code: &[u8]) -> Result<Linked, Refusal> {
        let linked = self.link(digest, code)?;
        self.cache.put(&digest, code);
        Ok(linked)
    }

    #[allow(unsafe_code, reason = "the one place where compiled code is loaded")]
    fn link(&self, digest: ModuleDigest, code: &[u8]) -> Result<Linked, Refusal> {
        // SAFETY: `code` was made by wasmtime's own `precompile_component`: it comes from the compiler child of just now, or from
        // the cache, which gives back only what this host wrote there, by its MAC. That wasmtime's version and settings are the
        // same, wasmtime checks.
        let component = unsafe { Component::deserialize(&self.wasmtime, code) }.map_err(|error| {
            Refusal::new(Code::ModuleInvalid, format!("the module does not fit this host: {error:#}"))
        })?;
        // The child checked the names; this is the host's own look at what it is about to link.
        for (name, _) in component.component_type().imports(&self.wasmtime) {
            if let Some(why) = refuse_import(name) {
                return Err(Refusal::new(Code::ImportNotGranted, why));
            }
        }
        let pre = self.linker.instantiate_pre(&component).map_err(|error| {
            Refusal::new(Code::ImportNotGranted, format!("an import is not as this host has it: {error:#}"))
        })?;
        let pre = GuestPre::new(pre).map_err(|error| {
            Refusal::new(
                Code::WrongWorld,
                format!("the component does not export what `bulkhead:stage` asks for: {error:#}"),
            )
        })?;
        let (profile, scratch) = (self.profile.clone(), Arc::clone(&self.scratch));
        Ok(Linked::new(digest, pre, self.interval, self.memory_bytes_max, profile, scratch))
    }

    fn remember(&self, digest: ModuleDigest, linked: &Arc<Linked>) {
        let mut loaded = self.loaded.lock();
        loaded.retain(|_, linked| linked.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(linked));
    }
}

/// Hashing 64 MiB takes a while, so it is done where it delays nobody.
async fn digest_of(wasm: &Bytes) -> Result<ModuleDigest, Refusal> {
    let wasm = wasm.clone();
    tokio::task::spawn_blocking(move || ModuleDigest::of(&wasm))
        .await
        .map_err(|error| Refusal::new(Code::CompilerFailed, format!("hashing failed: {error}")))
}
