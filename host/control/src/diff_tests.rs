//! What a person reads of two pipelines.

use super::*;
use bulkhead_core::manifest::parse;
use bulkhead_core::name::ModuleDigest;

const BEFORE: &str = "
apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{topic: orders.v1}]
stages:
  - name: first
    module: m
    config: {threshold: 5, by_name: true}
    buckets: {old: {bucket: b, access: read}}
    outputs: {next: {stage: last}}
  - name: last
    module: m
    outputs: {out: {topic: out}}
deadLetter: {topic: dead}
";

fn spec(text: &str, module: &str) -> PipelineSpec {
    parse(text).unwrap().resolve(|_| Some(ModuleDigest::of(module.as_bytes()))).unwrap()
}

fn paths(from: &PipelineSpec, to: &PipelineSpec) -> Vec<String> {
    changes(Some(from), to).unwrap().into_iter().map(|change| change.path).collect()
}

#[test]
fn a_change_is_named_as_the_manifest_names_it() {
    let cases = [
        ("threshold: 5", "threshold: 6", "stages.first.config.threshold"),
        ("by_name: true", "by_name: false", "stages.first.config.by_name"),
        ("{topic: out}", "{topic: other}", "stages.last.outputs.out.topic"),
        ("[{topic: orders.v1}]", "[{topic: orders.v1, start: latest}]", "inputs[\"orders.v1\"].start"),
        ("deadLetter", "batch: {lingerMs: 9}\ndeadLetter", "batch.lingerMs"),
        ("    config:", "    limits: {fuelPerRecord: 7}\n    config:", "stages.first.limits.fuelPerRecord"),
        ("access: read", "access: write", "stages.first.buckets.old.access"),
        ("[{topic: orders.v1}]", "[{topic: orders.v1, to: [first, last]}]", "inputs[\"orders.v1\"].to"),
    ];
    for (from, to, path) in cases {
        let after = BEFORE.replacen(from, to, 1);
        assert_ne!(after, BEFORE, "{from}");
        assert_eq!(paths(&spec(BEFORE, "1"), &spec(&after, "1")), [path]);
    }
}

#[test]
fn a_tag_that_moved_is_a_change_and_a_comment_is_none() {
    let commented = format!("# a remark\n{BEFORE}");
    assert_eq!(paths(&spec(BEFORE, "1"), &spec(&commented, "1")), [""; 0]);
    assert_eq!(paths(&spec(BEFORE, "1"), &spec(BEFORE, "2")), ["stages.first.module", "stages.last.module"]);
}

#[test]
fn a_stage_that_comes_is_one_change_and_shifts_no_other() {
    let after = BEFORE
        .replace("{stage: last}", "{stage: mid}")
        .replace("  - name: last", "  - name: mid\n    module: m\n    outputs: {next: {stage: last}}\n  - name: last");
    let found = changes(Some(&spec(BEFORE, "1")), &spec(&after, "1")).unwrap();
    let paths: Vec<_> = found.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["stages.first.outputs.next.stage", "stages.mid"]);
    assert_eq!((&found[0].from, &found[0].to), (&Value::from("last"), &Value::from("mid")));
    assert_eq!((&found[1].from, &found[1].to["outputs"]["next"]["stage"]), (&Value::Null, &Value::from("last")));
}

#[test]
fn where_nothing_was_all_is_new() {
    let found = changes(None, &spec(BEFORE, "1")).unwrap();
    assert!(found.iter().all(|change| change.from.is_null()));
    assert!(found.iter().any(|change| change.path == "stages" && change.to["first"]["config"]["threshold"] == 5));
}
