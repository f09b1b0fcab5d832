//! Manifests with mistakes: each is told with its code, its place and what to do, all at once, and nothing is applied.

use crate::shared::{Guests, host, manifest, refused};
use anyhow::Result;
use bulkhead_testbed::Tenant;
use serde_json::{Value, json};

/// A manifest that would be applied.
fn good() -> Value {
    json!({
        "apiVersion": "bulkhead/v1", "kind": "Pipeline", "name": "p",
        "inputs": [{"topic": "p-in"}],
        "stages": [
            {"name": "one", "module": "guests:v1", "config": "passthrough", "outputs": {"next": {"stage": "two"}}},
            {"name": "two", "module": "guests:v1", "config": "passthrough", "outputs": {"out": {"topic": "p-out"}}},
        ],
        "deadLetter": {"topic": "p-dead"},
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut manifest = good();
    match manifest.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            manifest.pointer_mut(parent).expect("a parent")[name] = value;
        }
    }
    manifest
}

fn ready(name: &str) -> Result<(std::sync::Arc<bulkhead_testbed::Host>, Tenant)> {
    let host = host()?;
    let tenant = host.tenant(name)?;
    tenant.upload_guests()?;
    tenant.topics("p")?;
    Ok((host, tenant))
}

#[test]
fn each_mistake_is_told_with_its_code_and_its_place() -> Result<()> {
    let (_host, tenant) = ready("mistaken")?;
    let cases = [
        (with("/colour", json!("red")), "BH0203", "colour"),
        (with("/stages/0/limits", json!({"fuelPerRecrod": 5})), "BH0203", "fuelPerRecrod"),
        (with("/stages/1/outputs", json!({"back": {"stage": "one"}})), "BH0204", "`one`, `two`"),
        (with("/stages/0/module", json!("nothing:v1")), "BH0205", "upload it first"),
        (with("/stages/0/outputs/next/stage", json!("three")), "BH0206", "`three`"),
        (with("/inputs/0/to", json!(["zero"])), "BH0206", "`zero`"),
        (with("/inputs/0/topic", json!("not-there")), "BH0207", "make it first"),
        (with("/stages/1/outputs/out/topic", json!("gone")), "BH0207", "stages[two].outputs.out.topic"),
        (with("/deadLetter/topic", json!("nor-this")), "BH0207", "deadLetter.topic"),
        (with("/stages/0/limits", json!({"memoryBytes": 1_u64 << 40})), "BH0208", "stages[one].limits.memoryBytes"),
        (with("/batch", json!({"records": 5_001})), "BH0208", "batch.records"),
        (with("/name", json!("q")), "BH0209", "the path says `p`"),
        (with("/name", json!("Not A Name")), "BH0209", "name"),
        (with("/apiVersion", json!("bulkhead/v9")), "BH0209", "bulkhead/v1"),
        (with("/stages/1/name", json!("one")), "BH0209", "stands twice"),
    ];
    for (manifest, code, words) in cases {
        let problem = refused(tenant.apply("p", manifest.to_string()), 422, "BH0201", words);
        assert!(problem.error_codes().contains(&code), "{problem} lacks {code}");
    }
    for (text, words) in [("{", ""), ("name: [", ""), ("\u{0}", ""), ("just text", ""), ("", "")] {
        let problem = refused(tenant.apply("p", text), 422, "BH0201", words);
        assert_eq!(problem.error_codes(), ["BH0202"], "{problem}");
    }
    refused(tenant.apply("p", "#".repeat(300 << 10)), 413, "BH0008", "send less");
    refused(tenant.pipeline("p"), 404, "BH0005", "`p`");
    Ok(())
}

#[test]
fn several_mistakes_are_told_together() -> Result<()> {
    let (_host, tenant) = ready("clumsy")?;
    let mut manifest = with("/stages/0/module", json!("nothing:v1"));
    manifest["inputs"][0]["topic"] = json!("not-there");
    manifest["deadLetter"]["topic"] = json!("nor-this");
    manifest["name"] = json!("q");
    let problem = refused(tenant.apply("p", manifest.to_string()), 422, "BH0201", "4 things");
    let mut codes = problem.error_codes();
    codes.sort_unstable();
    assert_eq!(codes, ["BH0205", "BH0207", "BH0207", "BH0209"], "{problem}");
    Ok(())
}

#[test]
fn yaml_and_json_are_the_same_pipeline() -> Result<()> {
    let (_host, tenant) = ready("bilingual")?;
    let yaml = manifest("p", "passthrough", "fuelPerRecord: 1000000");
    let first = tenant.apply("p", yaml)?;
    let json = json!({
        "apiVersion": "bulkhead/v1", "kind": "Pipeline", "name": "p", "inputs": [{"topic": "p-in"}],
        "stages": [{"name": "guest", "module": "guests:v1", "config": "passthrough",
            "limits": {"fuelPerRecord": 1_000_000}, "outputs": {"out": {"topic": "p-out"}}}],
        "deadLetter": {"topic": "p-dead"},
    });
    let second = tenant.apply("p", json.to_string())?;
    assert_eq!(first["revision"], second["revision"], "the same pipeline made another revision");
    let third = tenant.apply("p", good().to_string())?;
    assert!(third["revision"].as_u64() > second["revision"].as_u64(), "{third}");
    tenant.put("p", &["through both"])?;
    assert_eq!(tenant.out("p", 1)?, ["through both"]);
    Ok(())
}

#[test]
fn another_tenants_module_and_topic_are_not_there() -> Result<()> {
    let (host, _owner) = ready("owner")?;
    let other = host.tenant("borrower")?;
    let problem = refused(other.apply("p", good().to_string()), 422, "BH0201", "5 things");
    let mut codes = problem.error_codes();
    codes.dedup();
    codes.sort_unstable();
    assert_eq!(codes, ["BH0205", "BH0207"], "{problem}");
    assert!(!problem.to_string().contains("owner"), "{problem}");
    Ok(())
}
