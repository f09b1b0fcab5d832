//! A pipeline's life: start policies, pause, new revisions, stops, drains, and positions that are lost.

use crate::support::*;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::TenantScope;
use bulkhead_flow::FlowConfig;
use bulkhead_log::inject::{Fate, Injecting};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn it_begins_where_the_manifest_says() {
    let cases = [
        (Start::Earliest, vec!["0", "1", "2", "3", "new"]),
        (Start::Latest, vec!["new"]),
        (Start::Offset(2), vec!["2", "3", "new"]),
        (Start::TimeMs(3_000), vec!["3", "new"]),
    ];
    for (start, expected) in cases {
        let world = World::with_topics(1);
        let records = (0..4).map(|i| Record { timestamp: 1_000 * i64::from(i), ..Record::new(0, i.to_string()) });
        world.append(ACME, "in", &records.collect::<Vec<_>>());
        let worker = world.worker("w");
        let mut pipeline = simple("passthrough", "");
        pipeline.spec.inputs[0].start = start;
        worker.run(&pipeline);
        until("it has its position", || worker.report(&pipeline).partitions == 1);
        world.append(ACME, "in", &[Record { timestamp: 9_000, ..Record::new(0, "new") }]);
        world.settled(&worker, &pipeline);
        assert_eq!(world.first(ACME, "out"), expected, "{start:?}");
    }
}

#[test]
fn a_pause_keeps_the_position_and_runs_nothing() {
    let world = World::with_topics(2);
    world.append(ACME, "in", &numbers(2, 0..50));
    let worker = world.worker("w");
    let mut pipeline = simple("passthrough", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    pipeline.paused = true;
    worker.run(&pipeline);
    until("it is paused", || worker.report(&pipeline).phase == Phase::Paused);
    world.append(ACME, "in", &numbers(2, 50..100));
    assert_eq!((worker.report(&pipeline).partitions, world.lag(&pipeline)), (0, 100));
    pipeline.paused = false;
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

/// Every revision changes the guest, in the middle of the stream.
#[test]
fn a_new_revision_takes_over_without_a_gap() {
    let world = World::with_topics(3);
    let worker = world.worker("w");
    let mut sent = 0;
    for revision in 1..=12 {
        let mut pipeline = simple(if revision % 2 == 0 { "filter" } else { "passthrough" }, "");
        (pipeline.revision, pipeline.spec.batch.records) = (revision, 10);
        world.append(ACME, "in", &numbers(3, sent..sent + 200));
        sent += 200;
        worker.run(&pipeline);
        until("the revision runs", || {
            let report = worker.report(&pipeline);
            report.revision == revision && report.partitions == 3
        });
    }
    world.settled(&worker, &simple("filter", ""));
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

#[test]
fn a_stopped_pipeline_goes_on_where_it_was() {
    let world = World::with_topics(2);
    let mut pipeline = simple("passthrough", "");
    pipeline.spec.batch.records = 10;
    for round in 0..8 {
        world.append(ACME, "in", &numbers(2, 300 * round..300 * (round + 1)));
        let worker = world.worker("w");
        worker.run(&pipeline);
        until("some is done", || worker.report(&pipeline).totals.records_in > 0);
        if round % 2 == 0 {
            worker.stop(&pipeline);
        } else {
            worker.flow.drain();
        }
    }
    let worker = world.worker("w");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

/// The drain waits for the commit, which here fails once and is made again, rather than for the guest to run once more.
#[test]
fn a_drain_commits_what_is_done() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &numbers(1, 0..100));
    let log = Injecting::new(world.log.clone(), [Fate::Aborted { owner: None }]);
    let plan = log.plan();
    let settings = FlowConfig { commit_interval: Duration::from_secs(2), ..config() };
    let worker = Worker::start(Arc::new(log), "w", settings);
    let pipeline = simple("stdio", "");
    worker.run(&pipeline);
    until("the guest is done", || worker.lines.text().contains("99"));
    assert_eq!(world.first(ACME, "out").len(), 0, "nothing is committed yet");
    worker.flow.drain();
    assert_eq!(plan.left(), 0);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
    assert_eq!(world.lag(&pipeline), 0);
}

#[test]
fn a_lost_position_is_never_reset() {
    let world = World::with_topics(2);
    world.append(ACME, "in", &numbers(2, 0..5));
    let worker = world.worker("w");
    let mut pipeline = simple("passthrough", "");
    // Control knows that these partitions had positions; the log has none.
    pipeline.initialised.insert("in".parse().unwrap(), BTreeSet::from([0, 1]));
    worker.run(&pipeline);
    until("it says so", || worker.report(&pipeline).phase == Phase::Failed);
    assert_eq!(worker.report(&pipeline).code, Some(Code::OffsetLost));
    assert_eq!(world.read(ACME, "out").concat(), []);
    worker.stop(&pipeline);
    pipeline.initialised.clear();
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

/// Pauses the pipeline, and deletes its group with its positions once nobody is in it.
fn forget_positions(world: &World, worker: &Worker, pipeline: &mut PipelineAssignment) {
    pipeline.paused = true;
    worker.run(pipeline);
    until("it is paused", || worker.report(pipeline).phase == Phase::Paused);
    let scope = TenantScope::assume(pipeline.key.tenant.clone());
    world.log.delete_group(&scope.group(&pipeline.key.project, &pipeline.key.pipeline)).unwrap();
}

/// The worker remembers what it saw committed, whether or not control has heard of it yet.
#[test]
fn a_position_lost_between_two_revisions_is_noticed_too() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &numbers(1, 0..5));
    let worker = world.worker("w");
    let mut pipeline = simple("passthrough", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    forget_positions(&world, &worker, &mut pipeline);
    pipeline.paused = false;
    worker.run(&pipeline);
    until("it says so", || worker.report(&pipeline).phase == Phase::Failed);
    assert_eq!(worker.report(&pipeline).code, Some(Code::OffsetLost));
    assert_eq!(world.first(ACME, "out").len(), 5, "nothing is doubled");
}

/// Deleted and made again, and nobody told the worker in between.
#[test]
fn a_pipeline_made_again_under_its_name_is_another() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &numbers(1, 0..5));
    let worker = world.worker("w");
    let mut pipeline = simple("passthrough", "");
    pipeline.incarnation = "first".to_owned();
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    forget_positions(&world, &worker, &mut pipeline);
    (pipeline.incarnation, pipeline.revision, pipeline.paused) = ("second".to_owned(), 2, false);
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(
        world.first(ACME, "out").len(),
        10,
        "it has no position of the former one's, so it begins at the beginning"
    );
    let report = worker.report(&pipeline);
    assert_eq!((report.incarnation.as_str(), report.totals.records_in), ("second", 5));
}

#[test]
fn beginning_anew_makes_earlier_positions_void_and_keeps_the_counts() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &numbers(1, 0..5));
    let worker = world.worker("w");
    let mut pipeline = simple("passthrough", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    // What control does: everybody leaves, the positions are forgotten, and it runs again from the start that was asked for.
    forget_positions(&world, &worker, &mut pipeline);
    (pipeline.starts, pipeline.paused) = (1, false);
    pipeline.spec.inputs[0].start = Start::Offset(3);
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.first(ACME, "out").len(), 7);
    let report = worker.report(&pipeline);
    assert_eq!((report.starts, report.totals.records_in), (1, 7));
    let stage = report.stages.values().next().unwrap();
    assert_eq!((stage.records_in, stage.records_out, stage.faults), (7, 7, 0));
    assert!(stage.fuel > 0);
}
