//! Dead letters from the outside: found on a real Kafka and run again on a machine without one, to the same verdict and the same fuel;
//! sent to their pipeline once more, past a neighbour that reads the same topic.

use crate::brokers::shared;
use crate::shared::{Guests, manifest, tenant_with_guests};
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Folder, Host, Line, Serve, Tenant, bulkhead, until};
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Pipelines with the bad records that each of them meets.
const FAULTS: [(&str, &str, &str, &[&str]); 17] = [
    ("trap", "trap", "", &["!poison"]),
    ("exits", "exits", "", &["!x"]),
    ("recursion", "recursion", "", &["!x"]),
    ("spin", "spin", "fuelPerRecord: 5000000", &["!x"]),
    ("memory", "exhaust_memory", "memoryBytes: 16777216", &["!x"]),
    ("huge", "huge_output", "fuelPerRecord: 1000000000, memoryBytes: 268435456", &["!x"]),
    ("many", "many_outputs", "outputRecords: 1000", &["!1001"]),
    ("rejects", "exceptions", "retries: 1", &["!no good", "!retry"]),
    ("handles", "handles", "", &["!x"]),
    ("random", "random_flood", "fuelPerRecord: 5000000", &["!x", "!once"]),
    ("calls", "call_flood", "fuelPerRecord: 5000000", &["!x"]),
    ("backwards", "marks_backwards", "", &["!x"]),
    ("beyond", "marks_beyond", "", &["!x"]),
    ("denied", "denied_then_trap", "", &["!other"]),
    ("company", "company", "retries: 1", &["!x"]),
    ("sleep", "sleep", "deadlineMs: 2000", &["!x"]),
    (
        "rules",
        "malformed",
        "",
        &[
            "!rows",
            "!source-beyond",
            "!to-unknown",
            "!inherit",
            "!values-missing",
            "!ends-short",
            "!ends-beyond",
            "!nulls",
        ],
    ),
];

/// A token of the tenant's developer, in a file, and a folder for a machine that has nothing else of the host.
pub(crate) struct Elsewhere<'a> {
    host: &'a Host,
    tenant: &'a Tenant,
    folder: Folder,
}

impl<'a> Elsewhere<'a> {
    pub(crate) fn new(host: &'a Host, tenant: &'a Tenant) -> Result<Self> {
        let folder = Folder::new("elsewhere")?;
        std::fs::write(folder.join("token"), host.token("developer", Some(tenant.name()))?)?;
        Ok(Self { host, tenant, folder })
    }

    pub(crate) fn replay(&self, pipeline: &str, id: &str) -> Result<Value> {
        let mut command = Command::new(bulkhead()?);
        command.args(["deadletter", "replay", pipeline, id, "--local", "--output", "json"]);
        command.args(["--server", self.host.url(), "--tenant", self.tenant.name(), "--token-file"]);
        command.arg(self.folder.join("token")).arg("--config").arg(self.folder.join("config.toml"));
        let output = command.env("XDG_CACHE_HOME", self.folder.join("cache")).output()?;
        // 1: another verdict, which the JSON shows.
        let answered = matches!(output.status.code(), Some(0 | 1)) && !output.stdout.is_empty();
        ensure!(answered, "{pipeline} {id}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("the verdicts")
    }
}

pub(crate) fn letters(tenant: &Tenant, pipeline: &str, count: usize) -> Result<Vec<Value>> {
    let path = format!("/projects/default/pipelines/{pipeline}/dead-letters");
    until(&format!("{count} dead letters of {pipeline}"), || {
        let page = tenant.control().send(tenant.request(Method::GET, &path)).map_err(|refused| refused.to_string())?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        if items.len() >= count { Ok(items) } else { Err(page.to_string()) }
    })
}

#[test]
fn dead_letters_of_kafka_come_to_the_same_verdict_on_another_machine() -> Result<()> {
    let broker = shared()?;
    let host = Host::start(Serve::all().slot("verdicts").kafka(&broker.login))?;
    let tenant = tenant_with_guests(&host, "verdicts")?;
    let elsewhere = Elsewhere::new(&host, &tenant)?;
    let mut verdicts = BTreeMap::new();
    for (pipeline, guest, limits, bad) in FAULTS {
        tenant.topics(pipeline)?;
        let mut values = vec!["a", "b"];
        bad.iter().for_each(|bad| values.extend([bad, "c"]));
        tenant.put(pipeline, &values)?;
        tenant.apply_guest(pipeline, guest, limits)?;
    }
    for (pipeline, _, _, bad) in FAULTS {
        for letter in letters(&tenant, pipeline, bad.len())? {
            let id = letter["id"].as_str().context("an id")?;
            let replayed = elsewhere.replay(pipeline, id)?;
            assert_eq!(replayed["same"], true, "{pipeline}: {replayed}");
            assert_eq!(replayed["said"]["code"], letter["code"]);
            assert_eq!(replayed["found"]["code"], letter["code"], "{pipeline}: {replayed}");
            if letter["fuel"].is_u64() {
                assert_eq!(replayed["found"]["fuel"], letter["fuel"], "{pipeline}: {replayed}");
            }
            verdicts.insert(
                format!("{pipeline} {id}"),
                (letter["code"].clone(), replayed["found"]["fuel"].clone(), letter["fuel"].clone()),
            );
        }
    }
    assert!(verdicts.len() >= 20, "{verdicts:#?}");
    // All but the record that asked for a retry too often carry the fuel of their evidence.
    let weighed = verdicts.values().filter(|(_, _, said)| said.is_u64()).count();
    assert_eq!(weighed, verdicts.len() - 1, "{verdicts:#?}");
    let codes: std::collections::BTreeSet<_> = verdicts.values().map(|(code, ..)| code.to_string()).collect();
    assert!(codes.len() >= 8, "{codes:?}");
    Ok(())
}

#[test]
fn a_record_that_fails_in_the_second_stage_fails_there_again() -> Result<()> {
    let host = crate::shared::host()?;
    let tenant = tenant_with_guests(&host, "chained")?;
    let elsewhere = Elsewhere::new(&host, &tenant)?;
    for topic in ["in", "out", "dead"] {
        tenant.create_topic(&format!("chain-{topic}"), 2)?;
    }
    let more = "  - name: second
    module: guests:v1
    config: trap
    outputs: { out: { topic: chain-out } }
deadLetter";
    let text = manifest("chain", "filter", "").replace("out: { topic: chain-out }", "out: { stage: second }");
    tenant.apply("chain", text.replace("deadLetter", more))?;
    let lines: Vec<Line> = ["a", "!poison", "b"].iter().map(|value| Line::text("key", value)).collect();
    tenant.produce("chain-in", &lines)?;
    let letter = letters(&tenant, "chain", 1)?.remove(0);
    assert_eq!((&letter["stage"], &letter["source"]["offset"]), (&Value::from("second"), &Value::from(1)));
    let replayed = elsewhere.replay("chain", letter["id"].as_str().context("an id")?)?;
    assert_eq!(replayed["same"], true, "{replayed}");
    assert!(replayed["backtrace"].as_array().is_some_and(|frames| !frames.is_empty()), "{replayed}");
    Ok(())
}

#[test]
fn a_letter_of_a_stage_that_reaches_buckets_is_not_run_where_there_are_none() -> Result<()> {
    let host = crate::shared::host()?;
    let tenant = tenant_with_guests(&host, "no-buckets")?;
    let elsewhere = Elsewhere::new(&host, &tenant)?;
    tenant.upload("bucketed", "v1", bulkhead_test_guests::wasm("bucketed"))?;
    tenant.topics("reach")?;
    let grant = "buckets: { all: { bucket: flights, access: write } }";
    let text =
        manifest("reach", "bucketed", "").replace("module: guests:v1", &format!("module: bucketed:v1\n    {grant}"));
    tenant.apply("reach", text.clone())?;
    tenant.put("reach", &["put|all|a|x", "get|all|a|0|1"])?;
    let letter = letters(&tenant, "reach", 1)?.remove(0);
    assert_eq!(letter["code"], "BH0323", "{letter}");
    let refused = elsewhere.replay("reach", letter["id"].as_str().context("an id")?).unwrap_err().to_string();
    ensure!(refused.contains("BH0325") && refused.contains("stage `guest`"), "{refused}");

    let (manifest, stage) = (elsewhere.folder.join("pipeline.yaml"), elsewhere.folder.join("stage.wasm"));
    std::fs::write(&manifest, text)?;
    std::fs::write(&stage, bulkhead_test_guests::wasm("bucketed"))?;
    let output = Command::new(bulkhead()?).arg("run").arg(&stage).arg("--manifest").arg(&manifest).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && told.contains("BH0325"), "{told}");
    Ok(())
}

#[test]
fn a_replayed_letter_runs_in_its_own_pipeline_only() -> Result<()> {
    let host = crate::shared::host()?;
    let tenant = tenant_with_guests(&host, "again")?;
    tenant.topics("mine")?;
    tenant.create_topic("other-out", 1)?;
    tenant.apply_guest("mine", "trap", "")?;
    // The neighbour reads the same topic, and shares the dead-letter topic.
    let other = manifest("other", "passthrough", "").replace("other-in", "mine-in").replace("other-dead", "mine-dead");
    tenant.apply("other", other)?;
    tenant.put("mine", &["a", "!poison"])?;
    let letter = letters(&tenant, "mine", 1)?.remove(0);
    assert_eq!(letters(&tenant, "other", 0)?.len(), 0, "the letter is the other pipeline's business");

    // Mended, so that the record passes now.
    tenant.apply_guest("mine", "passthrough", "")?;
    crate::shared::wait_applied(&tenant, "mine")?;
    let id = letter["id"].as_str().context("an id")?;
    let path = format!("/projects/default/pipelines/mine/dead-letters/{id}/replay");
    let replay = || tenant.control().send(tenant.request(Method::POST, &path));
    assert_eq!(replay()?["state"], "replayed");
    crate::shared::refused(replay(), 409, "BH0034", "again=true");
    tenant.put("mine", &["z"])?;
    assert_eq!(tenant.out("mine", 3)?, ["a", "!poison", "z"]);
    assert_eq!(tenant.out("other", 3)?, ["a", "!poison", "z"], "the neighbour met it once");
    let out = tenant.wait_records("mine-out", 3)?;
    assert!(out[1].headers.is_empty(), "the stage saw no header of ours: {:?}", out[1]);
    Ok(())
}
