//! `bulkhead demo`: the main job on the embedded log, with real input, through the same HTTP API that tenants use.
//!
//! Two tenants, each with its own token, upload their own stages; their records flow from topic to topic; every output is compared with
//! one computed without the stages. Then the host is left running, with things to try.
//! Must never: reach past the API, or delete a folder that no demo made.

mod check;
mod tenant;

use crate::arguments::{
    DemoArguments, GroupProtocol, KeyArguments, LogArguments, LogKind, Role, ServeArguments, WorkerArguments,
};
use crate::client::{Client, TokenSource};
use crate::serve::{Host, IdentityArguments, make_private, signal};
use anyhow::{Context, bail};
use bulkhead_control::{Grant, Issuer, Role as TokenRole};
use bulkhead_core::name::TenantId;
use bulkhead_example_data::{Record, Source, expected, flights, weather};
use indicatif::MultiProgress;
use std::path::Path;
use std::time::{Duration, Instant};
use tenant::{Scene, Tenant};
use tokio_util::sync::CancellationToken;

/// Marks a folder as one that the demo may empty.
const MARK: &str = "made-by-bulkhead-demo";
/// Life of the tokens that are left for trying things.
const TOKEN_LIFE: Duration = Duration::from_secs(8 * 3600);

/// Runs the demo.
///
/// # Errors
/// Where a step fails, or an output is not as expected.
pub(crate) fn run(arguments: DemoArguments) -> anyhow::Result<()> {
    crate::logging::start("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        empty(&arguments.data_dir)?;
        let stop = CancellationToken::new();
        let host = Host::start(serve_arguments(&arguments), stop.clone()).await?;
        let played = play(&host, &arguments).await;
        if played.is_ok() && !arguments.end {
            println!("\nThe host runs until Ctrl-C.");
            signal().await;
        }
        stop.cancel();
        host.wait().await?;
        played
    })
}

fn serve_arguments(arguments: &DemoArguments) -> ServeArguments {
    ServeArguments {
        role: Role::All,
        data_dir: arguments.data_dir.clone(),
        listen: arguments.listen,
        metrics_listen: arguments.metrics_listen,
        trusted_proxies: Vec::new(),
        module_bytes_max: bulkhead_core::limits::MODULE_BYTES_MAX,
        compile_cpu_s: bulkhead_engine::CompileLimits::default().cpu_seconds,
        database: crate::arguments::DatabaseArguments::default(),
        identity: IdentityArguments::default(),
        keys: KeyArguments::default(),
        plans: None,
        default_tenant: None,
        log: LogArguments {
            log: LogKind::Embedded,
            kafka_bootstrap: String::new(),
            kafka_user: None,
            kafka_password_file: None,
            kafka_group_protocol: GroupProtocol::Consumer,
            kafka_properties: Vec::new(),
        },
        worker: WorkerArguments {
            worker_slot: "demo-0".to_owned(),
            buckets: None,
            control_url: String::new(),
            control_ca: None,
            token_file: None,
            executor_threads: None,
            memory_bytes_max: None,
            park_after_seconds: 0,
            keep_positions_seconds: 0,
            help_lag_records: 0,
            scratch_bytes_max: bulkhead_core::limits::SCRATCH_WORKER_BYTES,
        },
    }
}

/// An empty folder, or one that an earlier demo made, emptied.
fn empty(folder: &Path) -> anyhow::Result<()> {
    let mark = folder.join(MARK);
    if folder.exists() {
        if !mark.exists() && std::fs::read_dir(folder)?.next().is_some() {
            bail!("{} holds something that no demo made; name another folder with --data-dir", folder.display());
        }
        std::fs::remove_dir_all(folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    make_private(folder)?;
    std::fs::write(mark, "").context("marking the demo's folder")
}

async fn play(host: &Host, arguments: &DemoArguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let address = host.address.context("the demo runs control")?;
    let issuer = host.issuer.as_ref().context("the demo runs control")?;
    println!("Bulkhead on the embedded log. API: http://{address}  Metrics: http://{}/metrics\n", host.metrics_address);
    let admin = mint(issuer, "demo", None, TokenRole::PlatformAdmin)?;
    let client = Client::new(&format!("http://{address}"), TokenSource::Fixed(admin), &[])?;
    let scenes = [
        Scene {
            tenant: "acme",
            what: "adds carrier names and a delay class to flights",
            folder: "flights",
            modules: &["flights-enrich", "flights-classify"],
            pipeline: "flights",
            input: "flights",
            outputs: &["flights-enriched", "flights-late"],
            dead_letters: "flights-dead",
            partitions: 4,
            records: flights(&Source::Sample)?.collect::<anyhow::Result<Vec<Record>>>()?,
            expected: expected::flights,
        },
        Scene {
            tenant: "globex",
            what: "turns weather readings into alerts",
            folder: "weather",
            modules: &["weather-alerts"],
            pipeline: "weather",
            input: "weather",
            outputs: &["weather-alerts"],
            dead_letters: "weather-dead",
            partitions: 3,
            records: weather(&Source::Sample)?.collect::<anyhow::Result<Vec<Record>>>()?,
            expected: expected::weather,
        },
    ];
    let mut tenants = Vec::new();
    for scene in scenes {
        let id: TenantId = scene.tenant.parse()?;
        let token = mint(issuer, "demo", Some(id), TokenRole::TenantAdmin)?;
        keep_token(&arguments.data_dir, scene.tenant, &token)?;
        let tenant = Tenant::new(scene, client.with_token(token));
        tenant.set_up(&client, arguments).await?;
        tenants.push(tenant);
    }
    println!();
    let bars = MultiProgress::new();
    let runs = tenants.iter().map(|tenant| tenant.feed_and_watch(&bars));
    let results = futures::future::try_join_all(runs).await?;
    drop(bars);
    println!();
    for (tenant, status) in tenants.iter().zip(&results) {
        tenant.show(status).await?;
    }
    println!(
        "\nDone in {:.1} s. Every output was compared with one computed without the stages.",
        started.elapsed().as_secs_f64()
    );
    if !arguments.end {
        next_things(&format!("http://{address}"), &arguments.data_dir);
    }
    Ok(())
}

fn mint(issuer: &Issuer, subject: &str, tenant: Option<TenantId>, role: TokenRole) -> anyhow::Result<String> {
    let mut grant = Grant::new(subject, tenant, role);
    grant.life = Some(TOKEN_LIFE);
    Ok(issuer.mint(&grant)?)
}

/// Leaves a tenant's token where only this user can read it.
fn keep_token(data_dir: &Path, tenant: &str, token: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = data_dir.join(format!("{tenant}.token"));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(token.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

fn next_things(url: &str, data_dir: &Path) {
    let tokens = data_dir.display();
    println!(
        "
Try next, in another terminal:
  A=\"Authorization: Bearer $(cat {tokens}/acme.token)\"
  curl -s -H \"$A\" {url}/api/v1/tenants/acme/projects/default/pipelines/flights        # status, lag, fuel
  curl -s -H \"$A\" '{url}/api/v1/tenants/acme/topics/flights-late/records?partition=0&limit=3'
  curl -s -H \"$A\" -X POST {url}/api/v1/tenants/acme/topics/flights/records \\
    -H 'Content-Type: application/x-ndjson' --data '{{\"key\":\"X1\",\"value\":\"not a flight\"}}'           # becomes a dead letter
  curl -s -H \"$A\" '{url}/api/v1/tenants/acme/topics/flights-dead/records?partition=3'
  curl -s -H \"$A\" {url}/api/v1/tenants/globex/topics                                  # another tenant: as if it were not there
  bulkhead explain BH0005                                                               # target/debug/bulkhead"
    );
}
