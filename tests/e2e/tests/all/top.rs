//! What pipelines do at the moment, as the API and the command line tell it: figures of real work, against what was counted of it.
//!
//! Must never: compare two looks of different moments, but where nothing moves.

use crate::shared::{Guests, manifest, tenant_with_guests};
use crate::shell::Shell;
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Host, Line, Serve, Tenant, until};
use reqwest::Method;
use serde_json::Value;

/// Fuel a second that the tenant may burn, so that the work lasts.
const RATE: f64 = 50_000_000.0;
/// About so much fuel is one record.
const VALUE: &str = "2000000";
const RECORDS: usize = 3_000;

fn top(tenant: &Tenant) -> Result<Vec<Value>, String> {
    let shown = tenant.control().send(tenant.request(Method::GET, "/top")).map_err(|refused| refused.to_string())?;
    Ok(shown["items"].as_array().cloned().unwrap_or_default())
}

fn line(items: &[Value], pipeline: &str) -> Result<Value, String> {
    let found = items.iter().find(|line| line["pipeline"] == pipeline);
    found.cloned().ok_or_else(|| format!("no `{pipeline}` in {items:?}"))
}

fn number(line: &Value, name: &str) -> Result<f64> {
    line[name].as_f64().with_context(|| format!("`{name}` in {line}"))
}

/// A working pipeline, one with state and nothing to do.
fn world(host: &Host) -> Result<(Tenant, f64)> {
    let tenant = tenant_with_guests(host, "acme")?;
    tenant.upload("stateful", "v1", bulkhead_test_guests::wasm("stateful"))?;
    tenant.topics("still")?;
    let grants = "module: stateful:v1\n    state: { maxBytes: 100000 }\n    tickMs: 3600000";
    tenant.apply("still", manifest("still", "", "").replace("module: guests:v1\n    config: ", grants))?;
    tenant.wait_running("still")?;
    tenant.put("still", &["fill k 5000"])?;
    tenant.topics("busy")?;
    tenant.apply("busy", manifest("busy", "work", "") + "batch: { records: 5 }\n")?;
    tenant.wait_running("busy")?;
    let one = vec![Line::text("key", VALUE)];
    tenant.produce("busy-in", &one)?;
    let first = tenant.wait_status("busy", "the first record", |status| status.totals.records_in == 1)?;
    Ok((tenant, first.totals.fuel as f64))
}

#[test]
fn top_tells_what_pipelines_do_by_stage_and_tenant_and_nothing_of_others() -> Result<()> {
    let host = Host::start(Serve::all())?;
    let (tenant, each) = world(&host)?;
    let neighbour = tenant_with_guests(&host, "globex")?;
    neighbour.run_guest("quiet", "passthrough", "")?;
    let mut platform = Shell::new()?;
    platform.set("BULKHEAD_SERVER", host.url());
    platform.set("BULKHEAD_TOKEN", &host.token("platform-admin", None)?);
    let rate = format!("fuelPerSecond={RATE}");
    platform.ok(&["tenant", "limits", "acme", "--set", &rate, "--set", "burstSeconds=1"])?;
    let lines: Vec<Line> = (0..RECORDS).map(|_| Line::text("key", VALUE)).collect();
    tenant.produce("busy-in", &lines)?;

    // A rate is of five to ten seconds, so it grows at first and then stays where the limit is.
    let busy = until("the rate to be what the limit allows", || {
        let busy = line(&top(&tenant)?, "busy")?;
        let burns = busy["fuelPerSecond"].as_f64().unwrap_or_default();
        if (0.7 * RATE..=1.3 * RATE).contains(&burns) { Ok(busy) } else { Err(busy.to_string()) }
    })?;
    // Of one look: fuel goes with records, and the stage is the whole pipeline.
    let records = number(&busy, "recordsInPerSecond")?;
    let ratio = number(&busy, "fuelPerSecond")? / records / each;
    ensure!((0.9..=1.1).contains(&ratio), "{ratio} of {each} fuel a record in {busy}");
    ensure!(number(&busy, "recordsOutPerSecond")? == records && number(&busy, "faultsPerSecond")? == 0.0, "{busy}");
    ensure!(busy["stages"]["guest"]["fuelPerSecond"] == busy["fuelPerSecond"], "{busy}");
    ensure!((1.0..RECORDS as f64).contains(&number(&busy, "lag")?), "{busy}");
    ensure!(number(&busy, "memoryBytes")? > 0.0 && number(&busy, "stateBytes")? == 0.0, "{busy}");

    until("the one with nothing to do to be told so", || {
        let still = line(&top(&tenant)?, "still")?;
        if still["fuelPerSecond"] == 0.0 { Ok(()) } else { Err(still.to_string()) }
    })?;
    let items = top(&tenant).map_err(anyhow::Error::msg)?;
    ensure!(items.len() == 2 && items[0]["pipeline"] == "busy", "what burns most comes first: {items:?}");
    let still = &items[1];
    ensure!(still["fuelPerSecond"] == 0.0 && still["lag"] == 0 && number(still, "stateBytes")? > 5_000.0, "{still}");
    let theirs = top(&neighbour).map_err(anyhow::Error::msg)?;
    ensure!(theirs.len() == 1 && theirs[0]["pipeline"] == "quiet", "{theirs:?}");

    let all: Value = serde_json::from_str(&platform.ok(&["top", "--all", "--once", "--output", "json"])?)?;
    let names: Vec<_> = all["items"].as_array().into_iter().flatten().map(|line| line["tenant"].clone()).collect();
    ensure!(names == ["acme", "globex"] && !all.to_string().contains("busy"), "sums alone: {all}");
    ensure!(all["items"][0]["pipelines"] == 2 && number(&all["items"][0], "fuelPerSecond")? > 0.5 * RATE, "{all}");
    ensure!(number(&all["items"][0], "stateBytes")? == number(still, "stateBytes")?, "{all}");
    let shown = Shell::of(&host, "acme", "viewer")?.ok(&["top", "--stages"])?;
    let names: Vec<_> = shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(names[..3] == ["PIPELINE", "default/busy", "default/busy/guest"], "{shown}");

    // Once all is done nothing is said to go on.
    platform.ok(&["tenant", "limits", "acme", "--unset", "fuelPerSecond"])?;
    until("the rates to be nought", || {
        let busy = line(&top(&tenant)?, "busy")?;
        if busy["lag"] == 0 && busy["fuelPerSecond"] == 0.0 { Ok(()) } else { Err(busy.to_string()) }
    })?;
    ensure!(tenant.status("busy")?.totals.records_in == RECORDS as u64 + 1);
    Ok(())
}
