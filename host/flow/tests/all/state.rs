//! The state of stages: what commits is what the records that passed made of it, once, whatever fails in between.

use crate::support::*;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_log::inject::{Fate, Injecting};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The stateful guest, and behind it one that traps at what begins with `!`.
pub(crate) fn stateful(more: &str) -> PipelineAssignment {
    pipeline(
        ACME,
        &format!(
            "
apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{{topic: in}}]
stages:
  - name: keep
    module: stateful
    state: {{maxBytes: 100000}}
    outputs: {{out: {{stage: check}}}}
    tickMs: 3600000
    {more}
  - name: check
    module: guests
    config: trap
    outputs: {{out: {{topic: out}}}}
deadLetter: {{topic: dead}}
"
        ),
    )
}

fn world(pipeline: &PipelineAssignment, partitions: i32) -> World {
    let world = World::with_topics(partitions);
    world.keep_state(pipeline, partitions);
    world
}

/// What comes of these commands: outputs in order, as if those that cannot pass had never been.
fn expected(commands: &[Record]) -> Vec<String> {
    let mut counts = BTreeMap::<String, u64>::new();
    let mut outputs = Vec::new();
    for command in commands.iter().map(Record::text) {
        if let Some(key) = command.strip_prefix("count ").filter(|key| !key.starts_with('!')) {
            let n = counts.entry(key.to_owned()).or_default();
            *n += 1;
            outputs.push(format!("{key}={n}"));
        }
    }
    outputs
}

/// Counts among which some records trap, are rejected, ask for retries, or die in the stage after.
fn commands(range: std::ops::Range<u32>) -> Vec<Record> {
    let command = |n: u32| match n % 23 {
        3 => format!("trap k{}", n % 5),
        9 => format!("reject k{}", n % 5),
        11 => format!("count !k{}", n % 5),
        17 if n.is_multiple_of(2) => format!("retry k{}", n % 5),
        _ => format!("count k{}", n % 5),
    };
    range.map(|n| Record::new(0, command(n))).collect()
}

/// Each stage is counted once for a record, however often the record was run.
fn assert_counted_once(worker: &Worker, pipeline: &PipelineAssignment, commands: &[Record]) {
    let report = worker.report(pipeline);
    let count = |name: &str| report.stages[&name.parse().unwrap()];
    let (keep, check) = (count("keep"), count("check"));
    let passed = expected(commands).len() as u64;
    let stopped_by_check = commands.iter().filter(|command| command.text().contains('!')).count() as u64;
    let all = commands.len() as u64;
    assert_eq!((keep.records_in, keep.records_out), (all, passed), "{report:?}");
    assert_eq!((check.records_in, check.records_out), (passed + stopped_by_check, passed));
    assert_eq!((keep.faults, check.faults), (all - passed - stopped_by_check, stopped_by_check));
    assert_eq!(keep.fuel + check.fuel, report.totals.fuel);
}

#[test]
fn records_that_become_dead_letters_leave_no_trace() {
    let mut pipeline = stateful("limits: {retries: 1}");
    pipeline.spec.batch.records = 40;
    let world = world(&pipeline, 1);
    let commands = commands(0..120);
    world.append(ACME, "in", &commands);
    let worker = world.worker("w");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.first(ACME, "out"), expected(&commands));
    assert_eq!(world.dead().len(), commands.len() - expected(&commands).len());
    assert_counted_once(&worker, &pipeline, &commands);
    // Five keys of two bytes, with two digits each.
    assert_eq!(worker.report(&pipeline).state_bytes, 5 * (64 + 2 + 2));
}

#[test]
fn aborted_and_unknown_commits_count_nothing_twice() {
    for fates in [
        vec![Fate::Aborted { owner: None }, Fate::Aborted { owner: Some(0) }],
        vec![Fate::UnknownAborted, Fate::Real, Fate::UnknownCommitted],
        vec![Fate::FencedGroups(vec![0]), Fate::UnknownCommitted, Fate::Aborted { owner: Some(0) }],
    ] {
        let mut pipeline = stateful("limits: {retries: 0}");
        pipeline.spec.batch.records = 7;
        let world = world(&pipeline, 1);
        let commands = commands(0..100);
        world.append(ACME, "in", &commands);
        let log = Injecting::new(world.log.clone(), fates.clone());
        let worker = Worker::start(Arc::new(log), "w", config());
        worker.run(&pipeline);
        world.settled(&worker, &pipeline);
        assert_eq!(world.first(ACME, "out"), expected(&commands), "{fates:?}");
        // What an unknown commit did is found in the log, not counted by who made it.
        if !fates.contains(&Fate::UnknownCommitted) {
            assert_counted_once(&worker, &pipeline, &commands);
        }
    }
}

/// Another worker, a new revision, and a pipeline that stopped: each finds what was committed.
#[test]
fn state_is_restored_after_a_move_and_kept_by_a_new_revision() {
    let mut pipeline = stateful("limits: {retries: 0}");
    let world = world(&pipeline, 1);
    let commands = commands(0..200);
    let (first, second) = (world.worker("a"), world.worker("b"));
    for (i, part) in commands.chunks(50).enumerate() {
        let worker = if i % 2 == 0 { &first } else { &second };
        worker.run(&pipeline);
        world.append(ACME, "in", part);
        world.settled(worker, &pipeline);
        worker.stop(&pipeline);
        pipeline.revision += 1;
    }
    assert_eq!(world.first(ACME, "out"), expected(&commands));
}

/// Partitions that come and go while records flow.
#[test]
fn each_partition_has_a_state_that_follows_it_from_worker_to_worker() {
    let mut pipeline = stateful("limits: {retries: 0}");
    pipeline.spec.batch.records = 10;
    let world = world(&pipeline, 4);
    let of = |partition: i32, range| {
        let at = |record: Record| Record { partition, ..record };
        commands(range).into_iter().map(at).collect::<Vec<_>>()
    };
    let (first, second) = (world.worker("a"), world.worker("b"));
    first.run(&pipeline);
    for round in 0..6_u32 {
        for partition in 0..4 {
            let range = round * 60..round * 60 + 60;
            world.append(ACME, "in", &of(partition, range));
        }
        match round {
            1 => second.run(&pipeline),
            3 => first.stop(&pipeline),
            _ => {}
        }
    }
    world.settled(&second, &pipeline);
    for partition in 0..4 {
        let outputs = &world.values(ACME, "out")[partition as usize];
        assert_eq!(*outputs, expected(&of(partition, 0..360)), "partition {partition}");
    }
}

#[test]
fn a_full_state_costs_the_record_and_room_can_be_made() {
    let pipeline = stateful("");
    let world = world(&pipeline, 1);
    let commands = ["fill a 60000", "fill b 60000", "count c", "delete a", "fill b 60000", "scan"];
    world.append(ACME, "in", &texts(commands));
    let worker = world.worker("w");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    let dead = world.dead();
    assert_eq!(dead.iter().map(Record::text).collect::<Vec<_>>(), ["fill b 60000"]);
    assert_eq!((dead[0].evidence("code"), dead[0].evidence("kind")), ("BH0313".to_owned(), "state-full".to_owned()));
    let outputs = world.first(ACME, "out");
    assert_eq!(outputs[..3], ["a:60000", "c=1", "b:60000"]);
    assert!(outputs[3].starts_with("b=v") && outputs[3].ends_with(" c=1"), "{} bytes", outputs[3].len());
}

/// More than stays in memory, so it goes to disk while it is written and while it is restored.
#[test]
fn a_large_state_is_restored_from_the_log() {
    let mut pipeline = stateful("");
    pipeline.spec.stages[0].state.as_mut().unwrap().max_bytes = 64 << 20;
    let world = world(&pipeline, 1);
    let fills: Vec<_> = (0..150).map(|n| Record::new(0, format!("fill k{n:03} 60000"))).collect();
    world.append(ACME, "in", &fills);
    let first = world.worker("a");
    first.run(&pipeline);
    world.settled(&first, &pipeline);
    let bytes = first.report(&pipeline).state_bytes;
    assert_eq!(bytes, 150 * (64 + 4 + 60_000));
    first.stop(&pipeline);
    let second = world.worker("b");
    second.run(&pipeline);
    world.append(ACME, "in", &texts(["delete k007", "fill k149 1"]));
    world.settled(&second, &pipeline);
    assert_eq!(second.report(&pipeline).state_bytes, 148 * (64 + 4 + 60_000) + 64 + 4 + 1);
}

#[test]
fn a_state_that_is_gone_is_never_an_empty_one() {
    let pipeline = stateful("");
    let world = world(&pipeline, 1);
    world.append(ACME, "in", &texts(["count a"]));
    let worker = world.worker("w");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    world.log.delete_topic(&state_topic(&pipeline)).unwrap();
    world.append(ACME, "in", &texts(["count a"]));
    let lost = || {
        let report = worker.report(&pipeline);
        (report.phase, report.code) == (Phase::Failed, Some(Code::StateLost))
    };
    until_or("the pipeline says that its state is lost", lost, || format!("{:?}", worker.report(&pipeline)));
    assert_eq!(world.first(ACME, "out"), ["a=1"]);
}

#[test]
fn a_stage_without_the_grant_does_not_run() {
    let mut pipeline = stateful("");
    pipeline.spec.stages[0].state = None;
    let world = World::with_topics(1);
    let worker = world.worker("w");
    worker.run(&pipeline);
    until("the pipeline says what is missing", || worker.report(&pipeline).code == Some(Code::GrantMissing));
}
