//! Limits of running pipelines: rates at which they slow down, room that they share, the month's fuel at which they pause.
//!
//! Must never: judge how fast this machine is.

use super::{BETWEEN, Stage, WORK, start_working};
use crate::shared::Guests;
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Line, until_within};
use reqwest::Method;
use std::time::{Duration, Instant};

/// Waits until a pipeline of the tenant says that it is slowed down by this limit.
fn wait_slowed(stage: &Stage, pipeline: &str, limit: &str) -> Result<String> {
    until_within(Duration::from_secs(60), &format!("`{pipeline}` to be slowed down by `{limit}`"), || {
        let shown = stage.acme.pipeline(pipeline).map_err(|refused| refused.to_string())?;
        let slowed = &shown["status"]["slowed"];
        if slowed["limit"] == limit && shown["status"]["phase"] == "running" {
            return Ok(format!("slowed, waits {} ‰ of the time", slowed["waiting"]));
        }
        Err(shown["status"].to_string())
    })
}

/// Rates of running pipelines: they slow down, keep the rate, and nothing fails.
pub(super) fn rates(stage: &mut Stage) -> Result<()> {
    const RATE: u64 = 40_000_000;
    stage.limit(&[&format!("fuelPerSecond={RATE}"), "burstSeconds=1"])?;
    let (began, before) = (Instant::now(), stage.acme.status("busy")?.totals);
    let work: Vec<Line> = (0..4_000).map(|_| Line::text("key", WORK)).collect();
    stage.acme.produce("busy-in", &work)?;
    let saw = wait_slowed(stage, "busy", "fuelPerSecond")?;
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
        let saw = wait_slowed(stage, "busy", limit)?;
        stage.during(limit, &saw, || std::thread::sleep(BETWEEN))?;
        stage.limit(&[limit])?;
    }
    stage.limit(&["burstSeconds"])
}

/// Room for guests: two pipelines share one place.
pub(super) fn room(stage: &mut Stage) -> Result<()> {
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
pub(super) fn month(stage: &mut Stage) -> Result<()> {
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
