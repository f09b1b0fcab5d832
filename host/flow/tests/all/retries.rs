//! Records that a stage wants to see again.

use crate::support::*;

const RETRIES: &str = "limits: {retries: 2}";

fn run(guest: &str, values: &[&str]) -> (World, Worker) {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(values.iter().copied()));
    let worker = world.worker("w");
    let pipeline = simple(guest, RETRIES);
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    (world, worker)
}

#[test]
fn what_succeeds_in_the_end_is_no_dead_letter() {
    for values in [["!", "a", "b"], ["a", "!", "b"], ["a", "b", "!"]] {
        let (world, _) = run("retry_twice", &values);
        assert_eq!(world.first(ACME, "out"), values);
        assert_eq!(world.dead(), []);
    }
}

#[test]
fn what_never_succeeds_is_given_up_and_the_rest_goes_on() {
    for values in [vec!["!retry", "a"], vec!["a", "!retry", "b"], vec!["a", "!retry"], vec!["!retry"]] {
        let (world, worker) = run("exceptions", &values);
        let good: Vec<_> = values.iter().copied().filter(|value| !value.starts_with('!')).collect();
        assert_eq!(world.first(ACME, "out"), good);
        let dead = world.dead();
        assert_eq!(dead.len(), 1, "{values:?}");
        assert_eq!(dead[0].text(), "!retry");
        assert_eq!(dead[0].evidence("code"), "BH0308");
        assert_eq!(dead[0].evidence("reason"), "asked for a retry more than 2 times: !retry");
        let at = values.iter().position(|value| *value == "!retry").unwrap();
        assert_eq!(dead[0].evidence("offset"), at.to_string());
        let totals = worker.flow.report().1[0].totals;
        assert_eq!((totals.records_in, totals.dead_letters), (values.len() as u64, 1));
        let stage = *worker.flow.report().1[0].stages.values().next().unwrap();
        assert_eq!((stage.records_in, stage.records_out, stage.faults), (values.len() as u64, good.len() as u64, 1));
        assert_eq!(stage.fuel, totals.fuel, "of every try");
    }
}

#[test]
fn several_in_one_batch_each_have_their_turn() {
    let values = ["!retry 1", "a", "!dead 1", "!retry 2", "!retry 3", "b", "!dead 2", "c"];
    let (world, _) = run("exceptions", &values);
    assert_eq!(world.first(ACME, "out"), ["a", "b", "c"]);
    let dead: Vec<_> = world.dead().iter().map(Record::text).collect();
    assert_eq!(dead, ["!retry 1", "!dead 1", "!retry 2", "!retry 3", "!dead 2"]);
}

/// The second stage asks; what the first wrote for that record must not come out twice.
#[test]
fn a_later_stage_repeats_the_whole_graph_from_that_record() {
    let world = World::with_topics(1);
    world.topic(ACME, "side", 1, None);
    world.append(ACME, "in", &texts(["a", "b", "!", "c", "d"]));
    let worker = world.worker("w");
    let chain = pipeline(
        ACME,
        "
apiVersion: bulkhead/v1
kind: Pipeline
name: chain
inputs: [{topic: in}]
stages:
  - {name: first, module: guests, config: fan_out, outputs: {next: {stage: second}, side: {topic: side}}}
  - {name: second, module: guests, config: retry_twice, outputs: {out: {topic: out}}}
deadLetter: {topic: dead}
",
    );
    worker.run(&chain);
    world.settled(&worker, &chain);
    assert_eq!(world.first(ACME, "out"), ["a", "b", "!", "c", "d"]);
    assert_eq!(world.first(ACME, "side"), ["a", "b", "!", "c", "d"]);
    assert_eq!(world.dead(), []);
}

/// What lies below the record is committed while it waits, and it is itself the next to be read.
#[test]
fn a_record_that_waits_is_not_lost_with_its_worker() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["a", "!retry", "b"]));
    let worker = world.worker("w");
    let pipeline = simple("exceptions", "limits: {retries: 20}");
    worker.run(&pipeline);
    until("what lies below is committed", || world.lag(&pipeline) == 2);
    assert_eq!(world.first(ACME, "out"), ["a"]);
    worker.stop(&pipeline);
    assert_eq!(world.lag(&pipeline), 2);
    let next = simple("passthrough", "");
    worker.run(&next);
    world.settled(&worker, &next);
    assert_eq!(world.first(ACME, "out"), ["a", "!retry", "b"]);
}
