//! What a manifest becomes, and everything that is refused, with its code.

use super::*;
use crate::bucket::Access;

const GOOD: &str = "
apiVersion: bulkhead/v1
kind: Pipeline
name: flights
inputs:
  - topic: flights
    start: {time: 2013-01-01T00:00:00Z}
stages:
  - name: last
    module: sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
    outputs: {out: {topic: enriched}}
  - name: first
    module: enrich:v1
    config: {threshold: 15}
    outputs: {late: {stage: last}, other: {topic: rest}}
deadLetter: {topic: dead}
";

fn codes(text: &str) -> Vec<Code> {
    parse(text).unwrap_err().into_iter().map(|error| error.code).collect()
}

#[test]
fn stages_are_put_in_running_order_and_know_what_feeds_them() {
    let text = GOOD.replace("start:", "to: [first]\n    start:");
    let spec = parse(&text).unwrap();
    assert_eq!(spec.stages.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["first", "last"]);
    assert_eq!(spec.stages[0].inputs, [Feed::Input(0)]);
    assert_eq!(spec.stages[1].inputs, [Feed::Output { stage: 0, output: 0 }]);
    assert_eq!(spec.inputs[0].start, Start::TimeMs(1_356_998_400_000));
    assert_eq!(spec.stages[0].settings, r#"{"threshold":15}"#);
    assert_eq!(spec.topics().len(), 4);
}

#[test]
fn dead_letters_are_sealed_unless_the_manifest_says_otherwise_or_is_from_before_it_could() {
    let good = GOOD.replace("start:", "to: [first]\n    start:");
    let spec = parse(&good).unwrap();
    assert!(spec.dead_letter_sealed && spec.seals());
    let plain = parse(&good.replace("{topic: dead}", "{topic: dead, sealed: false}")).unwrap();
    assert!(!plain.dead_letter_sealed && !plain.seals());
    let stored = plain.resolve(|_| Some(ModuleDigest::of(b"m"))).unwrap();
    let text = serde_json::to_string(&stored).unwrap();
    assert!(!text.contains("sealed"), "{text}");
    assert_eq!(
        serde_json::from_str::<PipelineSpec>(&text).unwrap(),
        stored,
        "as one that was kept by an earlier version"
    );
}

#[test]
fn json_is_read_too() {
    let text = r#"{"apiVersion":"bulkhead/v1","kind":"Pipeline","name":"p","inputs":[{"topic":"a","start":{"offset":7}}],
        "stages":[{"name":"s","module":"m","outputs":{"out":{"topic":"b"}}}],"deadLetter":{"topic":"d"}}"#;
    let spec = parse(text).unwrap();
    assert_eq!(spec.inputs[0].start, Start::Offset(7));
    assert_eq!(spec.stages[0].module, ModuleRef::Tag("m".parse().unwrap(), "latest".parse().unwrap()));
}

#[test]
fn every_mistake_has_its_code() {
    let cases: [(&str, &str, Code); 19] = [
        ("kind: Pipeline", "kind: Pipeline\ncolour: red", Code::UnknownField),
        ("module: enrich:v1", "module: enrich:v1\n    modul: x", Code::UnknownField),
        ("kind: Pipeline", "kind: [", Code::ManifestSyntax),
        ("name: flights", "name: Flights", Code::FieldInvalid),
        ("{topic: enriched}", "{stage: first}", Code::Cycle),
        ("{stage: last}", "{stage: lst}", Code::OutputUndeclared),
        ("config: {threshold: 15}", "limits: {memoryBytes: 999999999999}", Code::LimitExceeded),
        ("config: {threshold: 15}", "limits: {fuelPerRecord: 0}", Code::LimitExceeded),
        ("config: {threshold: 15}", "state: {maxBytes: 99999999999999}", Code::LimitExceeded),
        ("config: {threshold: 15}", "state: {bytes: 5}", Code::UnknownField),
        ("config: {threshold: 15}", "scratch: {maxBytes: 65535}", Code::LimitExceeded),
        ("config: {threshold: 15}", "scratch: {maxBytes: 268435457}", Code::LimitExceeded),
        ("config: {threshold: 15}", "scratch: {bytes: 5}", Code::UnknownField),
        ("config: {threshold: 15}", "tickMs: 99", Code::LimitExceeded),
        ("config: {threshold: 15}", "tickMs: 3600001", Code::LimitExceeded),
        ("{topic: enriched}", "{topic: a/b}", Code::FieldInvalid),
        ("{topic: rest}", "{topic: a, stage: last}", Code::FieldInvalid),
        ("{time: 2013-01-01T00:00:00Z}", "{time: tomorrow}", Code::FieldInvalid),
        ("name: first", "name: last", Code::FieldInvalid),
    ];
    for (from, to, code) in cases {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD, "{from} is not in the manifest");
        let found = codes(&text);
        assert!(found.contains(&code), "{to}: {found:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text =
        GOOD.replace("name: flights", "name: F").replace("a: dead", "a: _").replace("{topic: rest}", "{topic: ''}");
    assert!(codes(&text).len() >= 2);
}

#[test]
fn an_unfed_stage_is_refused() {
    let text = GOOD.replace("{stage: last}", "{topic: elsewhere}");
    assert!(!codes(&text).is_empty());
}

#[test]
fn resolving_names_every_missing_module() {
    let spec = parse(&GOOD.replace("start:", "to: [first]\n    start:")).unwrap();
    let errors = spec.clone().resolve(|_| None).unwrap_err();
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().all(|e| e.code == Code::ModuleMissing));
    let digest = ModuleDigest::of(b"x");
    assert_eq!(spec.resolve(|_| Some(digest)).unwrap().stages[0].module, digest);
}

#[test]
fn a_resolved_spec_survives_json() {
    let spec = parse(&GOOD.replace("start:", "to: [first]\n    start:"))
        .unwrap()
        .resolve(|_| Some(ModuleDigest::of(b"x")))
        .unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<PipelineSpec>(&json).unwrap(), spec);
}

#[test]
fn the_manifest_that_the_page_shows_is_accepted() {
    let page = Code::ManifestSyntax.page().unwrap();
    let (_, from) = page.split_once("```yaml\n").unwrap();
    let (manifest, _) = from.split_once("```").unwrap();
    assert_eq!(parse(manifest).unwrap().name.as_str(), "flights");
}

#[test]
fn state_is_granted_with_a_limit_and_only_where_it_is_named() {
    let good = GOOD.replace("start:", "to: [first]\n    start:");
    let spec = parse(&good.replace("config: {threshold: 15}", "state: {}\n    tickMs: 250")).unwrap();
    let first = spec.stages.iter().find(|stage| stage.name.as_str() == "first").unwrap();
    assert_eq!((first.state, first.tick_ms), (Some(StateSpec { max_bytes: limits::STATE_BYTES }), Some(250)));
    let last = spec.stages.iter().find(|stage| stage.name.as_str() == "last").unwrap();
    assert_eq!((last.state, last.tick_ms), (None, None));
    let asked = parse(&good.replace("config: {threshold: 15}", "state: {maxBytes: 4096}")).unwrap();
    assert!(asked.stages.iter().any(|stage| stage.state == Some(StateSpec { max_bytes: 4096 })));
}

#[test]
fn scratch_files_are_granted_with_a_limit_and_only_where_they_are_named() {
    let good = GOOD.replace("start:", "to: [first]\n    start:");
    let granted = |field: &str| parse(&good.replace("config: {threshold: 15}", field)).unwrap().stages[0].scratch;
    assert_eq!(granted("config: {threshold: 15}"), None);
    assert_eq!(granted("scratch: {}"), Some(ScratchSpec { max_bytes: limits::SCRATCH_BYTES }));
    assert_eq!(granted("scratch: {maxBytes: 65536}"), Some(ScratchSpec { max_bytes: 65_536 }));
    let spec = parse(&good.replace("config: {threshold: 15}", "scratch: {maxBytes: 268435456}")).unwrap();
    let resolved = spec.resolve(|_| Some(ModuleDigest::of(b"x"))).unwrap();
    assert_eq!(resolved.stages[0].scratch, Some(ScratchSpec { max_bytes: 256 << 20 }));
    let json = serde_json::to_string(&resolved).unwrap();
    assert_eq!(serde_json::from_str::<PipelineSpec>(&json).unwrap(), resolved);
}

/// A manifest of before must be the same text in the database, or applying it again would be a new revision.
#[test]
fn a_stage_without_new_fields_is_written_as_before() {
    let good = GOOD.replace("start:", "to: [first]\n    start:");
    let spec = parse(&good).unwrap().resolve(|_| Some(ModuleDigest::of(b"m"))).unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    let absent = ["state", "tick", "bucket", "scratch", "secrets", "config_from"];
    assert!(absent.iter().all(|field| !json.contains(field)), "{json}");
}

#[test]
fn a_stage_is_granted_parts_of_buckets_by_name() {
    let good = GOOD.replace("start:", "to: [first]\n    start:");
    let granted = |grants: &str| good.replace("config: {threshold: 15}", &format!("buckets: {grants}"));
    let two = "{past: {bucket: flights, prefix: 2013/, access: read}, all: {bucket: flights, access: readWrite}}";
    let spec = parse(&granted(two)).unwrap();
    let [all, past] = &spec.stages[0].buckets[..] else { panic!("{spec:?}") };
    assert_eq!((all.name.as_str(), all.prefix.as_str(), all.access), ("all", "", Access::ReadWrite));
    assert_eq!((past.name.as_str(), past.prefix.as_str(), past.access), ("past", "2013/", Access::Read));
    assert_eq!(spec.stages[1].buckets, []);
    let resolved = spec.resolve(|_| Some(ModuleDigest::of(b"x"))).unwrap();
    let json = serde_json::to_string(&resolved).unwrap();
    assert_eq!(serde_json::from_str::<PipelineSpec>(&json).unwrap(), resolved);

    let many: Vec<_> = (0..=limits::BUCKET_GRANTS_MAX).map(|n| format!("g{n}: {{bucket: b, access: read}}")).collect();
    let (many, long) = (format!("{{{}}}", many.join(", ")), format!("{}/", "a".repeat(2_000)));
    let one = |bucket: &str, prefix: &str, access: &str| {
        format!("{{past: {{bucket: {bucket}, prefix: \"{prefix}\", access: {access}}}}}")
    };
    for (grants, code) in [
        (many, Code::LimitExceeded),
        (one("../other", "", "read"), Code::FieldInvalid),
        (one("other/flights", "", "read"), Code::FieldInvalid),
        (one("flights", "../../other/flights/", "read"), Code::KeyRefused),
        (one("flights", "/", "read"), Code::KeyRefused),
        (one("flights", "2013", "read"), Code::KeyRefused),
        (one("flights", &long, "read"), Code::KeyRefused),
        (one("flights", "a\\u0000b/", "read"), Code::KeyRefused),
        (one("flights", "", "all"), Code::ManifestSyntax),
        ("{past: {bucket: flights}}".to_owned(), Code::ManifestSyntax),
        ("{past: {bucket: flights, access: read, key: a}}".to_owned(), Code::UnknownField),
        ("{\"../past\": {bucket: flights, access: read}}".to_owned(), Code::FieldInvalid),
    ] {
        assert!(codes(&granted(&grants)).contains(&code), "{grants}: {:?}", codes(&granted(&grants)));
    }
}

#[test]
fn a_stage_is_granted_secrets_under_its_own_names_or_the_projects() {
    let good = GOOD.replace("start:", "to: [first]\n    start:");
    let granted = |secrets: &str| good.replace("config: {threshold: 15}", &format!("secrets: {secrets}"));
    let names = |text: &str| -> Vec<(String, String)> {
        let spec = parse(&granted(text)).unwrap().resolve(|_| Some(ModuleDigest::of(b"x"))).unwrap();
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<PipelineSpec>(&json).unwrap(), spec);
        spec.stages[0].secrets.iter().map(|grant| (grant.name.to_string(), grant.entry.to_string())).collect()
    };
    let pair = |name: &str, entry: &str| (name.to_owned(), entry.to_owned());
    assert_eq!(names("[db-password, api-key]"), [pair("api-key", "api-key"), pair("db-password", "db-password")]);
    assert_eq!(names("{password: db-password}"), [pair("password", "db-password")]);
    let spec = parse(&granted("{a: db-password, b: db-password, c: other}")).unwrap();
    assert_eq!(spec.secrets().len(), 2);
    let missing = spec.missing_secrets(|name| name.as_str() == "db-password");
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!((missing[0].code, missing[0].field.as_str()), (Code::SecretMissing, "stages[first].secrets.c"));
    assert!(missing[0].detail.contains("`other`"), "{missing:?}");

    let many: Vec<_> = (0..=limits::STAGE_ENTRIES_MAX).map(|n| format!("s{n}")).collect();
    for (secrets, code) in [
        (format!("[{}]", many.join(", ")), Code::LimitExceeded),
        ("[twice, twice]".to_owned(), Code::FieldInvalid),
        ("[../other]".to_owned(), Code::FieldInvalid),
        ("{a: other/secret}".to_owned(), Code::FieldInvalid),
        ("{a: {value: x}}".to_owned(), Code::ManifestSyntax),
    ] {
        assert!(codes(&granted(&secrets)).contains(&code), "{secrets}: {:?}", codes(&granted(&secrets)));
    }
}

#[test]
fn config_entries_lie_under_the_stages_own_config() {
    let good = GOOD.replace("start:", "to: [first]\n    start:");
    let merged = |config: &str| {
        let mut spec = parse(&good.replace("config: {threshold: 15}", config)).unwrap();
        let errors = spec.merge_config(|name| match name.as_str() {
            "threshold" => Some(20.into()),
            "shop-currency" => Some("EUR".into()),
            "large" => Some("x".repeat(limits::SETTINGS_BYTES_MAX).into()),
            _ => None,
        });
        assert!(spec.config_entries().is_empty());
        (spec.stages[0].settings.clone(), errors.into_iter().map(|error| error.code).collect::<Vec<_>>())
    };
    let both = "config: {threshold: 15}\n    configFrom: {currency: shop-currency, threshold: threshold}";
    assert_eq!(merged(both), (r#"{"threshold":15,"currency":"EUR"}"#.to_owned(), vec![]));
    assert_eq!(merged("configFrom: [threshold]"), (r#"{"threshold":20}"#.to_owned(), vec![]));
    assert_eq!(merged("configFrom: [nowhere, neither]").1, [Code::ConfigMissing, Code::ConfigMissing]);
    assert_eq!(merged("config: 5\n    configFrom: [threshold]").1, [Code::ConfigUnmergeable]);
    assert_eq!(merged("configFrom: [large]").1, [Code::ConfigUnmergeable]);
}

const BUCKET: &str = r#"{bucket: flights, prefix: "by-hour/", format: parquet, roll: {records: 5, by: carrier},
      columns: [{name: carrier, type: string}, {name: at, type: timestamp, nullable: true}, {name: delay, type: double}]}"#;

#[test]
fn a_bucket_output_is_read_with_its_defaults() {
    let text = GOOD.replace("start:", "to: [first]\n    start:").replace("{topic: enriched}", BUCKET);
    let spec = parse(&text).unwrap();
    let Target::Bucket(output) = &spec.stages[1].outputs[0].target else { panic!("{spec:?}") };
    assert_eq!((output.roll.records, output.roll.every_ms, output.by), (5, 60_000, Some(0)));
    assert!(output.columns[1].nullable && !output.columns[2].nullable);
    assert_eq!(spec.topics().len(), 3);
    let resolved = spec.resolve(|_| Some(ModuleDigest::of(b"x"))).unwrap();
    let json = serde_json::to_string(&resolved).unwrap();
    assert_eq!(serde_json::from_str::<PipelineSpec>(&json).unwrap(), resolved);
}

#[test]
fn every_mistake_about_buckets_has_its_code() {
    let cases: [(&str, &str, Code); 12] = [
        ("bucket: flights", "bucket: Flights", Code::FieldInvalid),
        ("bucket: flights", "bucket: flights, topic: x", Code::FieldInvalid),
        ("bucket: flights", "topic: x", Code::FieldInvalid),
        ("by-hour/", "../", Code::KeyRefused),
        ("by-hour/", "by-hour", Code::KeyRefused),
        ("by-hour/", "/by-hour/", Code::KeyRefused),
        ("format: parquet", "format: xml", Code::ManifestSyntax),
        ("format: parquet, ", "", Code::FieldInvalid),
        ("records: 5", "records: 5000000", Code::LimitExceeded),
        ("records: 5", "everyMs: 5", Code::LimitExceeded),
        ("by: carrier", "by: delay", Code::FieldInvalid),
        ("name: delay", "name: carrier", Code::FieldInvalid),
    ];
    for (from, to, code) in cases {
        let bucket = BUCKET.replace(from, to);
        assert_ne!(bucket, BUCKET, "{from} is not in the output");
        let found = codes(&GOOD.replace("{topic: enriched}", &bucket));
        assert!(found.contains(&code), "{to}: {found:?}");
    }
}
