//! The audit as its tenant has it: searched, verified and exported at the command line, and read from the tenant's own topic.

use crate::shared::Guests;
use crate::shell::Shell;
use anyhow::{Context, Result};
use bulkhead_testbed::{Host, Serve, Tenant, until};
use serde_json::Value;
use std::process::Command;

const MANIFEST: &str = "apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{ topic: p-in }]
stages:
  - name: keep
    module: stateful:v1
    state: {}
    tickMs: 3600000
    outputs: { out: { topic: p-out } }
deadLetter: { topic: p-dead }
";

/// A tenant whose pipeline has done something.
fn at_work(host: &Host) -> Result<Tenant> {
    let tenant = host.tenant("acme")?;
    tenant.upload("stateful", "v1", bulkhead_test_guests::wasm("stateful"))?;
    tenant.topics("p")?;
    tenant.apply("p", MANIFEST.to_owned())?;
    tenant.put("p", &["count a", "count b", "count a"])?;
    tenant.wait_records("p-out", 3)?;
    Ok(tenant)
}

#[test]
fn grants_that_stages_used_are_shown_and_in_the_audit() -> Result<()> {
    let host = Host::start(Serve::all())?;
    at_work(&host)?;
    let admin = Shell::of(&host, "acme", "tenant-admin")?;
    until("the uses", || {
        let said = admin.ok(&["pipeline", "uses", "p", "--output", "json"]).map_err(|error| error.to_string())?;
        let uses: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
        let items = uses["items"].as_array().ok_or("no items")?;
        let of = |grant: &str| items.iter().find(|item| item["grant"] == grant).map(|item| item["count"].clone());
        // The state's entries are two or three: in how many batches the records came is not told.
        let right = of("read topic/p-in") == Some(3.into()) && of("write topic/p-out") == Some(3.into());
        if right && of("write state").is_some() { Ok(()) } else { Err(said) }
    })?;
    until("the uses in the audit", || {
        let said = admin.ok(&["audit", "list", "--kind", "use"]).map_err(|error| error.to_string())?;
        if said.matches("grants.use").count() >= 3 { Ok(()) } else { Err(said) }
    })?;
    let verified = admin.ok(&["audit", "verify"])?;
    assert!(verified.contains("\nwhole, checked against"), "{verified}");
    Ok(())
}

#[test]
fn the_audits_topic_alone_is_a_chain_that_verifies() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let tenant = at_work(&host)?;
    tenant.create_topic("audit", 1)?;
    let admin = Shell::of(&host, "acme", "tenant-admin")?;
    admin.ok(&["audit", "topic", "audit"])?;
    let upto = |wanted: i64| {
        until("the topic has the lines", || {
            let state = admin.ok(&["audit", "topic", "--output", "json"]).map_err(|error| error.to_string())?;
            let state: Value = serde_json::from_str(&state).map_err(|error| error.to_string())?;
            if state["seq"].as_i64() >= Some(wanted) { Ok(()) } else { Err(state.to_string()) }
        })
    };
    upto(5)?;
    // What was written before the stop and was not sent yet follows after it.
    host.kill9();
    host.start_again()?;
    tenant.put("p", &["count c"])?;
    let newest: Value = serde_json::from_str(&admin.ok(&["audit", "list", "--limit", "1", "--output", "json"])?)?;
    upto(newest["items"][0]["seq"].as_i64().context("a line")?)?;
    let records = admin.ok(&["consume", "audit", "--values"])?;
    let seqs: Vec<u64> =
        records.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["seq"].as_u64()).collect();
    let mut all = seqs.clone();
    all.dedup();
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>(), "every line, in order");
    admin.write("topic.jsonl", &records)?;
    let verified = admin.ok(&["audit", "verify", "topic.jsonl"])?;
    assert!(verified.contains("\nwhole, checked against"), "{verified}");
    let without_third: Vec<&str> = records.lines().enumerate().filter(|(i, _)| *i != 2).map(|(_, line)| line).collect();
    admin.write("topic.jsonl", &without_third.join("\n"))?;
    let broken = admin.run(&["audit", "verify", "topic.jsonl"])?;
    assert!(
        broken.code == 1 && broken.out.contains("line 3 is missing") && broken.error.contains("BH0080"),
        "{broken:?}"
    );
    Ok(())
}

#[test]
fn an_export_is_checked_without_its_server_and_by_the_documented_means_alone() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    at_work(&host)?;
    let admin = Shell::of(&host, "acme", "tenant-admin")?;
    admin.ok(&["audit", "export", "--to", "audit.jsonl"])?;
    let keys = reqwest_text(host.url())?;
    admin.write("keys.json", &keys)?;
    let kept = admin.ok(&["audit", "checkpoints"])?;
    admin.write("kept.txt", &kept)?;
    host.stop()?;
    let arguments = ["audit", "verify", "audit.jsonl", "--keys", "keys.json"];
    let verified = admin.ok(&arguments)?;
    assert!(verified.contains("whole, checked against 1 checkpoint"), "{verified}");
    assert!(admin.ok(&["audit", "verify", "audit.jsonl"])?.contains("signatures were not checked"));

    // As host/README.md says, with nothing of ours.
    let file = admin.at.join("audit.jsonl");
    let script = "import json,sys,hashlib\nprev='0'*64\nfor text in open(sys.argv[1]):\n line=json.loads(text)\n if 'seq' not in line or 'prev' not in line: continue\n given=line.pop('hash')\n form=json.dumps(line,sort_keys=True,separators=(',',':'),ensure_ascii=False)\n assert hashlib.sha256(form.encode()).hexdigest()==given and line['prev']==prev, line['seq']\n prev=given\nprint('whole')";
    let said = Command::new("python3").args(["-c", script]).arg(&file).output()?;
    assert_eq!(String::from_utf8_lossy(&said.stdout), "whole\n", "{}", String::from_utf8_lossy(&said.stderr));

    // The end is cut off with everything that the export itself says of it: only what was kept elsewhere knows.
    let text = std::fs::read_to_string(&file)?;
    let lines: Vec<&str> = text.lines().take(4).collect();
    admin.write("cut.jsonl", &lines.join("\n"))?;
    assert!(admin.ok(&["audit", "verify", "cut.jsonl", "--keys", "keys.json"])?.contains("whole"));
    let cut = admin.run(&["audit", "verify", "cut.jsonl", "--keys", "keys.json", "--checkpoints", "kept.txt"])?;
    assert!(cut.code == 1 && cut.out.contains("its end was cut off"), "{cut:?}");
    let changed = text.replacen("\"allowed\":true", "\"allowed\":false", 1);
    admin.write("changed.jsonl", &changed)?;
    let changed = admin.run(&["audit", "verify", "changed.jsonl", "--keys", "keys.json", "--output", "json"])?;
    let said: Value = serde_json::from_str(changed.out.trim())?;
    assert!(changed.code == 1 && said["whole"] == false, "{changed:?}");
    assert_eq!((&said["findings"][0]["seq"], &said["findings"][0]["wrong"]), (&1.into(), &"changed".into()));
    let bad = kept.trim_end().replace(" ey", " Ey");
    admin.write("kept.txt", &bad)?;
    let forged = admin.run(&["audit", "verify", "audit.jsonl", "--keys", "keys.json", "--checkpoints", "kept.txt"])?;
    assert!(forged.code == 1 && forged.error.contains("BH0081"), "{forged:?}");
    Ok(())
}

/// The public keys, as anybody gets them.
fn reqwest_text(url: &str) -> Result<String> {
    Ok(reqwest::blocking::get(format!("{url}/.well-known/jwks.json"))?.text()?)
}
