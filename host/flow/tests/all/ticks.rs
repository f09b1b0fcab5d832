//! Ticks: a stage acts on time, with its state, exactly once.

use crate::state::stateful;
use crate::support::*;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_log::inject::{Fate, Injecting};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Ticks as often as it may.
fn ticking() -> PipelineAssignment {
    let mut pipeline = stateful("limits: {retries: 0}");
    pipeline.spec.stages[0].tick_ms = Some(100);
    pipeline
}

fn counts(count: u32) -> Vec<Record> {
    (0..count).map(|n| Record::new(0, format!("count k{}", n % 3))).collect()
}

/// What ticks put out, of each key all together. A record's own output has its timestamp, a tick's the time.
fn flushed(world: &World) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for record in world.read(ACME, "out").concat().iter().filter(|record| record.timestamp > 1_000_000) {
        let (key, n) = record.text().split_once('=').map(|(k, n)| (k.to_owned(), n.parse::<u64>().unwrap())).unwrap();
        *sums.entry(key).or_default() += n;
    }
    sums
}

/// Every count is put out by one tick and forgotten with it: in all, each record is there once, however commits end.
#[test]
fn what_ticks_put_out_commits_with_what_they_forget() {
    for fates in [
        vec![],
        vec![Fate::Aborted { owner: None }, Fate::UnknownAborted, Fate::UnknownCommitted],
        vec![Fate::Real, Fate::UnknownAborted, Fate::Real, Fate::UnknownCommitted, Fate::Aborted { owner: Some(0) }],
        vec![Fate::Real, Fate::Real, Fate::UnknownAborted, Fate::UnknownAborted],
    ] {
        let pipeline = ticking();
        let world = World::with_topics(1);
        world.keep_state(&pipeline, 1);
        let log = Injecting::new(world.log.clone(), fates.clone());
        let plan = log.plan();
        let worker = Worker::start(Arc::new(log), "w", config());
        worker.run(&pipeline);
        for _ in 0..4 {
            world.append(ACME, "in", &counts(30));
            world.settled(&worker, &pipeline);
        }
        let all = || flushed(&world).values().sum::<u64>() >= 120;
        until_or("every count is put out", all, || format!("{:?} with {fates:?}", flushed(&world)));
        assert_eq!(flushed(&world), ["k0", "k1", "k2"].map(|key| (key.to_owned(), 40)).into(), "{fates:?}");
        assert_eq!(plan.left(), 0, "{fates:?}");
        until("the state is empty", || worker.report(&pipeline).state_bytes == 0);
    }
}

/// No record is to blame for a tick that fails: it is said, and batches go on.
#[test]
fn a_tick_that_fails_is_tried_again_and_holds_up_nobody() {
    let pipeline = ticking();
    let world = World::with_topics(1);
    world.keep_state(&pipeline, 1);
    let worker = world.worker("w");
    worker.run(&pipeline);
    world.append(ACME, "in", &texts(["count !tick", "count a"]));
    let trapped = || {
        let report = worker.report(&pipeline);
        (report.phase, report.code) == (Phase::Backoff, Some(Code::StageTrapped))
    };
    // The first record dies in the stage after, and so never was.
    world.settled(&worker, &pipeline);
    assert_eq!(world.dead().len(), 1);
    world.append(ACME, "in", &texts(["fill !tick 1"]));
    world.settled(&worker, &pipeline);
    assert_eq!(world.dead().len(), 2);
    // One that the stage after lets pass, though it is there: it puts nothing out.
    let silent = pipeline_that_fails();
    worker.stop(&pipeline);
    worker.run(&silent);
    world.append(ACME, "in", &texts(["fill !tick 1"]));
    until_or("the failing tick is said", trapped, || format!("{:?}", worker.report(&silent)));
    world.append(ACME, "in", &texts(["delete !tick", "count b"]));
    until("it runs again once the tick ends well", || worker.report(&silent).phase == Phase::Running);
    until("what it puts out is there", || flushed(&world).get("b") == Some(&1));
}

/// The same, without the stage that lets no `!` pass.
fn pipeline_that_fails() -> PipelineAssignment {
    let mut pipeline = ticking();
    pipeline.revision = 2;
    pipeline.spec.stages[1].settings = "\"passthrough\"".to_owned();
    pipeline
}
