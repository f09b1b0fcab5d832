//! The example pipelines as their manifests say, stage by stage over the whole sample: natively, and in the real sandbox.
//!
//! What comes out is compared with `expected`, and so with `expected.py`, record by record.

use bulkhead_core::manifest::{self, Feed, ModuleRef, PipelineSpec, StageSpec, Target};
use bulkhead_example_data::{Record, Source, expected, flights, weather};
use bulkhead_harness::{Case, Input, Report, Sandbox};
use flights_classify::classify;
use flights_enrich::enrich;
use std::path::Path;
use weather_alerts::watch;

const RECORDS_OF_A_BATCH: usize = 1_000;

fn pipeline(example: &str) -> PipelineSpec<ModuleRef> {
    let path = examples().join(example).join("pipeline.yaml");
    let text = std::fs::read_to_string(path).expect("the example has a manifest");
    manifest::parse(&text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn examples() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lives in examples")
}

fn sandbox(stage: &str) -> Sandbox {
    Sandbox::of_crate(examples().join(stage)).unwrap_or_else(|error| panic!("{stage}: {error:#}"))
}

fn case(stage: &StageSpec<ModuleRef>, records: Vec<Input>) -> Case {
    Case::new()
        .outputs(stage.outputs.iter().map(|output| output.name.as_str()))
        .settings(&stage.settings)
        .records(records)
        .batch_records(RECORDS_OF_A_BATCH)
}

fn inputs(records: &[Record]) -> Vec<Input> {
    records.iter().map(|record| Input::new(record.value.as_str()).key(record.key.as_str())).collect()
}

/// The topic that an output leads to, and what was sent there, with the place of the record that it was made from.
fn sent(stage: &StageSpec<ModuleRef>, report: &Report, topic: &str) -> Vec<(usize, String, String, Vec<String>)> {
    let output =
        stage.outputs.iter().find(|output| matches!(&output.target, Target::Topic(to) if to.as_str() == topic));
    let output = output.unwrap_or_else(|| panic!("no output leads to {topic}"));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    report
        .to(output.name.as_str())
        .into_iter()
        .map(|emitted| {
            let headers = emitted.headers.iter().flat_map(|(name, value)| [Some(name), value.as_ref()]);
            let headers = headers.flatten().map(|bytes| text(bytes)).collect();
            (emitted.record, text(emitted.key.as_deref().unwrap_or_default()), emitted.text().to_owned(), headers)
        })
        .collect()
}

fn wanted(
    records: &[Record],
    expected: fn(&Record) -> anyhow::Result<expected::Expected>,
    topic: &str,
) -> Vec<(usize, String, String, Vec<String>)> {
    let mut wanted = Vec::new();
    for (i, record) in records.iter().enumerate() {
        for output in expected(record).expect("a record of this data set").outputs {
            if output.topic == topic {
                let headers = output.headers.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]);
                wanted.push((i, output.key, output.value, headers.collect()));
            }
        }
    }
    wanted
}

fn assert_same<T: PartialEq + std::fmt::Debug>(sent: &[T], wanted: &[T], topic: &str) {
    for (i, (sent, wanted)) in sent.iter().zip(wanted).enumerate() {
        assert_eq!(sent, wanted, "record {i} of {topic}");
    }
    assert_eq!(sent.len(), wanted.len(), "records of {topic}");
}

#[test]
fn flights_are_enriched_and_classified() {
    let spec = pipeline("flights");
    let records: Vec<_> = flights(&Source::Sample).unwrap().map(Result::unwrap).collect();
    let [first, second] = spec.stages.as_slice() else { panic!("two stages") };
    assert_eq!((first.inputs.as_slice(), second.inputs.len()), ([Feed::Input(0)].as_slice(), 1));

    let enriched = sandbox("flights/enrich").assert_agrees::<enrich>(&case(first, inputs(&records))).report;
    assert_eq!((enriched.outputs.len(), enriched.rejected.len()), (records.len(), 0));
    let between = enriched.outputs.into_iter().map(|output| Input {
        key: output.key,
        value: output.value,
        headers: output.headers,
        ..Input::tombstone()
    });
    let classified = sandbox("flights/classify").assert_agrees::<classify>(&case(second, between.collect())).report;
    assert_eq!(classified.rejected, []);
    for topic in ["flights-enriched", "flights-late"] {
        assert_same(&sent(second, &classified, topic), &wanted(&records, expected::flights, topic), topic);
    }
}

#[test]
fn readings_become_alerts() {
    let spec = pipeline("weather");
    let records: Vec<_> = weather(&Source::Sample).unwrap().map(Result::unwrap).collect();
    let [stage] = spec.stages.as_slice() else { panic!("one stage") };
    let report = sandbox("weather/stage").assert_agrees::<watch>(&case(stage, inputs(&records))).report;
    assert_same(
        &sent(stage, &report, "weather-alerts"),
        &wanted(&records, expected::weather, "weather-alerts"),
        "alerts",
    );

    let dead: Vec<_> = report.rejected.iter().map(|rejected| rejected.record).collect();
    let broken: Vec<_> = (0..records.len()).filter(|i| expected::weather(&records[*i]).unwrap().dead_letter).collect();
    assert_eq!((dead.len(), dead), (1, broken));
}

#[test]
fn python_still_computes_what_is_in_the_folder() {
    for example in ["flights", "weather", "delays"] {
        let script = examples().join(example).join("expected.py");
        let output = std::process::Command::new("python3").arg(script).arg("--check").output().expect("python3 runs");
        assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
