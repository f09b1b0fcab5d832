//! The worker role: runs what control assigns, tells it how that goes, and goes on without it.
//!
//! The last assignment is a file, so a worker that starts while control is away runs what it ran before. Reports are only
//! information: nothing of the record path waits for them.
//! Must never: stop a pipeline because control does not answer.

mod logs;
mod machine;
mod memory;
mod secrets;

use crate::arguments::WorkerArguments;
use crate::client::Client;
use anyhow::Context;
use bulkhead_bucket::Buckets;
use bulkhead_core::assignment::{Assignment, WorkerReport};
use bulkhead_core::code::Code;
use bulkhead_core::fault::HostFault;
use bulkhead_core::name::{ModuleDigest, TenantId};
use bulkhead_core::scope::WorkerScope;
use bulkhead_engine::Engine;
use bulkhead_flow::{Flow, FlowConfig, FlowParts, ModuleSource};
use bulkhead_log::Log;
use bulkhead_vault::Vault;
use futures::future::BoxFuture;
use logs::TenantLogs;
use memory::AssignmentFile;
use secrets::WorkerSecrets;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a worker reports.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// How long control may hold a poll for a new assignment.
const ASSIGNMENT_WAIT: Duration = Duration::from_secs(20);
/// Longest pause between two tries to reach control.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Another worker took this worker's slot, so this one must end.
#[derive(Debug)]
pub(crate) struct Fenced(String);

impl std::fmt::Display for Fenced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; see `bulkhead explain {}`", Code::Fenced, self.0, Code::Fenced)
    }
}

impl std::error::Error for Fenced {}

/// A running worker.
pub(crate) struct Worker {
    flow: Arc<Flow>,
    client: Client,
    slot: String,
    boot: String,
    file: AssignmentFile,
    secrets: WorkerSecrets,
    log_seals: bool,
    logs: TenantLogs,
}

impl Worker {
    /// Starts the record path with the remembered assignment, if there is one.
    ///
    /// # Errors
    /// Where the slot's name or the remembered assignment is not readable.
    pub(crate) fn start(
        arguments: &WorkerArguments,
        data_dir: &Path,
        log: Arc<dyn Log>,
        engine: Engine,
        client: Client,
        registry: prometheus::Registry,
        vault: Arc<Vault>,
    ) -> anyhow::Result<Self> {
        let scope = WorkerScope::new(&arguments.worker_slot).context("reading the worker's slot")?;
        let mut config = FlowConfig {
            state_folder: Some(data_dir.join("state").join(scope.slot())),
            park_after: Duration::from_secs(arguments.park_after_seconds),
            keep_positions_every: Duration::from_secs(arguments.keep_positions_seconds),
            help_lag_records: arguments.help_lag_records,
            ..FlowConfig::default()
        };
        if let Some(threads) = arguments.executor_threads {
            config.executor_threads = threads.max(1);
        }
        config.memory_bytes = arguments.memory_bytes_max.unwrap_or_else(machine::half_of_memory);
        let buckets = Buckets::open(&arguments.buckets_in(data_dir)).map_err(anyhow::Error::msg)?;
        let file = AssignmentFile::open(data_dir, scope.slot())?;
        let slot = scope.slot().to_owned();
        let logs = TenantLogs::new(config.memory_bytes);
        let secrets = WorkerSecrets::open(client.clone(), vault, file.folder(), scope.slot())?;
        let log_seals = log.seals();
        let flow = Flow::start(FlowParts {
            log,
            engine,
            buckets,
            source: Arc::new(FromControl(client.clone())),
            secrets: Arc::new(secrets.clone()),
            guest_logs: Arc::new(logs.clone()),
            worker: scope,
            registry,
            runtime: tokio::runtime::Handle::current(),
            config,
        })?;
        Ok(Self {
            flow: Arc::new(flow),
            client,
            slot,
            boot: uuid::Uuid::now_v7().to_string(),
            file,
            secrets,
            log_seals,
            logs,
        })
    }

    /// Works until `stop`, then drains.
    ///
    /// # Errors
    /// [`Fenced`].
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { flow, client, slot, boot, file, secrets, log_seals, logs } = self;
        let ending = stop.child_token();
        let settled = Arc::new(AtomicU64::new(0));
        let following = Following { flow: flow.clone(), file, secrets, log_seals, settled: settled.clone() };
        let follow = tokio::spawn(following.run(client.clone(), slot.clone(), ending.clone()));
        let drained = CancellationToken::new();
        let lines = tokio::spawn(logs.send(client.clone(), slot.clone(), drained.clone()));
        let reporter = Reporting { flow: flow.clone(), settled, slot, boot };
        let report = tokio::spawn(reporter.run(client.clone(), drained.clone()));
        let mut watch = tokio::time::interval(Duration::from_millis(200));
        let fatal = loop {
            tokio::select! {
                () = stop.cancelled() => break None,
                _ = watch.tick() => {
                    if let Some(error) = flow.fatal() {
                        break Some(error);
                    }
                }
            }
        };
        ending.cancel();
        let draining = flow.clone();
        follow.await.context("the task that follows assignments panicked")?;
        tokio::task::spawn_blocking(move || draining.drain()).await.context("draining panicked")?;
        // What the drain committed is in the last report.
        drained.cancel();
        report.await.context("the reporting task panicked")?;
        lines.await.context("the task that sends lines panicked")?;
        match fatal {
            Some(error) => Err(Fenced(error.message).into()),
            None => Ok(()),
        }
    }
}

/// Follows control's assignment.
struct Following {
    flow: Arc<Flow>,
    file: AssignmentFile,
    secrets: WorkerSecrets,
    /// Whether the log seals what it keeps, so that pipelines need not.
    log_seals: bool,
    /// [`WorkerReport::settled`].
    settled: Arc<AtomicU64>,
}

impl Following {
    async fn run(self, client: Client, slot: String, stop: CancellationToken) {
        self.remembered().await;
        let mut known: Option<String> = None;
        let mut failures: u32 = 0;
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                asked = ask(&client, &slot, known.as_deref(), (&self.secrets, self.log_seals)) => asked,
            };
            match asked {
                Ok(answer) => {
                    if failures > 0 {
                        tracing::info!("control is back");
                    }
                    failures = 0;
                    let Some((tag, assignment)) = answer else { continue };
                    known = Some(tag);
                    self.take(assignment).await;
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(code = %Code::ControlAway, error = format!("{error:#}"), "control is away; going on with what is assigned");
                    }
                    let pause = Duration::from_millis(200).saturating_mul(1 << failures.min(8)).min(RETRY_MAX);
                    failures += 1;
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Runs what ran before this process.
    async fn remembered(&self) {
        match self.file.read() {
            Ok(Some(remembered)) => {
                tracing::info!(
                    generation = remembered.generation,
                    pipelines = remembered.pipelines.len(),
                    "running the remembered assignment"
                );
                self.apply(remembered).await;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(code = %Code::LogCorrupt, error = format!("{error:#}"), "the remembered assignment is not readable")
            }
        }
    }

    /// Remembers an assignment and makes it so. Only then is it settled: a suspension or an erasure waits for that.
    async fn take(&self, assignment: Assignment) {
        let generation = assignment.generation;
        let remembered = self.file.write(&assignment);
        let applied = self.apply(assignment).await;
        match remembered {
            Ok(()) if applied => self.settled.store(generation, Ordering::Release),
            Ok(()) => {}
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "could not remember the assignment; running it all the same"
            ),
        }
    }

    async fn apply(&self, assignment: Assignment) -> bool {
        let flow = self.flow.clone();
        let applied = tokio::task::spawn_blocking(move || flow.apply(assignment)).await.is_ok();
        if !applied {
            tracing::error!("applying an assignment panicked");
        }
        applied
    }
}

/// The next assignment with its tag, once the secrets and keys are here that it needs.
async fn ask(
    client: &Client,
    slot: &str,
    known: Option<&str>,
    (secrets, log_seals): (&WorkerSecrets, bool),
) -> anyhow::Result<Option<(String, Assignment)>> {
    let mut answer = client.assignment(slot, known, ASSIGNMENT_WAIT).await?;
    if let Some((_, assignment)) = &mut answer {
        if log_seals {
            assignment.pipelines.iter_mut().for_each(|pipeline| pipeline.key_version = 0);
        }
        secrets.follow(assignment).await?;
    }
    Ok(answer)
}

/// Reports how it goes.
struct Reporting {
    flow: Arc<Flow>,
    settled: Arc<AtomicU64>,
    slot: String,
    boot: String,
}

impl Reporting {
    /// Reports until `stop`, and once more after that: the last numbers.
    async fn run(self, client: Client, stop: CancellationToken) {
        let mut every = tokio::time::interval(REPORT_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The generation of the last report that control took: what went since is told by its absence from a complete one.
        let mut told = None;
        loop {
            let last = tokio::select! {
                () = stop.cancelled() => true,
                _ = every.tick() => false,
            };
            let asked = self.flow.clone();
            let settled = self.settled.load(Ordering::Acquire);
            let asked = tokio::task::spawn_blocking(move || asked.news(told));
            let Ok((generation, pipelines, partial)) = asked.await else { return };
            let (worker, boot) = (self.slot.clone(), self.boot.clone());
            let tenants = self.flow.used();
            let report = WorkerReport { worker, boot, generation, settled, pipelines, partial, tenants };
            match client.report(&report).await {
                // While control is away, the shares stay as they were.
                Ok(answer) => {
                    self.flow.share(&answer.shares);
                    told = (!answer.complete).then_some(generation);
                }
                Err(error) => {
                    told = None;
                    tracing::debug!(error = format!("{error:#}"), "control did not take a report");
                }
            }
            if last {
                return;
            }
        }
    }
}

/// Modules from control.
struct FromControl(Client);

impl ModuleSource for FromControl {
    fn fetch(&self, tenant: TenantId, digest: ModuleDigest) -> BoxFuture<'static, Result<Vec<u8>, HostFault>> {
        let client = self.0.clone();
        Box::pin(async move {
            client
                .module(&tenant, &digest)
                .await
                .map_err(|error| HostFault::new(Code::ModuleFetch, format!("{error:#}")))
        })
    }
}
