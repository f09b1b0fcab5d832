//! A tenant at each of its limits in turn, and its neighbour meanwhile, on a real server.
//!
//! The tenant meets one limit after the other; each time it is looked at what it is told, and that it slows down or is refused rather than
//! failing. A neighbour sends a record at a time through a pipeline of its own, before and meanwhile, and waits for what comes out; how long
//! that takes is printed, not judged. `BULKHEAD_LIMITS_PROBES` says how many records for each limit; `cargo xtask bench limits` takes 200.
//! Must never: call a limit kept because nothing came through: each pipeline works on after its limit is raised.

use crate::neighbour::Neighbour;
use crate::shared::{Guests, refused, tenant_with_guests};
use crate::shell::Shell;
use anyhow::{Context, Result, ensure};
use bulkhead_test_guests::wasm;
use bulkhead_testbed::{Host, Line, Serve, Tenant, until_within};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Records of the neighbour for each limit, unasked.
const PROBES: usize = 15;
/// What is stored is looked at once a minute, and then again within seconds.
const LOOKED_AT: Duration = Duration::from_secs(150);
/// Uploads that take more than a second of a core together, on any machine.
const COMPILED_MAX: usize = 50;
/// Between two looks whether the neighbour is done, where the tenant has nothing to do meanwhile but run.
const BETWEEN: Duration = Duration::from_millis(50);
/// Turns for which one record keeps the guest `work` busy.
const WORK: &str = "2000000";

struct Stage {
    host: Host,
    platform: Shell,
    acme: Tenant,
    neighbour: Neighbour,
    probes: usize,
    /// The neighbour's, before.
    before: (u128, u128),
}

impl Stage {
    fn start() -> Result<Self> {
        let host = Host::start(Serve::all())?;
        let mut platform = Shell::new()?;
        platform.set("BULKHEAD_SERVER", host.url());
        platform.set("BULKHEAD_TOKEN", &host.token("platform-admin", None)?);
        let (acme, neighbour) = (tenant_with_guests(&host, "acme")?, tenant_with_guests(&host, "globex")?);
        let mut neighbour = Neighbour::new(neighbour)?;
        let probes = std::env::var("BULKHEAD_LIMITS_PROBES").ok().map_or(Ok(PROBES), |text| text.parse())?;
        neighbour.probes(5)?;
        let before = neighbour.probes(probes)?;
        println!("| limit | what the tenant saw | neighbour p50 before | during | p99 before | during |");
        println!("|---|---|--:|--:|--:|--:|");
        Ok(Self { host, platform, acme, neighbour, probes, before })
    }

    /// Changes limits of the tenant's own: `LIMIT=VALUE` sets one, `LIMIT` takes it back.
    fn limit(&self, changes: &[&str]) -> Result<()> {
        let mut command = vec!["tenant", "limits", "acme"];
        for change in changes {
            command.extend([if change.contains('=') { "--set" } else { "--unset" }, change]);
        }
        self.platform.ok(&command).map(drop)
    }

    /// What the tenant sees of one of its limits.
    fn seen(&self, name: &str) -> Result<Value> {
        let limits = self.acme.control().send(self.acme.request(Method::GET, "/limits"))?;
        let found = limits["items"].as_array().into_iter().flatten().find(|limit| limit["name"] == name);
        found.cloned().with_context(|| format!("no limit `{name}` in {limits}"))
    }

    /// Runs the neighbour's probes while `meanwhile` is done again and again, and prints the row.
    fn during(&mut self, limit: &str, saw: &str, meanwhile: impl Fn() + Send + 'static) -> Result<()> {
        let over = Arc::new(AtomicBool::new(false));
        let again: JoinHandle<()> = std::thread::spawn({
            let over = over.clone();
            move || {
                while !over.load(Ordering::Relaxed) {
                    meanwhile();
                }
            }
        });
        let during = self.neighbour.probes(self.probes);
        over.store(true, Ordering::Relaxed);
        again.join().expect("what the tenant does goes on");
        let ((p50, p99), (during50, during99)) = (self.before, during?);
        println!("| `{limit}` | {saw} | {p50} ms | {during50} ms | {p99} ms | {during99} ms |");
        Ok(())
    }

    /// Waits until a pipeline of the tenant says that it is slowed down by this limit.
    fn wait_slowed(&self, pipeline: &str, limit: &str) -> Result<String> {
        until_within(Duration::from_secs(60), &format!("`{pipeline}` to be slowed down by `{limit}`"), || {
            let shown = self.acme.pipeline(pipeline).map_err(|refused| refused.to_string())?;
            let slowed = &shown["status"]["slowed"];
            if slowed["limit"] == limit && shown["status"]["phase"] == "running" {
                return Ok(format!("slowed, waits {} ‰ of the time", slowed["waiting"]));
            }
            Err(shown["status"].to_string())
        })
    }
}

/// A pipeline of the guest `work` with this much to do, in small batches.
fn start_working(acme: &Tenant, name: &str, records: usize) -> Result<()> {
    acme.topics(name)?;
    let manifest = crate::shared::manifest(name, "work", "") + "batch: { records: 5 }\n";
    acme.apply(name, manifest)?;
    acme.wait_running(name)?;
    let lines: Vec<Line> = (0..records).map(|_| Line::text("key", WORK)).collect();
    acme.produce(&format!("{name}-in"), &lines)?;
    Ok(())
}

/// Counts that a request would go beyond: refused at once, with the same shape of answer.
fn counts(stage: &mut Stage) -> Result<()> {
    for limit in ["topics", "modules", "pipelines", "stages", "entries", "projects"] {
        let used = stage.seen(limit)?["used"].as_u64().context("a number")?;
        stage.limit(&[&format!("{limit}={}", used.max(1))])?;
        let acme = stage.acme.clone();
        let ask = move || match limit {
            "topics" => acme.create_topic("more", 1),
            "modules" => acme.upload("other", "v1", wasm("stateful")),
            "pipelines" | "stages" => {
                acme.apply("more", crate::shared::manifest("more", "work", "").replace("more-", "busy-"))
            }
            "entries" => acme.control().send(acme.request(Method::PUT, "/projects/default/config/more").body("1")),
            _ => acme.control().send(acme.request(Method::POST, "/projects").json(&json!({"name": "more"}))),
        };
        if limit == "entries" {
            stage.acme.control().send(stage.acme.request(Method::PUT, "/projects/default/config/one").body("1"))?;
        }
        let told = refused(ask(), 422, "BH0085", limit);
        for member in ["limit", "used", "allowed", "unit"] {
            ensure!(!told.body[member].is_null(), "`{member}` is missing in {}", told.body);
        }
        stage.during(limit, "422 BH0085 at once", move || drop(ask()))?;
        stage.limit(&[limit])?;
    }
    Ok(())
}

/// The component with a custom section more, which changes nothing but its bytes.
fn variant(n: usize) -> Vec<u8> {
    let text = format!("variant {n:04}");
    let body = [&[4_u8][..], b"mark", text.as_bytes()].concat();
    [wasm("passthrough"), &[0, u8::try_from(body.len()).expect("a short text")], &body].concat()
}

/// What comes in over HTTP.
fn requests(stage: &mut Stage) -> Result<()> {
    stage.limit(&["uploadBytes=1024"])?;
    let acme = stage.acme.clone();
    let ask = move || acme.upload("large", "v1", wasm("passthrough"));
    refused(ask(), 413, "BH0105", "at most 1024 bytes");
    stage.during("uploadBytes", "413 BH0105 before a byte is read", move || drop(ask()))?;
    stage.limit(&["uploadBytes", "compileSecondsPerHour=1"])?;
    let acme = stage.acme.clone();
    let upload = move |n: usize| acme.upload("other", "v1", variant(n));
    let (n, told) = (0..COMPILED_MAX).find_map(|n| upload(n).err().map(|told| (n, told))).context("never refused")?;
    let told = refused(Err::<(), _>(told), 429, "BH0086", "compileSecondsPerHour");
    ensure!(n > 0 && told.body["freesAt"].is_string(), "{n} uploads, then {}", told.body);
    stage.during("compileSecondsPerHour", "429 BH0086 with Retry-After", move || drop(upload(COMPILED_MAX)))?;
    stage.acme.create_topic("unread", 1)?;
    stage.limit(&["compileSecondsPerHour", "bytesOutPerSecond=20000", "burstSeconds=1"])?;
    let (acme, lines) = (stage.acme.clone(), vec![Line::text("key", &"x".repeat(50_000))]);
    let ask = move || acme.produce("unread", &lines);
    ask()?;
    let told = refused(ask(), 429, "BH0086", "bytesOutPerSecond");
    ensure!(told.body["freesAt"].is_string(), "{}", told.body);
    stage.during("bytesOutPerSecond", "429 BH0086 with Retry-After", move || drop(ask()))?;
    stage.limit(&["bytesOutPerSecond", "burstSeconds"])
}

/// Rates of running pipelines: they slow down, keep the rate, and nothing fails.
fn rates(stage: &mut Stage) -> Result<()> {
    const RATE: u64 = 40_000_000;
    stage.limit(&[&format!("fuelPerSecond={RATE}"), "burstSeconds=1"])?;
    let (began, before) = (Instant::now(), stage.acme.status("busy")?.totals);
    let work: Vec<Line> = (0..4_000).map(|_| Line::text("key", WORK)).collect();
    stage.acme.produce("busy-in", &work)?;
    let saw = stage.wait_slowed("busy", "fuelPerSecond")?;
    stage.during("fuelPerSecond", &saw, || std::thread::sleep(BETWEEN))?;
    let after = stage.acme.status("busy")?.totals;
    let (fuel, records) = (after.fuel - before.fuel, after.records_in - before.records_in);
    // The burst, what came since, and one batch ahead of it; nobody knows how fast this machine is, so there is no lower bound.
    let allowed = RATE as f64 * (1.0 + began.elapsed().as_secs_f64()) + fuel as f64 / records.max(1) as f64 * 5.0;
    ensure!(records > 0 && fuel as f64 <= allowed, "{fuel} fuel where {allowed} are allowed");
    ensure!(after.dead_letters == 0, "a rate must not make dead letters");
    stage.limit(&["fuelPerSecond"])?;
    for limit in ["bytesInPerSecond", "bytesOutPerSecond"] {
        stage.acme.produce("busy-in", &work)?;
        stage.limit(&[&format!("{limit}=1024")])?;
        let saw = stage.wait_slowed("busy", limit)?;
        stage.during(limit, &saw, || std::thread::sleep(BETWEEN))?;
        stage.limit(&[limit])?;
    }
    stage.limit(&["burstSeconds"])
}

/// Room for guests: two pipelines share one place.
fn room(stage: &mut Stage) -> Result<()> {
    start_working(&stage.acme, "second", 3_000)?;
    let lines: Vec<Line> = (0..3_000).map(|_| Line::text("key", WORK)).collect();
    stage.acme.produce("busy-in", &lines)?;
    for (limit, value) in [("instances", 1_u64), ("guestMemoryBytes", 64 << 20)] {
        stage.limit(&[&format!("{limit}={value}")])?;
        let used = until_within(Duration::from_secs(30), "its instances to be few", || {
            let seen = stage.seen(limit).map_err(|error| error.to_string())?;
            if seen["used"].as_u64().is_some_and(|used| used <= value) {
                Ok(seen["used"].clone())
            } else {
                Err(seen.to_string())
            }
        })?;
        let saw = format!("two pipelines take turns; {used} used of {value}");
        stage.during(limit, &saw, || std::thread::sleep(BETWEEN))?;
        stage.limit(&[limit])?;
    }
    Ok(())
}

/// The month's fuel: a notice, then a pause, then on again once there is more.
fn month(stage: &mut Stage) -> Result<()> {
    let used = stage.seen("fuelPerMonth")?["used"].as_u64().context("a number")?;
    stage.limit(&[&format!("fuelPerMonth={}", used / 2)])?;
    let paused = |status: &bulkhead_testbed::Status| {
        status.phase.as_deref() == Some("paused") && status.code.as_deref() == Some("BH0352")
    };
    let status = stage.acme.wait_status("busy", "the pipeline to pause", paused)?;
    ensure!(status.message.as_deref().is_some_and(|words| words.contains("fuelPerMonth")), "{status:?}");
    let logs = stage.acme.control().send(stage.acme.request(Method::GET, "/projects/default/logs?pipeline=busy"))?;
    ensure!(logs.to_string().contains("BH0353"), "no notice in {logs}");
    stage.during("fuelPerMonth", "notice BH0353, then paused with BH0352", || std::thread::sleep(BETWEEN))?;
    stage.limit(&["fuelPerMonth"])?;
    stage.acme.wait_running("busy")?;
    Ok(())
}

/// What is stored: pipelines pause, writing is refused, and both go on once there is room.
fn stored(stage: &mut Stage) -> Result<()> {
    stage.limit(&["topicBytes=1000"])?;
    let acme = stage.acme.clone();
    until_within(LOOKED_AT, "the topics to be looked at", || match acme.put("busy", &["1"]) {
        Err(refused) if refused.to_string().contains("BH0087") => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let held = |status: &bulkhead_testbed::Status| status.code.as_deref() == Some("BH0087");
    stage.acme.wait_status("busy", "the pipeline to pause", held)?;
    stage.during("topicBytes", "507 BH0087 for what it writes, pipelines paused", move || {
        drop(acme.put("busy", &["1"]))
    })?;
    stage.limit(&["topicBytes"])?;
    stage.acme.wait_running("busy")?;
    stage.acme.put("busy", &["1"])
}

#[test]
fn a_tenant_at_each_limit_is_told_so_and_its_neighbour_works_on() -> Result<()> {
    let mut stage = Stage::start()?;
    start_working(&stage.acme, "busy", 20)?;
    counts(&mut stage)?;
    requests(&mut stage)?;
    rates(&mut stage)?;
    room(&mut stage)?;
    month(&mut stage)?;
    if std::env::var_os("BULKHEAD_LIMITS_PROBES").is_some() {
        // Takes minutes, since what is stored is looked at once a minute.
        stored(&mut stage)?;
    }
    let status = stage.acme.status("busy")?;
    ensure!(status.totals.dead_letters == 0, "{status:?}");
    drop(stage.host);
    Ok(())
}
