//! A compiled component, linked to what it is granted; and a stage, which is one with its configuration.
//!
//! Must never: be made of a component whose imports were not all granted.

use crate::bindings::GuestPre;
use crate::capability::bucket::GrantedBucket;
use crate::capability::scratch::{Home, Scratch};
use crate::capability::secrets::GrantedSecret;
use crate::failure::Failure;
use crate::instance::{Instance, Mode};
use crate::log::{GuestLog, LogGate};
use crate::memory::GuestBytes;
use crate::profile::{self, PROFILE_INTERVAL_FUEL, Profile};
use crate::state::State;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, HostFault};
use bulkhead_core::grant::{self, Grants};
use bulkhead_core::limits::{SCRATCH_BYTES_MAX, StageLimits};
use bulkhead_core::name::ModuleDigest;
use std::num::NonZeroU64;
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::ComponentExportIndex;

/// The interface that a stage exports to act on time.
const TICKER: &str = "bulkhead:stage/ticker@0.1.0";

/// A component, compiled and linked. Cheap to clone; shared by all stages that use it, since code holds no state.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Linked>,
}

pub(crate) struct Linked {
    digest: ModuleDigest,
    pre: GuestPre<State>,
    interval: Option<NonZeroU64>,
    memory_bytes_max: u64,
    /// Its `tick`, where it acts on time.
    ticker: Option<ComponentExportIndex>,
    profile: Option<Arc<Profile>>,
    scratch: Arc<Scratch>,
}

/// What a stage is told about itself, and what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageConfig {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stage's name.
    pub stage: String,
    /// Names of its inputs, in the order of a batch's `topic`.
    pub inputs: Vec<String>,
    /// Names of its outputs, in the order of an output's `to`.
    pub outputs: Vec<String>,
    /// The manifest's `config` of the stage as JSON; `null` where it has none.
    pub settings: String,
    /// What it may use.
    pub limits: StageLimits,
    /// What it was granted.
    pub grants: Grants,
    /// Bytes of each instance's scratch files; `None` is none at all.
    pub scratch: Option<u64>,
}

/// A module with the configuration of one stage. Cheap to clone.
#[derive(Clone)]
pub struct Stage {
    module: Arc<Linked>,
    config: Arc<StageConfig>,
    log: Arc<LogGate>,
    buckets: Arc<[GrantedBucket]>,
    secrets: Arc<[GrantedSecret]>,
    memory: GuestBytes,
}

impl Linked {
    pub(crate) fn new(
        digest: ModuleDigest,
        pre: GuestPre<State>,
        interval: Option<NonZeroU64>,
        memory_bytes_max: u64,
        profile: Option<Arc<Profile>>,
        scratch: Arc<Scratch>,
    ) -> Self {
        let component = pre.instance_pre().component();
        let ticker = component.get_export_index(None, TICKER);
        let ticker = ticker.and_then(|ticker| component.get_export_index(Some(&ticker), "tick"));
        Self { digest, pre, interval, memory_bytes_max, ticker, profile, scratch }
    }

    /// Whether the component acts on time.
    pub(crate) fn ticks(&self) -> bool {
        self.ticker.is_some()
    }

    /// Names of the interfaces that the component imports.
    pub(crate) fn imports(&self) -> Vec<String> {
        let component = self.pre.instance_pre().component();
        component.component_type().imports(self.pre.engine()).map(|(name, _)| name.to_owned()).collect()
    }
}

impl From<Arc<Linked>> for Module {
    fn from(inner: Arc<Linked>) -> Self {
        Self { inner }
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Module").field(&self.inner.digest).finish()
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("module", &self.module.digest)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Module {
    /// A stage of this module. Its lines, those of stdout and stderr too, go to `log`, rationed for all its instances together.
    ///
    /// # Errors
    /// A host fault with [`Code::LimitExceeded`] where the limits are above [`StageLimits::MAX`] or above what the pool has room for;
    /// [`Code::GrantMissing`] where it imports what it was not granted.
    pub fn stage(&self, config: StageConfig, log: Arc<dyn GuestLog>) -> Result<Stage, Fault> {
        let limits = &config.limits;
        let memory_bytes_max = StageLimits::MAX.memory_bytes.min(self.inner.memory_bytes_max);
        let fields = [
            ("fuel_per_record", limits.fuel_per_record, StageLimits::MAX.fuel_per_record),
            ("memory_bytes", limits.memory_bytes, memory_bytes_max),
            ("output_bytes", limits.output_bytes, StageLimits::MAX.output_bytes),
            ("output_records", limits.output_records.into(), StageLimits::MAX.output_records.into()),
            ("scratch", config.scratch.unwrap_or(0), SCRATCH_BYTES_MAX),
        ];
        for (name, value, max) in fields {
            if value > max {
                let message = format!("stage {}: {name} is {value}, at most {max} is allowed", config.stage);
                return Err(HostFault::new(Code::LimitExceeded, message).into());
            }
        }
        let imports = self.inner.imports();
        if let Some(missing) = grant::missing(imports.iter().map(String::as_str), &config.grants).first() {
            let (import, field) = (missing.import(), missing.field());
            let message = format!("stage {}: its module imports `{import}`, which needs `{field}`", config.stage);
            return Err(HostFault::new(Code::GrantMissing, message).into());
        }
        let (config, log) = (Arc::new(config), Arc::new(LogGate::new(log)));
        Ok(Stage {
            module: Arc::clone(&self.inner),
            config,
            log,
            buckets: Arc::default(),
            secrets: Arc::default(),
            memory: GuestBytes::default(),
        })
    }

    /// The digest of the component's bytes.
    pub fn digest(&self) -> ModuleDigest {
        self.inner.digest
    }
}

impl Stage {
    /// Gives the stage its buckets; without them, each that it opens counts as not granted.
    #[must_use]
    pub fn with_buckets(self, buckets: Vec<GrantedBucket>) -> Self {
        Self { buckets: buckets.into(), ..self }
    }

    /// Gives the stage its secrets; without them, each that it asks for counts as not granted.
    #[must_use]
    pub fn with_secrets(self, secrets: Vec<GrantedSecret>) -> Self {
        Self { secrets: secrets.into(), ..self }
    }

    /// Counts the memory of its instances with that of others.
    #[must_use]
    pub fn with_memory(self, memory: GuestBytes) -> Self {
        Self { memory, ..self }
    }

    /// Makes an instance with memory of its own and calls its `init`. The future may be polled from any thread, inside a tokio runtime.
    ///
    /// # Errors
    /// A guest's fault of kind [`Init`](bulkhead_core::fault::GuestFaultKind::Init), whatever it did wrong; a host fault with
    /// [`Code::Unavailable`] where the pool is full, [`Code::ScratchUnavailable`] where there is no room for its files.
    pub async fn instantiate(&self, mode: Mode) -> Result<Instance, Failure> {
        Instance::start(self, mode).await
    }

    /// The digest of the component's bytes.
    pub fn digest(&self) -> ModuleDigest {
        self.module.digest
    }

    /// Whether it acts on time: [`Instance::tick`].
    pub fn ticks(&self) -> bool {
        self.module.ticks()
    }

    pub(crate) fn ticker(&self) -> Option<&ComponentExportIndex> {
        self.module.ticker.as_ref()
    }

    pub(crate) fn config(&self) -> &StageConfig {
        &self.config
    }

    /// A folder for an instance that starts, where the stage has that grant.
    pub(crate) async fn scratch(&self) -> Result<Option<Arc<Home>>, HostFault> {
        match self.config.scratch {
            Some(bytes) => Ok(Some(Home::lend(&self.module.scratch, bytes).await?)),
            None => Ok(None),
        }
    }

    pub(crate) fn pre(&self) -> &GuestPre<State> {
        &self.module.pre
    }

    pub(crate) fn store(&self, mode: Mode) -> Store<State> {
        let mut state =
            State::new(&self.config.limits, self.module.interval, &self.log, mode, &self.buckets, &self.memory);
        state.secrets = Arc::clone(&self.secrets);
        let mut store = Store::new(self.module.pre.engine(), state);
        if let Some(profile) = &self.module.profile {
            profile::watch(&mut store, profile, self.module.interval.map_or(PROFILE_INTERVAL_FUEL, NonZeroU64::get));
        }
        store
    }
}
