//! The same erasure with the metadata in PostgreSQL, records in Kafka and objects on an S3 server: a byte-level search of all of their files.
//!
//! What these keep by themselves for a while is named in the report, and here: a place that is not named fails the test.
//! Must never: allow a place that the report does not tell of.

use crate::brokers::Broker;
use crate::erasure::{ERASED, Marked, holding, mark, name, tenants};
use crate::shared::with_buckets;
use crate::shell::Shell;
use anyhow::{Context, Result, ensure};
use bulkhead_test_services::{S3, ScratchDatabase};
use bulkhead_testbed::{Folder, Host, until};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// Tenants unasked.
const TENANTS: usize = 3;

/// Where something may stay, with the words by which the report tells of it.
const KEPT: [(&str, &str); 4] = [
    ("__consumer_offsets-", "__consumer_offsets"),
    ("__transaction_state-", "__transaction_state"),
    ("__cluster_metadata-", "__cluster_metadata"),
    ("/pg_wal/", "write-ahead log"),
];

/// What is found in a folder and is kept by nobody who says so.
fn unexplained(folder: &Path, mark: &str) -> Vec<String> {
    let mut found = holding(folder, mark);
    found.retain(|place| !KEPT.iter().any(|(kept, _)| place.contains(kept)));
    found
}

#[test]
fn what_an_erased_tenant_leaves_with_others_is_only_what_the_report_says() -> Result<()> {
    let count = tenants(TENANTS)?;
    let names: Vec<String> = (0..count).map(name).collect();
    let kafka = bulkhead_test_services::Kafka::try_start_set(1, &[("log.segment.delete.delay.ms", "500")])?;
    let folder = Folder::new("login")?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let broker = Broker::of(kafka, folder, &names)?;
    let (s3, database) = (S3::start()?, ScratchDatabase::new(None)?);
    let serve = with_buckets(&s3).kafka(&broker.login);
    let serve = serve.argument("--database-url-file").argument(database.server_url_file());
    let host = Host::start(serve.argument("--database-owner-url-file").argument(database.owner_url_file()))?;
    let all = (0..count).map(|n| Marked::make(&host, n)).collect::<Result<Vec<_>>>()?;
    for (n, marked) in all.iter().enumerate() {
        marked.settle(&s3.objects(), n == ERASED || n == ERASED + 1)?;
    }
    // Without what the servers log for their operators.
    let postgres = bulkhead_test_services::Postgres::shared().files().join("data");
    let places = [host.data_dir(), broker.kafka.files().join("data-1"), s3.objects(), postgres];
    for n in 0..count {
        // What is only in memory yet is nowhere to be found.
        database.run("CHECKPOINT")?;
        for place in &places {
            ensure!(!holding(place, &mark(n)).is_empty(), "nothing of {} in {}", mark(n), place.display());
        }
    }

    let mut shell = Shell::new()?;
    shell.set("BULKHEAD_SERVER", host.url());
    shell.set("BULKHEAD_TOKEN", &host.token("platform-admin", None)?);
    let erased = name(ERASED);
    all[ERASED].count(200)?;
    let began = Instant::now();
    shell.ok(&["tenant", "delete", &erased, "--confirm", &erased, "--wait", "--report", "report.jws"])?;
    println!("{:>7.1} s  to erase one of {count} tenants from PostgreSQL, Kafka and S3", began.elapsed().as_secs_f64());
    let document: Value =
        serde_json::from_str(&shell.ok(&["tenant", "verify-erasure", "report.jws", "--of", &erased])?)?;
    assert_eq!(document["complete"], json!(true));
    let elsewhere = document["elsewhere"].to_string();
    for (_, words) in KEPT {
        assert!(elsewhere.contains(words), "the report does not tell of `{words}`: {elsewhere}");
    }

    for place in &places {
        until(&format!("{} to hold nothing but what the report tells of", place.display()), || {
            database.run("CHECKPOINT").map_err(|error| error.to_string())?;
            let found = unexplained(place, &mark(ERASED));
            if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
        })?;
    }
    for place in &places {
        for kept in holding(place, &mark(ERASED)) {
            println!(
                "kept by others: {}",
                kept.lines().next().unwrap_or_default().split(": ").next().unwrap_or_default()
            );
        }
    }
    for (_, marked) in all.iter().enumerate().filter(|(n, _)| *n != ERASED) {
        let topic = format!("{}-out", marked.mark);
        let before = marked.tenant.read_all(&topic)?.len();
        marked.count(3)?;
        marked.tenant.wait_records(&topic, before + 3)?;
        for place in &places {
            holding(place, &marked.mark).first().context("a neighbour's things are gone")?;
        }
    }
    Ok(())
}
