//! What goes through a pipeline comes out as it went in, in order.

use crate::support::*;

#[test]
fn everything_of_a_record_survives() {
    let world = World::with_topics(3);
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let records = vec![
        Record { timestamp: 5, ..Record::new(0, "plain") },
        Record { value: None, headers: vec![header("a", None), header("a", Some(b""))], ..Record::new(1, "") },
        Record { headers: vec![header("b", Some(&[0, 255]))], ..Record::new(1, "") },
        Record { timestamp: 1_700_000_000_000, ..Record::new(2, vec![0, 159, 146, 150]) },
    ];
    world.append(ACME, "in", &records);
    let keyed =
        [&b"k"[..], b"", b"longer key"].map(|key| Record { key: Some(key.to_vec()), ..Record::new(0, "keyed") });
    world.append(ACME, "in", &keyed);
    let worker = world.worker("w");
    let pipeline = simple("passthrough", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    let (before, after) = (world.read(ACME, "in"), world.read(ACME, "out"));
    assert_eq!(before.concat().len(), 7);
    assert_eq!(after, before);
    assert_eq!(world.dead(), []);
}

#[test]
fn order_is_kept_in_every_partition() {
    let world = World::with_topics(4);
    world.append(ACME, "in", &numbers(4, 0..3_000));
    let worker = world.worker("w");
    let mut pipeline = simple("filter", "");
    pipeline.spec.batch.records = 97;
    worker.run(&pipeline);
    world.append(ACME, "in", &numbers(4, 3_000..4_000));
    world.settled(&worker, &pipeline);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
    assert_eq!(worker.report(&pipeline).totals.records_out, 16_000);
}

#[test]
fn outputs_go_to_the_topics_that_the_manifest_names() {
    let world = World::with_topics(2);
    world.topic(ACME, "other", 2, None);
    world.append(ACME, "in", &numbers(2, 0..50));
    let worker = world.worker("w");
    let mut pipeline = simple("fan_out", "");
    let extra = pipeline_with_outputs("{left: {topic: out}, right: {topic: other}}");
    pipeline.spec.stages = extra.spec.stages;
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    for (topic, port) in [("out", "left"), ("other", "right")] {
        let records = world.read(ACME, topic).concat();
        assert_eq!(records.len(), 100, "{topic}");
        for record in records {
            assert_eq!(record.key.as_deref(), Some(port.as_bytes()));
            assert_eq!(record.headers, [("output".to_owned(), Some(port.as_bytes().to_vec()))]);
            assert_eq!(record.timestamp, 1_001);
        }
    }
}

fn pipeline_with_outputs(outputs: &str) -> bulkhead_core::assignment::PipelineAssignment {
    pipeline(
        ACME,
        &format!(
            "
apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{{topic: in}}]
stages: [{{name: only, module: guests, config: fan_out, outputs: {outputs}}}]
deadLetter: {{topic: dead}}
"
        ),
    )
}

/// Fans out to two stages, which both feed a third; every record comes out once for each way.
#[test]
fn stages_form_a_graph() {
    let world = World::with_topics(2);
    world.topic(ACME, "side", 2, None);
    let records: Vec<_> = (0..200).map(|i| Record::new(i % 2, format!("a{i}"))).collect();
    world.append(ACME, "in", &records);
    let worker = world.worker("w");
    let graph = pipeline(
        ACME,
        "
apiVersion: bulkhead/v1
kind: Pipeline
name: graph
inputs: [{topic: in}]
stages:
  - {name: split, module: guests, config: fan_out, outputs: {one: {stage: upper}, two: {stage: same}, zero: {topic: side}}}
  - {name: upper, module: guests, config: filter, outputs: {out: {stage: join}}}
  - {name: same, module: guests, config: passthrough, outputs: {out: {stage: join}}}
  - {name: join, module: guests, config: passthrough, outputs: {out: {topic: out}}}
deadLetter: {topic: dead}
",
    );
    worker.run(&graph);
    world.settled(&worker, &graph);
    assert_eq!(world.read(ACME, "side").concat().len(), 200);
    let out = world.read(ACME, "out").concat();
    let by = |key: &str| -> Vec<String> {
        let mut texts: Vec<_> =
            out.iter().filter(|r| r.key.as_deref() == Some(key.as_bytes())).map(Record::text).collect();
        texts.sort();
        texts
    };
    let mut expected: Vec<_> = records.iter().map(Record::text).collect();
    expected.sort();
    assert_eq!(by("two"), expected);
    assert_eq!(by("one"), expected.iter().map(|text| text.to_uppercase()).collect::<Vec<_>>());
    assert_eq!(worker.report(&graph).totals.records_out, 600);
}

#[test]
fn a_pipeline_reads_several_topics() {
    let world = World::with_topics(1);
    world.topic(ACME, "second", 3, None);
    world.append(ACME, "in", &texts(["one"]));
    world.append(ACME, "second", &numbers(3, 0..4));
    let worker = world.worker("w");
    let both = pipeline(
        ACME,
        "
apiVersion: bulkhead/v1
kind: Pipeline
name: both
inputs: [{topic: in, to: [b]}, {topic: second, to: [a, b]}]
stages:
  - {name: a, module: guests, config: passthrough, outputs: {out: {topic: out}}}
  - {name: b, module: guests, config: passthrough, outputs: {out: {topic: out}}}
deadLetter: {topic: dead}
",
    );
    worker.run(&both);
    world.settled(&worker, &both);
    let mut out = world.first(ACME, "out");
    out.sort();
    let mut expected = vec!["one".to_owned()];
    expected.extend((0..4).flat_map(|i| vec![i.to_string(); 6]));
    expected.sort();
    assert_eq!(out, expected);
    let report = worker.report(&both);
    assert_eq!((report.totals.records_in, report.partitions), (13, 4));
}

#[test]
fn a_record_above_the_batch_limit_comes_alone() {
    let world = World::new();
    for name in ["in", "out", "dead"] {
        world.topic(ACME, name, 1, Some(9 << 20));
    }
    let huge = |letter: u8| Record::new(0, vec![letter; 8 << 20]);
    world.append(ACME, "in", &[Record::new(0, "before"), huge(b'a'), huge(b'b'), Record::new(0, "after")]);
    let worker = world.worker("w");
    let pipeline = simple("passthrough", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    let sizes = |name: &str| world.first(ACME, name).iter().map(String::len).collect::<Vec<_>>();
    assert_eq!(sizes("out"), sizes("in"));
    assert!(world.read(ACME, "out") == world.read(ACME, "in"), "the bytes differ");
}

/// One line for each batch, since the guest writes each batch's values without a newline.
#[test]
fn batches_end_at_a_count_and_at_a_size() {
    for (records, bytes, expected) in [(3, 1 << 20, vec![3, 3, 3, 1]), (1_000, 8, vec![2, 2, 2, 2, 2])] {
        let world = World::with_topics(1);
        world.append(ACME, "in", &texts(["aaaa"; 10]));
        let worker = world.worker("w");
        let mut pipeline = simple("stdio", "");
        (pipeline.spec.batch.records, pipeline.spec.batch.bytes) = (records, bytes);
        worker.run(&pipeline);
        world.settled(&worker, &pipeline);
        let sizes: Vec<_> = worker.lines.text().lines().map(|line| line.len() / 4).collect();
        assert_eq!(sizes, expected, "{records} records or {bytes} bytes");
    }
}

#[test]
fn a_batch_waits_for_more_as_long_as_the_manifest_says() {
    let world = World::with_topics(1);
    let worker = world.worker("w");
    let mut pipeline = simple("stdio", "");
    // Only the count can end a batch here within the test's patience twice over.
    (pipeline.spec.batch.records, pipeline.spec.batch.linger_ms) = (4, 10_000);
    worker.run(&pipeline);
    until("it runs", || worker.report(&pipeline).partitions == 1);
    for _ in 0..4 {
        world.append(ACME, "in", &texts(["aaaa"]));
    }
    world.settled(&worker, &pipeline);
    assert_eq!(worker.lines.text(), "aaaa".repeat(4));
}
