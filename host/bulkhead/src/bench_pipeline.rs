//! `bulkhead bench-pipeline`: the real record path, engine and Kafka client on one stage between two topics, without HTTP.
//!
//! Must never: take a short cut that `serve` does not take; only metadata and HTTP are left out.

use crate::arguments::{BenchArguments, GroupProtocol, LogArguments, LogKind};
use anyhow::Context;
use bulkhead_bucket::{Buckets, BucketsConfig};
use bulkhead_core::assignment::{Assignment, PipelineAssignment, PipelineKey};
use bulkhead_core::code::Code;
use bulkhead_core::fault::HostFault;
use bulkhead_core::limits::SCRATCH_WORKER_BYTES;
use bulkhead_core::manifest;
use bulkhead_core::name::{ModuleDigest, TenantId};
use bulkhead_core::scope::WorkerScope;
use bulkhead_core::secret::Secrets;
use bulkhead_flow::{Flow, FlowConfig, FlowParts, ModuleSource, SecretSource};
use bulkhead_vault::PipelineKeys;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;

struct One(Vec<u8>);

impl ModuleSource for One {
    fn fetch(&self, _: TenantId, _: ModuleDigest) -> BoxFuture<'static, Result<Vec<u8>, HostFault>> {
        let bytes = self.0.clone();
        Box::pin(async move { Ok(bytes) })
    }
}

/// Runs the pipeline until SIGTERM or SIGINT.
///
/// # Errors
/// Where it does not start.
pub(crate) fn run(arguments: BenchArguments) -> anyhow::Result<()> {
    crate::logging::start("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        std::fs::create_dir_all(&arguments.data_dir)?;
        let log = LogArguments {
            log: LogKind::Kafka,
            kafka_bootstrap: arguments.bootstrap.clone(),
            kafka_user: None,
            kafka_password_file: None,
            kafka_group_protocol: GroupProtocol::Consumer,
            kafka_properties: arguments.kafka_properties.clone(),
        };
        let wasm = std::fs::read(&arguments.stage).with_context(|| format!("reading {}", arguments.stage.display()))?;
        let assignment = assignment(&arguments, &wasm)?;
        let flow = Flow::start(FlowParts {
            log: crate::serve::open_log(&log, &arguments.data_dir, None).await?,
            engine: crate::serve::engine(
                &arguments.data_dir,
                bulkhead_engine::CompileLimits::default(),
                SCRATCH_WORKER_BYTES,
            )?,
            buckets: Buckets::open(&BucketsConfig::Folder(arguments.data_dir.join("buckets")))
                .map_err(anyhow::Error::msg)?,
            source: Arc::new(One(wasm)),
            secrets: Arc::new(NoSecrets),
            guest_logs: Arc::new(crate::logging::GuestEvents),
            worker: WorkerScope::new("bench")?,
            registry: prometheus::Registry::new(),
            runtime: tokio::runtime::Handle::current(),
            config: FlowConfig { executor_threads: arguments.threads, ..FlowConfig::default() },
        })?;
        let flow = Arc::new(flow);
        let applying = flow.clone();
        tokio::task::spawn_blocking(move || applying.apply(assignment)).await?;
        crate::serve::signal().await;
        tokio::task::spawn_blocking(move || flow.drain()).await?;
        Ok(())
    })
}

/// A benchmark's stage is granted none.
struct NoSecrets;

impl SecretSource for NoSecrets {
    fn fetch(&self, _: Arc<PipelineAssignment>) -> BoxFuture<'static, Result<Secrets, HostFault>> {
        Box::pin(async { Ok(Secrets::new()) })
    }

    fn keys(&self, _: Arc<PipelineAssignment>) -> BoxFuture<'static, Result<Arc<PipelineKeys>, HostFault>> {
        Box::pin(async { Err(HostFault::new(Code::SecretUnavailable, "a pipeline without control has no keys")) })
    }
}

fn assignment(arguments: &BenchArguments, wasm: &[u8]) -> anyhow::Result<Assignment> {
    let split = |topic: &str| -> anyhow::Result<(String, String)> {
        let (tenant, name) = topic.split_once('.').context("a physical topic is tenant.name")?;
        Ok((tenant.to_owned(), name.to_owned()))
    };
    let (tenant, input) = split(&arguments.input)?;
    let (_, output) = split(&arguments.output)?;
    let text = serde_json::json!({
        "apiVersion": manifest::API_VERSION, "kind": "Pipeline", "name": arguments.pipeline,
        "inputs": [{"topic": input}],
        "stages": [{"name": "stage", "module": ModuleDigest::of(wasm).to_string(), "outputs": {"priced": {"topic": output}}}],
        "deadLetter": {"topic": output},
    });
    let spec = manifest::parse(&text.to_string()).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let digest = ModuleDigest::of(wasm);
    let spec = spec.resolve(|_| Some(digest)).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let key = PipelineKey { tenant: tenant.parse()?, project: "default".parse()?, pipeline: spec.name.clone() };
    let pipeline = PipelineAssignment {
        key,
        incarnation: String::new(),
        starts: 0,
        revision: 1,
        spec,
        paused: false,
        held: None,
        initialised: BTreeMap::new(),
        secrets: BTreeMap::new(),
        key_version: 0,
        ticks: false,
    };
    Ok(Assignment { generation: 1, pipelines: vec![pipeline], ..Assignment::default() })
}
