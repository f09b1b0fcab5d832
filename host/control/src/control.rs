//! Control as a whole: opened once, routed, run, stopped.
//!
//! Must never: be opened twice on one folder.

use crate::anomalies::{Anomalies, Series};
use crate::api::{self, App};
use crate::audit::publish;
use crate::audit::upkeep::Upkeep;
use crate::audit::writer::Writer;
use crate::blobs::Blobs;
use crate::config::ControlConfig;
use crate::folder::{Folder, OpenError};
use crate::metrics::Metrics;
use crate::policy::{Judge, Policy};
use crate::port::{Modules, Topics, WriteParquet};
use crate::problem::Problem;
use crate::store::{ANSWER_KEPT_MS, Access, Erasure, Leftover, Place, StartOver, Store, migrate, now_ms};
use crate::token::{Issuer, IssuerConfig, Provider, Verifier};
use crate::usage;
use bulkhead_core::code::Code;
use bulkhead_core::scope::TenantScope;
use bulkhead_vault::Vault;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the metadata is asked for changes of other processes; one row each time.
const HEAR_EVERY: Duration = Duration::from_millis(500);
/// How often leftovers are looked at: workers leave a group within seconds.
const PASS_EVERY: Duration = Duration::from_secs(1);
/// How often records of usage are counted; one question to the log for a thousand tenants.
const COUNT_EVERY: Duration = Duration::from_secs(2);
/// How often tenants' limits are looked at that are kept by looking.
const WATCH_EVERY: Duration = Duration::from_secs(5);
/// Passes between two looks at the audit's chains.
const PASSES_PER_CHECKPOINT: u64 = 5;
/// Passes between two prunings of what grows: about once an hour.
const PASSES_PER_PRUNE: u64 = 3_600;
/// How long a boot must have been silent before its counters are folded.
const BOOT_SILENT_MS: i64 = 24 * 3_600 * 1_000;

/// The control plane of one data folder.
pub struct Control {
    app: App,
    store: Arc<Store>,
    issuer: Issuer,
    /// Signs what must be believed later: checkpoints of the audit.
    signer: Issuer,
    writer: Writer,
    stop: CancellationToken,
    _folder: Folder,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// Opens the data folder: makes folder, key and schema where they are not there, and takes the folder's lock.
    ///
    /// # Errors
    /// [`Code::FolderLocked`] where another process has it; [`Code::ConfigInvalid`] where something in it cannot be used.
    pub async fn open(
        config: ControlConfig,
        modules: Arc<dyn Modules>,
        topics: Arc<dyn Topics>,
        parquet: WriteParquet,
        registry: &prometheus::Registry,
    ) -> Result<Self, OpenError> {
        let folder = Folder::open(&config.data_dir)?;
        let signer = Issuer::open(&config.data_dir, IssuerConfig::from(&config))?;
        let issuer = token_issuer(&config, &signer)?;
        let store = Arc::new(Store::open(&place(&config, &folder)?).await?);
        let unready = |problem: Problem| OpenError::new(problem.code, problem.detail);
        store.seed_plans(&config.plans.seeds(&config.quotas)).await.map_err(unready)?;
        let plans = store.plan_table().await.map_err(unready)?;
        for plan in store.plans_in_use().await.map_err(unready)? {
            if !plans.0.contains_key(&plan) {
                let message = format!(
                    "there are tenants with the plan `{plan}`, which is none of this host's; add it to --plans"
                );
                return Err(OpenError::new(Code::ConfigInvalid, message));
            }
        }
        let blobs = Blobs::local(&folder.dir("objects")?)?;
        let swept = blobs.sweep().await.map_err(|problem| {
            let cause = problem.cause.unwrap_or(problem.detail);
            OpenError::new(Code::ConfigInvalid, format!("cannot clear the staging folder: {cause}"))
        })?;
        if swept > 0 {
            tracing::info!(swept, "deleted uploads that a stop had cut short");
        }
        let (metrics, series) = Metrics::new(registry)
            .and_then(|metrics| Ok((metrics, Series::new(registry)?)))
            .map_err(|error| OpenError::because(Code::Internal, "cannot register control's metrics", error))?;
        let vault = open_vault(&config).await?;
        store.hold_keys(&vault).await.map_err(|problem| {
            OpenError::new(
                problem.code,
                format!("cannot open tenants' keys: {}", problem.cause.unwrap_or(problem.detail)),
            )
        })?;
        let stop = CancellationToken::new();
        let known = config.oidc.iter().map(|provider| Provider::new(provider.clone(), metrics.key_fetches()));
        let verifier = Verifier::new(issuer.verifier()?, known.collect::<Result<_, _>>()?);
        let writer = Writer::new(Arc::clone(&store));
        let policy = Policy::new(Arc::clone(&store), verifier, writer.clone(), Judge::new()?);
        let parts = api::Parts {
            policy,
            generations: store.generations(),
            modules,
            topics,
            parquet,
            blobs,
            issuer: issuer.clone(),
            signer: signer.clone(),
            config,
            metrics,
            anomalies: Anomalies::new(series),
            vault,
            stop: stop.clone(),
        };
        Ok(Self { app: App::new(parts), store, issuer, signer, writer, stop, _folder: folder })
    }

    /// The API under `/api/v1` and `/internal/v1`, `/livez`, `/readyz` and `/.well-known/jwks.json`. Set a header-read timeout
    /// on the server that serves it: that is the one limit which cannot be kept from here.
    pub fn router(&self) -> axum::Router {
        api::router(self.app.clone())
    }

    /// The vault, which holds the keys of all tenants.
    pub fn vault(&self) -> &Arc<Vault> {
        self.app.vault()
    }

    /// Makes tokens.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Does what is to be done in the background, until [`Control::stop`]: keeps identity providers' keys fresh, clears away what deleted pipelines have in the log and in
    /// buckets, forgets positions of those that are to begin anew, erases deleted tenants, prunes the audit and the logs. Run it once, under the
    /// process's supervisor.
    pub async fn run(&self) {
        let keys = self.app.policy().keep_keys(&self.stop);
        tokio::join!(self.passes(), self.watch(), self.hear(), keys, self.count_usage());
    }

    /// Hears of changes that other processes have made.
    async fn hear(&self) {
        self.every(HEAR_EVERY, || async {
            if let Err(problem) = self.store.hear().await {
                tracing::debug!(code = %problem.code, cause = problem.cause, "the metadata does not answer; trying again");
            }
        })
        .await;
    }

    /// Counts what pipelines have used. Beside the other work, since each may have to wait for the log.
    async fn count_usage(&self) {
        self.every(COUNT_EVERY, || async {
            if let Err(problem) = usage::pass(&self.store, self.app.topics()).await {
                tracing::warn!(code = %problem.code, cause = problem.cause, "usage is not counted now; trying again");
            }
        })
        .await;
    }

    /// Looks at limits that are kept by looking, as long as it takes: a slow bucket must not keep anything else from being done.
    async fn watch(&self) {
        self.every(WATCH_EVERY, || async {
            if let Err(problem) = self.app.watch(&self.store).await {
                tracing::warn!(code = %problem.code, cause = problem.cause, "limits could not be looked at; trying again");
            }
        })
        .await;
    }

    /// Does something again and again, with a pause before each, until [`Control::stop`].
    async fn every<F: Future<Output = ()>>(&self, pause: Duration, act: impl Fn() -> F) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            act().await;
        }
    }

    async fn passes(&self) {
        let mut passes = 0_u64;
        let mut rewrapped = false;
        loop {
            if !rewrapped {
                rewrapped = self.rewrap().await;
            }
            if let Err(problem) = self.pass(passes).await {
                tracing::warn!(code = %problem.code, cause = problem.cause, "a background pass failed; trying again");
            }
            passes += 1;
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(PASS_EVERY) => {}
            }
        }
    }

    /// Answers long polls at once and makes `/readyz` fail, so that a server's graceful shutdown does not wait for them.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops, waits for running statements and closes the metadata. Call it after the server has ended.
    pub async fn close(self) {
        self.stop.cancel();
        self.store.close().await;
    }

    /// Wraps tenants' keys by the current master key where an earlier one did. Whether all are.
    async fn rewrap(&self) -> bool {
        match self.store.rewrap_keys(self.app.vault()).await {
            Ok(0) => true,
            Ok(keys) => {
                let master = self.app.vault().master();
                tracing::info!(keys, %master, "all tenants' keys are wrapped by the current master key; the previous one is no longer needed");
                true
            }
            Err(problem) => {
                tracing::warn!(code = %problem.code, cause = problem.cause, "tenants' keys are not all wrapped by the current master key; trying again");
                false
            }
        }
    }

    async fn pass(&self, passes: u64) -> Result<(), Problem> {
        let leftovers = self.store.leftovers().await?;
        let erasures = self.store.erasures_under_way().await?;
        self.app.metrics().leftovers(leftovers.len() + erasures.len());
        for leftover in leftovers {
            match self.app.clear(&leftover).await {
                Ok(true) => self.store.strike(&leftover).await?,
                Ok(false) => {}
                Err(problem) => log_left(&leftover, &problem),
            }
        }
        self.store.settle().await?;
        for erasure in erasures {
            if let Err(problem) = self.app.erase(&self.store, &erasure.id, 0).await {
                log_erasing(&erasure, &problem);
            }
        }
        for over in self.store.starting_over().await? {
            match self.begin_anew(&over).await {
                Ok(true) => self.store.started_over(&over).await?,
                Ok(false) => {}
                Err(problem) => log_waiting(&over.scope, "a pipeline does not begin anew yet", &problem),
            }
        }
        let prune = passes.is_multiple_of(PASSES_PER_PRUNE);
        publish::pass(&self.store, self.app.topics()).await?;
        if passes.is_multiple_of(PASSES_PER_CHECKPOINT) {
            self.keep_chains(prune).await?;
        }
        if prune {
            self.store.prune_answers(now_ms() - ANSWER_KEPT_MS).await?;
            let kept_ms = i64::try_from(self.app.config().logs_kept.as_millis()).unwrap_or(i64::MAX);
            self.store.prune_lines(now_ms().saturating_sub(kept_ms)).await?;
            let usage_kept_ms = i64::try_from(self.app.config().usage_kept.as_millis()).unwrap_or(i64::MAX);
            self.store.prune_usage(now_ms().saturating_sub(usage_kept_ms)).await?;
            self.store.fold_totals(now_ms() - BOOT_SILENT_MS).await?;
        }
        Ok(())
    }
}

impl Control {
    /// Signs and prunes the audit's chains.
    async fn keep_chains(&self, prune: bool) -> Result<(), Problem> {
        let config = self.app.config();
        let upkeep = Upkeep { store: &self.store, writer: &self.writer, issuer: &self.signer, config };
        upkeep.uses().await?;
        upkeep.pass(prune).await
    }

    /// Forgets a pipeline's positions, and its state with them, since records that are read again would count twice.
    async fn begin_anew(&self, over: &StartOver) -> Result<bool, Problem> {
        if !self.app.forget_positions(over).await? {
            return Ok(false);
        }
        if let Some(row) = self.store.find_pipeline(&over.scope, &over.project, &over.pipeline).await? {
            self.app.keep_state(&over.scope, &over.project, &row.spec).await?;
        }
        Ok(true)
    }
}

/// Where metadata is.
fn place(config: &ControlConfig, folder: &Folder) -> Result<Place, OpenError> {
    match &config.database_url_file {
        None => Ok(Place::File(folder.file("control.db")?)),
        Some(_) => Ok(Place::Postgres(Box::new(access(config)?))),
    }
}

fn access(config: &ControlConfig) -> Result<Access, OpenError> {
    let Some(server) = &config.database_url_file else {
        return Err(OpenError::new(
            Code::ConfigInvalid,
            "name the file with the address of PostgreSQL: --database-url-file",
        ));
    };
    let owner = config.database_owner_url_file.as_deref();
    Access::read(server, owner, config.database_wait, config.database_connections_max)
}

/// Brings the schema of the metadata on PostgreSQL up to date as its owner, and lets the server's role read and write rows.
///
/// # Errors
/// [`Code::ConfigInvalid`] where the config does not name both addresses; [`Code::DatabaseAway`], [`Code::DatabaseRefused`],
/// [`Code::DatabaseRole`] and [`Code::SchemaNewer`].
pub async fn migrate_database(config: &ControlConfig) -> Result<(), OpenError> {
    migrate(&access(config)?).await
}

/// The embedded issuer; where people and machines log in elsewhere, only the part of it that this process itself needs, with a key of its
/// own: no token that the folder's key signs is taken then.
fn token_issuer(config: &ControlConfig, signer: &Issuer) -> Result<Issuer, OpenError> {
    if !config.embedded_issuer {
        return Issuer::in_memory(IssuerConfig::from(config));
    }
    tracing::info!(
        folder = %config.data_dir.join("keys").display(),
        "the embedded issuer is on: who can read its key can make any token; an identity provider takes its place with \
         --oidc-issuer and --embedded-issuer off"
    );
    Ok(signer.clone())
}

/// The vault, where the master key answers: without it no secret could be kept, which is better said at the start.
async fn open_vault(config: &ControlConfig) -> Result<Arc<Vault>, OpenError> {
    let (folder, current, previous) =
        (config.data_dir.clone(), config.master_key.clone(), config.master_key_previous.clone());
    // A program may have to be asked.
    let opened = tokio::task::spawn_blocking(move || Vault::of(&folder, &current, previous.as_ref()));
    let opened = opened.await.map_err(|error| OpenError::because(Code::Internal, "opening the vault", error))?;
    opened.map(Arc::new).map_err(|error| OpenError::new(error.code, error.message))
}

/// Without the tenant's name, which is to be forgotten.
fn log_erasing(erasure: &Erasure, problem: &Problem) {
    if problem.code == Code::Conflict {
        tracing::debug!(erasure = erasure.id, detail = problem.detail, "an erasure is not done yet");
    } else {
        tracing::warn!(erasure = erasure.id, code = %problem.code, cause = problem.cause, "an erasure is not done yet");
    }
}

fn log_left(leftover: &Leftover, problem: &Problem) {
    log_waiting(leftover.scope(), "a deletion is not done yet", problem);
}

fn log_waiting(scope: &TenantScope, what: &str, problem: &Problem) {
    // A conflict is the normal case of workers that are still leaving.
    if problem.code == Code::Conflict {
        tracing::debug!(tenant = %scope.tenant(), detail = problem.detail, "{what}");
    } else {
        tracing::warn!(tenant = %scope.tenant(), code = %problem.code, cause = problem.cause, "{what}");
    }
}
