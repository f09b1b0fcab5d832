//! A tenant at each of its limits in turn, and its neighbour meanwhile, on a real server.
//!
//! The tenant meets one limit after the other; each time it is looked at what it is told, and that it slows down or is refused rather than
//! failing. A neighbour sends a record at a time through a pipeline of its own, before and meanwhile, and waits for what comes out; how long
//! that takes is printed, not judged. `BULKHEAD_LIMITS_PROBES` says how many records for each limit; `cargo xtask bench limits` takes 200.
//! Requests above the API's rate are in [`crate::storm`].
//! Must never: call a limit kept because nothing came through: each pipeline works on after its limit is raised.

mod asked;
mod kept;
mod rates;

use crate::neighbour::Neighbour;
use crate::shared::{Guests, tenant_with_guests};
use crate::shell::Shell;
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Host, Line, Refused, Serve, Tenant};
use reqwest::Method;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Records of the neighbour for each limit, unasked.
const PROBES: usize = 15;
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

/// What a refusal says, for the table; each says what the limit is, how much is used and how much may be.
fn told(refused: &Refused) -> Result<String> {
    for member in ["limit", "used", "allowed", "unit"] {
        ensure!(!refused.body[member].is_null(), "`{member}` is missing in {}", refused.body);
    }
    Ok(format!("{} {}: {}", refused.status, refused.code, refused.body["detail"].as_str().unwrap_or_default()))
}

#[test]
fn a_tenant_at_each_limit_is_told_so_and_its_neighbour_works_on() -> Result<()> {
    let mut stage = Stage::start()?;
    start_working(&stage.acme, "busy", 20)?;
    kept::start(&stage.acme)?;
    asked::counts(&mut stage)?;
    asked::requests(&mut stage)?;
    rates::rates(&mut stage)?;
    rates::room(&mut stage)?;
    rates::month(&mut stage)?;
    kept::forgotten(&mut stage)?;
    kept::logged(&mut stage)?;
    kept::stored(&mut stage)?;
    let status = stage.acme.status("busy")?;
    ensure!(status.totals.dead_letters == 0, "{status:?}");
    drop(stage.host);
    Ok(())
}
