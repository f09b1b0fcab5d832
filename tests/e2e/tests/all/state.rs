//! The state of stages in the real process: over SIGKILLs, over revisions, and gone with its pipeline.

use crate::shared::{Guests, refused, wait_applied};
use anyhow::{Context, Result};
use bulkhead_testbed::{Host, Serve, Tenant, until};
use std::collections::BTreeMap;

/// Records of one request; a few batches, so that a kill finds some done and some not.
const BURST: u32 = 400;
const KEYS: u32 = 7;

fn manifest(stage: &str, state: &str) -> String {
    format!(
        "apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{{ topic: p-in }}]
stages:
  - name: {stage}
    module: stateful:v1
    {state}
    tickMs: 3600000
    outputs: {{ out: {{ topic: p-out }} }}
deadLetter: {{ topic: p-dead }}
batch: {{ records: 20 }}
"
    )
}

fn prepare(tenant: &Tenant) -> Result<()> {
    tenant.upload("stateful", "v1", bulkhead_test_guests::wasm("stateful"))?;
    tenant.topics("p")
}

fn count(tenant: &Tenant, records: u32) -> Result<()> {
    let values: Vec<String> = (0..records).map(|n| format!("count k{}", n % KEYS)).collect();
    tenant.put("p", &values.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What was counted of each key, in the order in which it was put out.
fn counted(values: &[String]) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut all = BTreeMap::<String, Vec<u64>>::new();
    for value in values {
        let (key, n) = value.split_once('=').context("KEY=N")?;
        all.entry(key.to_owned()).or_default().push(n.parse()?);
    }
    Ok(all)
}

#[test]
fn counts_go_on_where_they_were_over_sigkills_and_a_new_revision() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    prepare(&tenant)?;
    let problem = refused(tenant.apply("p", manifest("keep", "")), 422, "BH0201", "errors");
    let error = &problem.body["errors"][0];
    assert_eq!((&error["code"], &error["field"]), (&"BH0210".into(), &"stages[keep].state".into()));
    tenant.apply("p", manifest("keep", "state: { maxBytes: 100000 }"))?;
    let mut records = 0;
    for round in 0..5 {
        count(&tenant, BURST)?;
        records += BURST;
        // Somewhere in the middle of it.
        tenant.wait_records("p-out", (records - BURST / 2) as usize)?;
        host.kill9();
        host.start_again()?;
        if round == 2 {
            tenant.apply("p", manifest("keep", "state: { maxBytes: 90000 }"))?;
            wait_applied(&tenant, "p")?;
        }
    }
    let counted = counted(&tenant.out("p", records as usize)?)?;
    for (key, counts) in &counted {
        assert_eq!(*counts, (1..=counts.len() as u64).collect::<Vec<_>>(), "{key} was counted on, one by one");
    }
    assert_eq!((counted.len(), counted.values().map(Vec::len).sum::<usize>()), (KEYS as usize, records as usize));
    until("the state's size to be told", || {
        let shown = tenant.pipeline("p").map_err(|refused| refused.to_string())?;
        // Two letters and three digits, and what each entry counts beside.
        let bytes = u64::from(KEYS) * (64 + 2 + 3);
        if shown["status"]["stateBytes"] == bytes { Ok(()) } else { Err(shown["status"].to_string()) }
    })?;
    Ok(())
}

#[test]
fn a_deleted_pipeline_takes_its_state_with_it() -> Result<()> {
    let host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    prepare(&tenant)?;
    tenant.apply("p", manifest("keep", "state: {}"))?;
    count(&tenant, KEYS)?;
    tenant.out("p", KEYS as usize)?;
    tenant.delete_pipeline("p")?;
    until("the name to be free", || {
        tenant.apply("p", manifest("keep", "state: {}")).map(drop).map_err(|refused| refused.to_string())
    })?;
    // It reads all again, and begins to count anew.
    let counted = counted(&tenant.out("p", 2 * KEYS as usize)?)?;
    assert!(counted.values().all(|counts| *counts == [1, 1]), "{counted:?}");
    Ok(())
}
