//! Limits of what is kept: earlier revisions and lines of logs, of which the oldest go, and bytes, at which pipelines pause.
//!
//! Must never: hold a tenant over a limit for longer than its look takes.

use super::{BETWEEN, Stage};
use crate::shared::{Guests, manifest, refused};
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Line, Status, Tenant, until, until_within};
use reqwest::Method;
use std::time::Duration;

/// What is stored is looked at once a minute, and then again within seconds.
const LOOKED_AT: Duration = Duration::from_secs(150);
/// Bytes of the object, and of the stage's state, more than the limits set below.
const KEPT: &str = "5000";

/// A pipeline of another component than the guests', whose stage has these grants.
fn apply(acme: &Tenant, name: &str, grants: &str) -> Result<()> {
    acme.upload(name, "v1", bulkhead_test_guests::wasm(name))?;
    acme.topics(name)?;
    let ours = format!("    module: {name}:v1\n    {grants}\n    tickMs: 3600000\n");
    let manifest = manifest(name, "", "").replace("    module: guests:v1\n    config: \n", &ours);
    acme.apply(name, manifest)?;
    acme.wait_running(name)?;
    Ok(())
}

/// Begins early what is stored, so that it has been looked at when its turn comes: an object and some state.
pub(super) fn start(acme: &Tenant) -> Result<()> {
    apply(acme, "bucketed", "buckets: { all: { bucket: kept, prefix: all/, access: readWrite } }")?;
    acme.put("bucketed", &[&format!("fill|all|object|{KEPT}")])?;
    apply(acme, "stateful", "state: { maxBytes: 100000 }")?;
    acme.put("stateful", &[&format!("fill k {KEPT}")])?;
    for name in ["bucketed", "stateful"] {
        acme.out(name, 1)?;
    }
    acme.run_guest("loud", "log_flood", "")
}

/// The numbers of a pipeline's revisions, the newest first.
fn revisions(acme: &Tenant) -> Result<Vec<u64>> {
    let path = "/projects/default/pipelines/loud/revisions";
    let shown = acme.control().send(acme.request(Method::GET, path))?;
    let items = shown["items"].as_array().context("a list")?;
    items.iter().map(|item| item["revision"].as_u64().context("a number")).collect()
}

/// Revisions: the newest stay, whatever comes.
pub(super) fn forgotten(stage: &mut Stage) -> Result<()> {
    stage.limit(&["revisions=2"])?;
    let acme = stage.acme.clone();
    let again = move |records: u32| {
        acme.apply("loud", manifest("loud", "log_flood", "") + &format!("batch: {{ records: {records} }}\n"))
    };
    for records in 1..=4 {
        again(records)?;
    }
    let left = revisions(&stage.acme)?;
    ensure!(left == [5, 4], "{left:?} are left of five");
    let first = stage.acme.request(Method::GET, "/projects/default/pipelines/loud/revisions/1");
    let gone = refused(stage.acme.control().send(first), 404, "BH0005", "revision");
    let saw = format!("revisions 5 and 4 are left; of 1: {} {}", gone.status, gone.code);
    let turn = std::sync::atomic::AtomicU32::new(0);
    let more = move || drop(again(turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 9 + 1));
    stage.during("revisions", &saw, more)?;
    ensure!(revisions(&stage.acme)?.len() == 2, "more than two are left");
    stage.limit(&["revisions"])
}

/// Lines of logs: the oldest go, and a stage that logs faster than it may is told how many were dropped.
pub(super) fn logged(stage: &mut Stage) -> Result<()> {
    const LINES: u64 = 30;
    const BYTES: u64 = 8_000;
    let acme = stage.acme.clone();
    let flood = move || acme.put("loud", &["!2000"]);
    let dropped = until("the stage to be told of dropped lines", || {
        // It is told with the next line that it may log, where no new revision has taken over meanwhile.
        flood().and_then(|()| stage.acme.put("loud", &["!1"])).map_err(|error| error.to_string())?;
        let path = "/projects/default/logs?pipeline=loud&level=warn&limit=1000";
        let shown = stage.acme.control().send(stage.acme.request(Method::GET, path)).map_err(|no| no.to_string())?;
        let lines = shown["items"].as_array().into_iter().flatten();
        let told = lines.filter_map(|line| line["message"].as_str()).find(|words| words.contains("lines dropped"));
        told.map(str::to_owned).ok_or_else(|| "no such line".to_owned())
    })?;
    let again = flood.clone();
    stage.during("a stage's lines in a second", &format!("in its log: {dropped}"), move || drop(again()))?;
    for (limit, value) in [("logLines", LINES), ("logBytes", BYTES)] {
        stage.limit(&[&format!("{limit}={value}")])?;
        flood()?;
        let kept = until(&format!("`{limit}` to be kept"), || {
            let used = stage.seen(limit).map_err(|error| error.to_string())?["used"].clone();
            if used.as_u64().is_some_and(|used| used <= value) { Ok(used) } else { Err(used.to_string()) }
        })?;
        let again = flood.clone();
        stage.during(limit, &format!("the oldest lines go: {kept} of {value} are kept"), move || drop(again()))?;
        stage.limit(&[limit])?;
    }
    Ok(())
}

/// What is stored: pipelines pause, writing is refused where it would add to it, and all goes on once there is room.
pub(super) fn stored(stage: &mut Stage) -> Result<()> {
    for limit in ["stateBytes", "objectBytes", "topicBytes"] {
        let used = stage.seen(limit)?["used"].clone();
        stage.limit(&[&format!("{limit}=1000")])?;
        let told = until_within(LOOKED_AT, &format!("the pipeline to pause for `{limit}`"), || {
            let status = stage.acme.status("busy").map_err(|refused| refused.to_string())?;
            held(&status, limit).ok_or_else(|| format!("{status:?}, {used} used"))
        })?;
        let acme = stage.acme.clone();
        let write = move || acme.produce("busy-in", &[Line::text("key", "1")]);
        let saw = match limit {
            "topicBytes" => super::told(&refused(write(), 507, "BH0087", limit))?,
            _ => String::new(),
        };
        let saw = format!("all pipelines pause with BH0087: {told} {saw}");
        stage.during(limit, &saw, move || {
            if limit == "topicBytes" {
                drop(write());
            } else {
                std::thread::sleep(BETWEEN);
            }
        })?;
        stage.limit(&[limit])?;
        stage.acme.wait_running("busy")?;
    }
    // What waited goes through.
    let before = stage.acme.out("stateful", 1)?.len();
    stage.acme.put("stateful", &["count k2"])?;
    stage.acme.out("stateful", before + 1)?;
    Ok(())
}

/// What a pipeline says that is held by this limit.
fn held(status: &Status, limit: &str) -> Option<String> {
    let words = status.message.as_ref().filter(|words| words.contains(limit))?;
    (status.code.as_deref() == Some("BH0087") && status.phase.as_deref() == Some("paused")).then(|| words.clone())
}
