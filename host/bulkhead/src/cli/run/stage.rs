//! What the stage of a local run is told and may use: what its manifest says, or what the flags say.
//!
//! Must never: grant more than the manifest that it was given; without one, a stage has what it asks for, as nobody else is here.

use super::Arguments;
use crate::cli::failure::Complaint;
use crate::cli::secret::read_secrets;
use bulkhead_core::code::Code;
use bulkhead_core::fault::HostFault;
use bulkhead_core::grant::{Capability, Grants};
use bulkhead_core::limits::{self, StageLimits};
use bulkhead_core::manifest;
use bulkhead_engine::{GrantedSecret, StageConfig};
use std::path::Path;
use std::sync::Arc;

/// See the module's documentation.
pub(super) struct Told {
    /// What it is told itself.
    pub(super) config: StageConfig,
    /// Bytes of its state in each partition at most; `None` where it is granted none.
    pub(super) state_bytes: Option<u64>,
    /// Milliseconds between two ticks, if it ticks; 0 for none.
    pub(super) tick_ms: u64,
    /// The secrets that it may read.
    pub(super) secrets: Vec<GrantedSecret>,
}

impl Told {
    /// What the arguments come to.
    ///
    /// # Errors
    /// Where the manifest or the settings cannot be used.
    pub(super) fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let mut told = match &arguments.manifest {
            Some(file) => Self::of_manifest(file, arguments)?,
            None => Self::of_flags(arguments)?,
        };
        if serde_json::from_str::<serde::de::IgnoredAny>(&told.config.settings).is_err() {
            return Err(Complaint::new(Code::LocalFailure, "--settings is not JSON").into());
        }
        let limits = &mut told.config.limits;
        limits.fuel_per_record = arguments.fuel_per_record.unwrap_or(limits.fuel_per_record);
        limits.memory_bytes = arguments.memory_bytes.unwrap_or(limits.memory_bytes);
        told.tick_ms = arguments.tick_ms.unwrap_or(told.tick_ms);
        Ok(told)
    }

    fn of_flags(arguments: &Arguments) -> anyhow::Result<Self> {
        let secrets = read_secrets(&arguments.secrets)?;
        let mut grants = vec![Capability::State];
        if !secrets.is_empty() {
            grants.push(Capability::Secrets);
        }
        let secrets = secrets.into_iter().map(|(name, value)| GrantedSecret { name, value: Arc::new(value) }).collect();
        let config = StageConfig {
            pipeline: arguments.pipeline.to_string(),
            stage: arguments.stage_name.to_string(),
            inputs: arguments.inputs.clone(),
            outputs: arguments.ports.clone(),
            settings: arguments.settings.clone(),
            limits: StageLimits::default(),
            grants: Grants::from_iter(grants),
            scratch: Some(limits::SCRATCH_BYTES),
        };
        let state_bytes = Some(arguments.state_bytes.unwrap_or(limits::STATE_BYTES));
        Ok(Self { config, state_bytes, tick_ms: limits::TICK_MS, secrets })
    }

    fn of_manifest(file: &Path, arguments: &Arguments) -> anyhow::Result<Self> {
        let stage = arguments.stage.as_ref();
        let text = crate::cli::read_text(file)?;
        let spec = manifest::parse(&text).map_err(|errors| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Complaint::new(Code::ManifestInvalid, format!("{}: {}", file.display(), all.join("; ")))
        })?;
        let found = match (stage, &spec.stages[..]) {
            (Some(name), stages) => stages.iter().find(|stage| stage.name == *name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let names = || spec.stages.iter().map(|stage| stage.name.to_string()).collect::<Vec<_>>().join(", ");
        let detail = || format!("name one of the manifest's stages with --stage: {}", names());
        let stage = found.ok_or_else(|| Complaint::new(Code::LocalFailure, detail()))?;
        if !stage.buckets.is_empty() {
            let words = format!("stage `{}` reaches buckets, and here are none", stage.name);
            return Err(Complaint::new(Code::BucketNotHere, words).into());
        }
        if let Some(taken) = stage.config_from.first() {
            let words = format!(
                "stage `{}` takes the config entry `{}` of its project, and here is none: write its value into the manifest's `config`",
                stage.name, taken.entry
            );
            return Err(Complaint::new(Code::ConfigMissing, words).into());
        }
        let secrets = bulkhead_flow::granted_here(stage, &read_secrets(&arguments.secrets)?);
        let told = |fault: HostFault| Complaint::new(fault.code, format!("{}: give --secret NAME=FILE", fault.message));
        Ok(Self {
            secrets: secrets.map_err(told)?,
            config: bulkhead_flow::stage_config(&spec, stage),
            state_bytes: stage.state.map(|state| state.max_bytes),
            tick_ms: stage.tick_ms.unwrap_or(limits::TICK_MS),
        })
    }
}
