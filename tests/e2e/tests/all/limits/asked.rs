//! Limits that a request meets: counts of what a tenant has, and what one request or its uploads of an hour may be.
//!
//! Must never: leave behind what was made for the look.

use super::{Stage, told};
use crate::shared::{manifest, refused};
use anyhow::{Context, Result, ensure};
use bulkhead_test_guests::wasm;
use bulkhead_testbed::{Line, Refused, Tenant};
use reqwest::Method;
use serde_json::{Value, json};

/// Uploads that take more than a second of a core together, on any machine.
const COMPILED_MAX: usize = 50;
/// Counts of what a tenant has; `partitions` are one topic's.
const COUNTS: [&str; 10] = [
    "topics",
    "partitions",
    "modules",
    "moduleBytes",
    "pipelines",
    "stages",
    "entries",
    "projects",
    "roles",
    "roleBindings",
];

/// Counts that a request would go beyond: refused at once, with the same shape of answer.
pub(super) fn counts(stage: &mut Stage) -> Result<()> {
    make(&stage.acme, "entries", "one")?;
    make(&stage.acme, "roles", "one")?;
    make(&stage.acme, "roleBindings", "one")?;
    for limit in COUNTS {
        // Partitions are not counted over the tenant; the topics here have one each.
        let used = stage.seen(limit)?["used"].as_u64().unwrap_or(1);
        stage.limit(&[&format!("{limit}={used}")])?;
        let acme = stage.acme.clone();
        let ask = move || make(&acme, limit, "more");
        let saw = told(&refused(ask(), 422, "BH0085", limit))?;
        stage.during(limit, &saw, move || drop(ask()))?;
        stage.limit(&[limit])?;
    }
    // Nothing of it stayed behind.
    let mut projects = stage.acme.control().send(stage.acme.request(Method::GET, "/projects"))?;
    ensure!(projects["items"].take().as_array().is_some_and(|items| items.len() == 1), "a project was made");
    Ok(())
}

/// One more of what is counted.
fn make(acme: &Tenant, limit: &str, name: &str) -> Result<Value, Refused> {
    let put = |path: String| acme.request(Method::PUT, &path);
    let request = match limit {
        "topics" => return acme.create_topic(name, 1),
        "partitions" => return acme.create_topic(name, 2),
        "modules" | "moduleBytes" => return acme.upload("other", "v1", wasm("secretive")),
        // Of topics that are there.
        "pipelines" | "stages" => return acme.apply(name, manifest(name, "work", "").replace("more-", "busy-")),
        "entries" => put(format!("/projects/default/config/{name}")).body("1"),
        "roles" => put(format!("/access/roles/{name}")).json(&json!({"actions": ["pipelines.pause"]})),
        "roleBindings" => put(format!("/access/bindings/user:{name}/viewer")),
        _ => acme.request(Method::POST, "/projects").json(&json!({"name": name})),
    };
    acme.control().send(request)
}

/// The component with a custom section more, which changes nothing but its bytes.
fn variant(n: usize) -> Vec<u8> {
    let text = format!("variant {n:04}");
    let body = [&[4_u8][..], b"mark", text.as_bytes()].concat();
    [wasm("passthrough"), &[0, u8::try_from(body.len()).expect("a short text")], &body].concat()
}

/// What comes in over HTTP.
pub(super) fn requests(stage: &mut Stage) -> Result<()> {
    stage.limit(&["uploadBytes=1024"])?;
    let acme = stage.acme.clone();
    let ask = move || acme.upload("large", "v1", wasm("passthrough"));
    let saw = told(&refused(ask(), 413, "BH0105", "at most 1024 bytes"))?;
    stage.during("uploadBytes", &saw, move || drop(ask()))?;
    stage.limit(&["uploadBytes", "compileSecondsPerHour=1"])?;
    let acme = stage.acme.clone();
    let upload = move |n: usize| acme.upload("other", "v1", variant(n));
    let (n, told) = (0..COMPILED_MAX).find_map(|n| upload(n).err().map(|told| (n, told))).context("never refused")?;
    let saw = told_when(&refused(Err::<(), _>(told), 429, "BH0086", "compileSecondsPerHour"))?;
    ensure!(n > 0, "no upload went");
    stage.during("compileSecondsPerHour", &saw, move || drop(upload(COMPILED_MAX)))?;
    stage.acme.create_topic("unread", 1)?;
    stage.limit(&["compileSecondsPerHour", "bytesOutPerSecond=20000", "burstSeconds=1"])?;
    let (acme, lines) = (stage.acme.clone(), vec![Line::text("key", &"x".repeat(50_000))]);
    let ask = move || acme.produce("unread", &lines);
    ask()?;
    let saw = told_when(&refused(ask(), 429, "BH0086", "bytesOutPerSecond"))?;
    stage.during("bytesOutPerSecond", &saw, move || drop(ask()))?;
    stage.limit(&["bytesOutPerSecond", "burstSeconds"])
}

/// [`told`] of a rate, which says when to come again as well.
fn told_when(refused: &Refused) -> Result<String> {
    let when = &refused.body["freesAt"];
    ensure!(when.is_string() && refused.body["retryAfterMs"].is_u64(), "{}", refused.body);
    told(refused)
}
