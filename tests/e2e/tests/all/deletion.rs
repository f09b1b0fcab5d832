//! What a deleted pipeline takes along on a real Kafka: over a broker that is away and a process that is killed.

use crate::brokers::Broker;
use crate::shared::{Guests, wait_applied};
use anyhow::{Context, Result};
use bulkhead_testbed::{Host, Line, Serve, Tenant, until};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROWS: usize = 200;
const ANSWER_MAX: Duration = Duration::from_secs(30);

fn manifest(stage: &str, output: &str) -> String {
    format!(
        "apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{{ topic: p-in }}]
stages:
  - name: guest
    module: {stage}
    outputs:
      out: {output}
deadLetter: {{ topic: p-dead }}
batch: {{ records: 20 }}
"
    )
}

const BUCKET: &str = "{ bucket: flights, prefix: rows/, format: jsonl, roll: { records: 30, everyMs: 100 },
        columns: [{ name: n, type: int64 }, { name: by, type: string }, { name: partition, type: int64 }] }";
const TO_ROWS: &str = "guests:v1\n    config: to_rows";

/// Everything that the broker has under a name of Bulkhead's own, topics and groups, but for what workers share among them.
fn hidden(broker: &Broker) -> Result<Vec<String>> {
    let client: BaseConsumer = broker.kafka.admin_client().create()?;
    let (topics, groups) = (client.fetch_metadata(None, ANSWER_MAX)?, client.fetch_group_list(None, ANSWER_MAX)?);
    let topics = topics.topics().iter().map(|topic| topic.name().to_owned());
    let names = topics.chain(groups.groups().iter().map(|group| group.name().to_owned()));
    let workers = |name: &str| name == "_bulkhead.slots" || name.starts_with("_bulkhead._slots.");
    let mut hidden: Vec<_> = names.filter(|name| name.starts_with("_bulkhead.") && !workers(name)).collect();
    hidden.sort();
    Ok(hidden)
}

fn kinds(hidden: &[String]) -> Vec<&str> {
    hidden.iter().filter_map(|name| name.split('.').nth(1)).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

fn rows(host: &Host) -> usize {
    let objects = files(&host.data_dir().join("buckets/acme"));
    objects.iter().filter_map(|path| std::fs::read_to_string(path).ok()).map(|text| text.lines().count()).sum()
}

fn wait_rows(host: &Host, wanted: usize) -> Result<()> {
    until(&format!("{wanted} rows in objects"), || match rows(host) {
        found if found >= wanted => Ok(()),
        found => Err(found.to_string()),
    })
}

fn feed(tenant: &Tenant) -> Result<()> {
    let lines: Vec<Line> = (0..ROWS).map(|n| Line::text(&(n % 7).to_string(), &n.to_string())).collect();
    tenant.produce("p-in", &lines)?;
    Ok(())
}

#[test]
fn a_deleted_pipeline_leaves_what_it_wrote_and_nothing_else() -> Result<()> {
    let broker = Broker::start(&["acme"])?;
    let mut host = Host::start(Serve::all().kafka(&broker.login))?;
    let tenant = host.tenant("acme")?;
    tenant.upload_guests()?;
    tenant.upload("stateful", "v1", bulkhead_test_guests::wasm("stateful"))?;
    tenant.topics("p")?;
    tenant.apply("p", manifest(TO_ROWS, BUCKET))?;
    feed(&tenant)?;
    wait_rows(&host, ROWS)?;
    // Of what a revision drops, nothing goes: a roll back wants it.
    tenant.apply("p", manifest("stateful:v1\n    state: {}", "{ topic: p-out }"))?;
    wait_applied(&tenant, "p")?;
    let there = hidden(&broker)?;
    assert_eq!(kinds(&there), ["acme", "manifests", "rows", "sink", "state", "usage"], "{there:?}");
    // As a crash between staging and commit leaves it.
    let staged = host.data_dir().join("buckets/_bulkhead.staged/acme");
    let making = std::fs::read_dir(&staged)?.next().context("a folder of the pipeline")??.path();
    let orphan = making.join("flights/0123456789abcdef/0/orphan");
    std::fs::create_dir_all(orphan.parent().context("a folder")?)?;
    std::fs::write(&orphan, "never published")?;

    broker.kafka.stop(1);
    tenant.delete_pipeline("p")?;
    host.kill9();
    broker.kafka.start_broker(1);
    host.start_again()?;
    until("nothing hidden of the pipeline to be left", || match hidden(&broker) {
        // What was used stays to be billed; its topic is the tenant's.
        Ok(left) if left == ["_bulkhead.usage.acme.commits"] => Ok(()),
        left => Err(format!("{left:?}")),
    })?;
    until("nothing staged to be left", || match files(&staged) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    })?;
    assert_eq!(rows(&host), ROWS, "published objects are the tenant's");
    assert!(tenant.topic("p-dead").is_ok() && tenant.topic("p-out").is_ok(), "its topics, too");

    // One of its name begins with nothing of the first, and writes over none of its objects.
    until("the name to be free", || {
        tenant.apply("p", manifest(TO_ROWS, BUCKET)).map(drop).map_err(|refused| refused.to_string())
    })?;
    wait_rows(&host, 2 * ROWS)?;
    host.stop()?;
    assert_eq!(rows(&host), 2 * ROWS);
    Ok(())
}
