//! At rest on a real Kafka: of dead letters and state, nothing can be read in the broker's files or on the workers' disks without the tenant's
//! key; with it, all is there for the API and for another worker; once it is destroyed, for nobody.

use crate::brokers::Broker;
use crate::erasure::holding;
use crate::shared::Guests;
use crate::shell::Shell;
use anyhow::{Context, Result, ensure};
use bulkhead_test_services::ScratchDatabase;
use bulkhead_testbed::{Host, Read, Serve, Status, Tenant};
use serde_json::Value;
use std::path::Path;

/// In keys of state, in values of state, and in dead letters.
const MARKS: [&str; 3] = ["customer-mark", "vvvvvvvvvvvvvvvv", "poison-mark"];
/// Topics of the tenant's own, which are left as they are written: their records are what pipelines and others read.
const OPEN: [&str; 2] = ["acme.p-in-", "acme.p-out-"];

const MANIFEST: &str = "apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{ topic: p-in }]
stages:
  - name: keep
    module: stateful:v1
    state: { maxBytes: 67108864 }
    tickMs: 3600000
    outputs: { out: { topic: p-out } }
deadLetter: { topic: p-dead }
";

/// Entries that together do not stay in a worker's memory.
fn fills() -> Vec<String> {
    (0..150).map(|n| format!("fill customer-mark-{n} 60000")).collect()
}

fn put(tenant: &Tenant, values: &[String]) -> Result<()> {
    tenant.put("p", &values.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Places that hold a mark and may not.
fn unsealed(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = MARKS
        .iter()
        .flat_map(|mark| holding(folder, mark).into_iter().map(move |at| format!("{mark} in {at}")))
        .collect();
    found.retain(|place| !OPEN.iter().any(|open| place.contains(open)));
    found
}

fn letters(shell: &Shell) -> Result<Vec<Value>> {
    let listed: Value = serde_json::from_str(&shell.ok(&["deadletter", "list", "p", "--output", "json"])?)?;
    Ok(listed["items"].as_array().context("items")?.clone())
}

#[test]
fn what_a_pipeline_leaves_on_kafka_and_on_disks_is_noise_without_the_tenants_key() -> Result<()> {
    let broker = Broker::start(&["acme"])?;
    let database = ScratchDatabase::new(None)?;
    let serve =
        Serve::control().kafka(&broker.login).argument("--database-url-file").argument(database.server_url_file());
    let host = Host::start(serve.argument("--database-owner-url-file").argument(database.owner_url_file()))?;
    let tenant = host.tenant("acme")?;
    tenant.upload("stateful", "v1", bulkhead_test_guests::wasm("stateful"))?;
    tenant.topics("p")?;
    tenant.apply("p", MANIFEST)?;
    let shell = Shell::of(&host, "acme", "tenant-admin")?;
    let first = host.start_worker(&host.worker("first")?)?;
    put(&tenant, &fills())?;
    put(&tenant, &["count customer-mark-c".to_owned(), "reject poison-mark".to_owned()])?;
    tenant.wait_records("p-out", 151)?;
    tenant.wait_records("p-dead", 1)?;
    shell.ok(&["key", "rotate"])?;
    put(&tenant, &["count customer-mark-c".to_owned(), "trap poison-mark".to_owned()])?;
    assert_eq!(tenant.out("p", 152)?[151], "customer-mark-c=2");
    tenant.wait_records("p-dead", 2)?;

    let (kafka, disk) = (broker.kafka.files().join("data-1"), host.folder().join("worker-first"));
    ensure!(!holding(&kafka, MARKS[0]).is_empty(), "what the tenant wrote itself is where it always is");
    let spilled = std::fs::read_dir(disk.join("state/first"))?.count();
    assert_eq!(spilled, 1, "the state is on the disk");
    assert_eq!(unsealed(&kafka), [""; 0]);
    assert_eq!(unsealed(&disk), [""; 0]);

    let listed = letters(&shell)?;
    assert_eq!(listed.len(), 2);
    for letter in &listed {
        let id = letter["id"].as_str().context("an id")?;
        let shown = shell.ok(&["deadletter", "show", "p", id])?;
        assert!(shown.contains("poison-mark"), "{shown}");
    }
    let read = tenant.read_all("p-dead")?.iter().map(Read::text).collect::<Vec<_>>();
    assert_eq!(read, ["reject poison-mark", "trap poison-mark"]);

    first.stop()?;
    let second = host.start_worker(&host.worker("second")?)?;
    put(&tenant, &["count customer-mark-c".to_owned()])?;
    assert_eq!(tenant.out("p", 153)?[152], "customer-mark-c=3");
    second.stop()?;

    database.run("DELETE FROM bulkhead.tenant_keys")?;
    let id = listed[0]["id"].as_str().context("an id")?;
    let said = shell.run(&["deadletter", "show", "p", id])?;
    assert!(said.code != 0 && said.error.contains("BH0344") && !said.error.contains("poison-mark"), "{said:?}");
    let third = host.start_worker(&host.worker("third")?)?;
    let gone = |status: &Status| status.code.as_deref() == Some("BH0343");
    tenant.wait_status("p", "the pipeline to say that its state does not open", gone)?;
    third.stop()
}
