//! `bulkhead serve`: the roles of one process, started in order and drained in reverse.
//!
//! Addresses are bound before anything else happens, so that a taken port is the first thing said. SIGTERM and SIGINT drain: no
//! new requests, no new batches, finished batches commit, then the process ends.
//! Must never: listen on an address that was not asked for.

mod at_rest;
mod default_tenant;
mod identity;
mod ports;
mod server;

pub(crate) use identity::IdentityArguments;

use crate::arguments::{COMPILER, GroupProtocol, LogArguments, LogKind, Role, ServeArguments, WorkerArguments};
use crate::client::{Client, TokenSource};
use crate::worker::Worker;
use anyhow::{Context, bail};
use at_rest::LogKeys;
use axum::Router;
use bulkhead_bucket::Buckets;
use bulkhead_control::{Control, ControlConfig, Grant, Issuer, Patient, RawPlans};
use bulkhead_engine::{CompileLimits, CompilerCommand, Engine, EngineConfig};
use bulkhead_log::Log;
use bulkhead_log::embedded::EmbeddedLog;
use bulkhead_log::kafka::{self, KafkaConfig, KafkaLog};
use bulkhead_vault::Vault;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a connection may take nothing of what is sent to it before it is cut.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Tells whoever started the host. Nobody may be there to read it, which is no reason to end.
fn say(line: &str) {
    let _closed = writeln!(std::io::stdout(), "bulkhead: {line}");
}

/// Runs the roles until a signal.
///
/// # Errors
/// Where a role does not start, or fails.
pub(crate) fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    crate::logging::start("info");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let host = Host::start(arguments, stop.clone()).await?;
        if let Some(address) = host.address {
            say(&format!("API on http://{address}"));
        }
        say(&format!("metrics on http://{}/metrics", host.metrics_address));
        let signalled = stop.clone();
        tokio::spawn(async move {
            signal().await;
            tracing::info!("draining");
            signalled.cancel();
        });
        host.wait().await
    })
}

/// A process's roles, running.
pub(crate) struct Host {
    /// Where the API is, if control runs here.
    pub(crate) address: Option<SocketAddr>,
    /// Where the metrics are.
    pub(crate) metrics_address: SocketAddr,
    /// Mints tokens, if control runs here.
    pub(crate) issuer: Option<Issuer>,
    control: Option<Arc<Control>>,
    worker: Option<JoinHandle<anyhow::Result<()>>>,
    servers: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    servers_stop: CancellationToken,
}

impl Host {
    /// Starts the roles that `arguments` name.
    ///
    /// # Errors
    /// Where one does not start.
    pub(crate) async fn start(mut arguments: ServeArguments, stop: CancellationToken) -> anyhow::Result<Self> {
        if arguments.log.log == LogKind::Embedded {
            // Its folder is one process's, so there is nobody to share with.
            arguments.worker.help_lag_records = 0;
        }
        let with_control = arguments.role != Role::Worker;
        let with_worker = arguments.role != Role::Control;
        let listener = if with_control { Some(bind(arguments.listen).await?) } else { None };
        let metrics = bind(arguments.metrics_listen).await?;
        let metrics_address = metrics.local_addr()?;
        let registry = prometheus::Registry::new();
        make_private(&arguments.data_dir)?;
        let compile = CompileLimits { cpu_seconds: arguments.compile_cpu_s, ..CompileLimits::default() };
        let engine = engine(&arguments.data_dir, compile, arguments.worker.scratch_bytes_max)?;
        // The keys are control's; a worker alone has no embedded log of anybody's.
        let log_keys = with_control.then(Arc::<LogKeys>::default);
        let log = open_log(&arguments.log, &arguments.data_dir, log_keys.clone()).await?;
        let servers_stop = CancellationToken::new();
        let mut servers = vec![serve(metrics, metrics_router(registry.clone()), servers_stop.clone())];
        let (mut address, mut issuer, mut control) = (None, None, None);
        let mut client = None;
        if let Some(listener) = listener {
            let config = control_config(&arguments)?;
            let modules = Arc::new(ports::EngineModules(engine.clone()));
            let topics = Arc::new(ports::LogTopics::new(log.clone(), buckets(&arguments)?));
            let opened = Control::open(config, modules, topics, crate::lines::parquet, &registry)
                .await
                .context("opening the metadata")?;
            let opened = Arc::new(opened);
            if let Some(keys) = &log_keys {
                keys.hold(opened.vault().clone());
            }
            let bound = listener.local_addr()?;
            let minting = opened.issuer().clone();
            let slot = arguments.worker.worker_slot.clone();
            let mint = move || Ok(minting.mint(&Grant::worker(&slot, None))?);
            client = Some(Client::new(&format!("http://{bound}"), TokenSource::Minted(Arc::new(mint)), &[])?);
            (address, issuer) = (Some(bound), Some(opened.issuer().clone()));
            servers.push(serve(listener, opened.router(), servers_stop.clone()));
            let background = opened.clone();
            tokio::spawn(async move { background.run().await });
            if let Some(tenant) = &arguments.default_tenant {
                let (api, issuer) = (format!("http://{bound}"), opened.issuer());
                let token = default_tenant::make(tenant, &api, issuer, &arguments.data_dir, servers_stop.clone());
                match token.await? {
                    Some(token) => tracing::info!(token = %token.display(), "the default tenant is there"),
                    None => {
                        tracing::info!(%tenant, "the default tenant is there; tokens for it come from the identity provider")
                    }
                }
            }
            control = Some(opened);
        }
        let worker = if with_worker {
            let client = match (client, &arguments.worker.token_file) {
                (Some(client), _) => client,
                (None, Some(file)) => alone(&arguments.worker, file)?,
                (None, None) => {
                    bail!("a worker alone needs --token-file; `bulkhead token --role worker --slot SLOT` makes one")
                }
            };
            let vault = match &control {
                Some(control) => control.vault().clone(),
                None => open_vault(&arguments).await?,
            };
            let worker = Worker::start(&arguments.worker, &arguments.data_dir, log, engine, client, registry, vault)?;
            Some(tokio::spawn(worker.run(stop.clone())))
        } else {
            None
        };
        Ok(Self { address, metrics_address, issuer, control, worker, servers, stop, servers_stop })
    }

    /// Waits for `stop`, or for the worker's end; then drains everything.
    ///
    /// # Errors
    /// The worker's.
    pub(crate) async fn wait(self) -> anyhow::Result<()> {
        let result = match self.worker {
            Some(worker) => worker.await.context("the worker panicked")?,
            None => {
                self.stop.cancelled().await;
                Ok(())
            }
        };
        // Control outlives the worker, which reports its last numbers to it.
        if let Some(control) = &self.control {
            control.stop();
        }
        self.servers_stop.cancel();
        for server in self.servers {
            server.await.context("a server panicked")?;
        }
        result
    }
}

fn control_config(arguments: &ServeArguments) -> anyhow::Result<ControlConfig> {
    let mut config = ControlConfig {
        module_bytes_max: arguments.module_bytes_max,
        embedded_issuer: arguments.identity.embedded_issuer(),
        oidc: arguments.identity.providers().context("the identity provider")?,
        master_key: arguments.keys.master_key(),
        master_key_previous: arguments.keys.master_key_previous.clone(),
        trusted_proxies: arguments.trusted_proxies.clone(),
        ..crate::database::config(&arguments.data_dir, &arguments.database)
    };
    if let Some(file) = &arguments.plans {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let raw: RawPlans = serde_yaml_ng::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
        let ControlConfig { plans, quotas, .. } = &mut config;
        plans.read(quotas, raw);
    }
    Ok(config)
}

/// A client of control for a worker in a process of its own.
fn alone(arguments: &WorkerArguments, token: &Path) -> anyhow::Result<Client> {
    let authorities = arguments.control_ca.as_deref().map_or_else(|| Ok(Vec::new()), crate::tls::authorities);
    let authorities = authorities.map_err(anyhow::Error::msg).context("--control-ca")?;
    Client::new(&arguments.control_url, TokenSource::File(token.to_owned()), &authorities)
}

/// The buckets that control clears. A worker in this process keeps them in the data folder where nothing is said; for control alone, that
/// would be another folder than the workers'.
fn buckets(arguments: &ServeArguments) -> anyhow::Result<Option<Buckets>> {
    if arguments.role == Role::Control && arguments.worker.buckets.is_none() {
        return Ok(None);
    }
    Buckets::open(&arguments.worker.buckets_in(&arguments.data_dir)).map(Some).map_err(anyhow::Error::msg)
}

/// What a worker keeps its secrets under. In one process with control it is the same master key; alone, the worker has its own.
async fn open_vault(arguments: &ServeArguments) -> anyhow::Result<Arc<Vault>> {
    let (keys, data_dir) = (arguments.keys.clone(), arguments.data_dir.clone());
    let open = move || Vault::of(&data_dir, &keys.master_key(), keys.master_key_previous.as_ref());
    let opened = tokio::task::spawn_blocking(open);
    Ok(Arc::new(opened.await.context("opening the master key panicked")??))
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}; choose another with --listen or --metrics-listen"))
}

fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> JoinHandle<()> {
    let listener = Patient::new(listener, STALL_MAX);
    tokio::spawn(server::serve(listener, router, server::HEAD_TIME_MAX, stop))
}

fn metrics_router(registry: prometheus::Registry) -> Router {
    let show = move || {
        let registry = registry.clone();
        async move {
            let mut text = String::new();
            let encoded = prometheus::TextEncoder::new().encode_utf8(&registry.gather(), &mut text);
            match encoded {
                Ok(()) => Ok(([("content-type", prometheus::TEXT_FORMAT)], text)),
                Err(error) => {
                    tracing::error!(%error, "metrics could not be written");
                    Err(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
                }
            }
        }
    };
    Router::new().route("/metrics", axum::routing::get(show))
}

/// The folder, open to nobody else.
pub(crate) fn make_private(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).with_context(|| format!("making {}", folder.display()))
}

/// The sandbox, with this very program as its compiler.
pub(crate) fn engine(data_dir: &Path, compile: CompileLimits, scratch_bytes_max: u64) -> anyhow::Result<Engine> {
    let program = std::env::current_exe().context("finding this program")?;
    let compiler = CompilerCommand { program, args: vec![COMPILER.into()] };
    let scratch_dir = Some(data_dir.join("scratch"));
    let config = EngineConfig::new(data_dir.join("code"), compiler);
    Ok(Engine::new(EngineConfig { compile, scratch_dir, scratch_bytes_max, ..config })?)
}

/// The log that the arguments name; the embedded one seals what it keeps, where there are keys.
///
/// # Errors
/// Where it does not open. Kafka's brokers may be away: they are tried again by those who need them.
pub(crate) async fn open_log(
    arguments: &LogArguments,
    data_dir: &Path,
    keys: Option<Arc<LogKeys>>,
) -> anyhow::Result<Arc<dyn Log>> {
    if arguments.log == LogKind::Embedded {
        let folder = data_dir.join("log");
        let open = move || match keys {
            Some(keys) => EmbeddedLog::open_sealed(&folder, keys),
            None => EmbeddedLog::open(&folder),
        };
        let log = tokio::task::spawn_blocking(open).await??;
        return Ok(Arc::new(log));
    }
    let mut config = KafkaConfig::new(&arguments.kafka_bootstrap);
    if let (Some(user), Some(file)) = (&arguments.kafka_user, &arguments.kafka_password_file) {
        let password =
            std::fs::read_to_string(file).with_context(|| format!("reading the password in {}", file.display()))?;
        let password = password.trim().to_owned();
        config.sasl = Some(kafka::Sasl { mechanism: kafka::Mechanism::ScramSha512, user: user.clone(), password });
    }
    config.group_protocol = match arguments.kafka_group_protocol {
        GroupProtocol::Consumer => kafka::GroupProtocol::Consumer,
        GroupProtocol::Classic => kafka::GroupProtocol::Classic,
    };
    for property in &arguments.kafka_properties {
        let (name, value) = property.split_once('=').with_context(|| format!("`{property}` is not name=value"))?;
        config.properties.push((name.to_owned(), value.to_owned()));
    }
    Ok(Arc::new(tokio::task::spawn_blocking(move || KafkaLog::new(config)).await??))
}

pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
