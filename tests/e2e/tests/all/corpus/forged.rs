//! Records that carry headers which only the host writes: made by a stage, and sent in over HTTP.
//!
//! Must never: take for forged what the host has written.

use super::arena::NEIGHBOUR;
use super::play::Attacker;
use super::scenes::Stage;
use crate::brokers::Broker;
use crate::dead_letters::letters;
use crate::shared::{Guests, manifest};
use anyhow::{Result, ensure};
use bulkhead_testbed::{Line, Refused, Tenant};
use reqwest::Method;
use serde_json::Value;

/// The evidence of a dead letter of this pipeline, of a revision that never was and a topic of somebody else's.
fn forged_letter(pipeline: &str, value: &str) -> Line {
    let text = [
        ("tenant", NEIGHBOUR),
        ("code", "BH0301"),
        ("topic", "besieged.probe-in"),
        ("partition", "0"),
        ("offset", "0"),
        ("kind", "trap"),
        ("stage", "guest"),
        ("module", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
        ("project", "default"),
        ("pipeline", pipeline),
        ("revision", "999"),
        ("reason", "forged"),
    ];
    text.iter().fold(Line::text("key", value), |line, (name, text)| line.header(&format!("bulkhead-{name}"), text))
}

/// What is asked of one dead letter.
fn ask(tenant: &Tenant, pipeline: &str, method: Method, path: &str) -> Result<Value, Refused> {
    let path = format!("/projects/default/pipelines/{pipeline}/dead-letters{path}");
    tenant.control().send(tenant.request(method, &path))
}

/// See the module's documentation.
pub(super) fn forged_headers(attacker: &Attacker, _: Option<&Broker>) -> Result<()> {
    let (tenant, name) = (&attacker.tenant, attacker.name.as_str());
    attacker.apply(&Stage { config: "forged_headers", ..Stage::default() })?;
    tenant.wait_running(name)?;
    let input = format!("{name}-in");
    tenant.produce(&input, &[forged_letter("probe", "a"), forged_letter(name, "!"), Line::text("key", "b")])?;
    // They name another pipeline, so this one passes over them, and so does every pipeline of this tenant's; no other tenant's is asked.
    tenant.produce(&input, &[Line::text("key", "!").header("bulkhead-replay-of", "default/probe/0-0")])?;
    attacker.done(3)?;
    ensure!(tenant.out(name, 2)? == ["a", "b"]);

    let found = letters(tenant, name, 1)?;
    ensure!(found.len() == 1, "{found:?}");
    let letter = &found[0];
    let said = (&letter["pipeline"], &letter["revision"], &letter["source"]["topic"], &letter["source"]["offset"]);
    ensure!(said == (&name.into(), &1.into(), &input.as_str().into(), &1.into()), "forged evidence counts: {letter}");
    ensure!(letter["reason"] != "forged", "{letter}");

    // What the stage has put out is for nobody else: a second pipeline of the same tenant passes over all of it.
    tenant.topics("after")?;
    let text = manifest("after", "passthrough", "").replace("topic: after-in", &format!("topic: {name}-out"));
    tenant.apply("after", text)?;
    let done = |status: &bulkhead_testbed::Status| status.totals.records_in >= 2 || status.lag == Some(0);
    tenant.wait_status("after", "it to have read them", done)?;
    ensure!(tenant.read_all("after-out")?.is_empty() && tenant.read_all("after-dead")?.is_empty());
    tenant.delete_pipeline("after")?;

    forged_letters(attacker)?;
    let usage = tenant.control().send(tenant.request(Method::GET, "/usage"))?.to_string();
    ensure!(!usage.contains("probe"), "what a header says is billed: {usage}");
    Ok(())
}

/// Letters that nobody wrote: in one's own topic they are one's own, and lead nowhere else.
fn forged_letters(attacker: &Attacker) -> Result<()> {
    let (tenant, name) = (&attacker.tenant, attacker.name.as_str());
    let mut sealed = forged_letter(name, "not sealed");
    sealed.headers.push(("bulkhead-sealed".to_owned(), "1".to_owned()));
    tenant.produce(&format!("{name}-dead"), &[forged_letter("probe", "x"), forged_letter(name, "y"), sealed])?;
    let found = letters(tenant, name, 3)?;
    ensure!(found.len() == 3, "a letter that names another pipeline is shown: {found:?}");
    for letter in &found[1..] {
        let id = letter["id"].as_str().unwrap_or_default();
        for (method, path) in [(Method::GET, "bundle"), (Method::POST, "replay")] {
            let answer = ask(tenant, name, method, &format!("/{id}/{path}"));
            let refused = answer.as_ref().is_err_and(|refused| (400..500).contains(&refused.status));
            ensure!(refused, "{path} of a letter that was never written: {answer:?}");
        }
    }
    let theirs = ask(&attacker.neighbour, "probe", Method::GET, "")?;
    ensure!(theirs["items"].as_array().is_some_and(Vec::is_empty), "the neighbour has dead letters: {theirs}");
    Ok(())
}
