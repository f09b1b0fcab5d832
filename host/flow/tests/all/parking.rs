//! Pipelines with nothing to do cost nothing, and miss nothing.

use crate::support::*;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_core::scope::TenantScope;
use bulkhead_flow::FlowConfig;
use bulkhead_log::inject::{Fate, Injecting};
use std::sync::Arc;
use std::time::Duration;

/// Parks as soon as it is seen that there is nothing to do.
fn parking() -> FlowConfig {
    FlowConfig { park_after: Duration::from_millis(1), ..config() }
}

fn parked(worker: &Worker, pipeline: &PipelineAssignment) {
    let describe = || format!("{:?}", worker.report(pipeline));
    until_or("it is parked", || worker.report(pipeline).parked, describe);
}

/// Threads of this process that belong to this pipeline's source.
fn threads(pipeline: &PipelineAssignment) -> usize {
    let name = format!("source-{}", pipeline.key.pipeline);
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let named = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    named.filter(|comm| comm.trim() == name).count()
}

fn named(name: &str, guest: &str) -> PipelineAssignment {
    let mut pipeline = simple(guest, "");
    pipeline.key.pipeline = name.parse().unwrap();
    pipeline.spec.name = pipeline.key.pipeline.clone();
    pipeline
}

#[test]
fn a_pipeline_with_nothing_to_do_parks_and_every_record_wakes_it() {
    let world = World::with_topics(3);
    let worker = world.worker_with("w", parking());
    let pipeline = named("rests", "passthrough");
    worker.run(&pipeline);
    let counted = || worker.metric("bulkhead_records_total", &[("tenant", ACME), ("direction", "in")]);
    parked(&worker, &pipeline);
    assert_eq!(counted(), None, "nothing was counted yet");
    for round in 0..5 {
        world.append(ACME, "in", &numbers(3, 10 * round..10 * (round + 1)));
        until("all is committed", || world.lag(&pipeline) == 0);
        parked(&worker, &pipeline);
        until("its thread is gone", || threads(&pipeline) == 0);
        let report = worker.report(&pipeline);
        assert_eq!((report.phase, report.lag, report.partitions), (Phase::Running, Some(0), 0));
        assert_eq!((report.memory_bytes, report.totals.records_in), (0, u64::from(30 * (round + 1))));
        assert_eq!(counted(), Some(f64::from(30 * (round + 1))), "who looks now and then sees what was counted");
    }
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

/// Records come while it is about to park, again and again.
#[test]
fn a_record_that_comes_while_it_parks_is_not_missed() {
    let world = World::with_topics(2);
    let worker = world.worker_with("w", parking());
    let pipeline = named("races", "passthrough");
    worker.run(&pipeline);
    for round in 0..40_u32 {
        world.append(ACME, "in", &numbers(2, round..round + 1));
        until("it is done", || world.lag(&pipeline) == 0);
        if round % 3 == 0 {
            parked(&worker, &pipeline);
        }
    }
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

#[test]
fn orders_reach_a_parked_pipeline() {
    let world = World::with_topics(1);
    let worker = world.worker_with("w", parking());
    let mut pipeline = named("ordered", "passthrough");
    worker.run(&pipeline);
    parked(&worker, &pipeline);
    (pipeline.revision, pipeline.spec.stages[0].settings) = (2, "\"filter\"".to_owned());
    worker.run(&pipeline);
    until("the revision runs", || worker.report(&pipeline).revision == 2);
    parked(&worker, &pipeline);
    pipeline.paused = true;
    worker.run(&pipeline);
    until("it is paused", || worker.report(&pipeline).phase == Phase::Paused);
    assert!(!worker.report(&pipeline).parked);
    until("who is paused has no thread either", || threads(&pipeline) == 0);
    world.append(ACME, "in", &texts(["1"]));
    pipeline.paused = false;
    worker.run(&pipeline);
    until("it goes on", || world.lag(&pipeline) == 0);
    parked(&worker, &pipeline);
    // Deleted: nothing wakes it any more.
    worker.stop(&pipeline);
    world.append(ACME, "in", &texts(["2"]));
    assert_eq!(worker.flow.report().1, []);
    worker.run(&pipeline);
    until("it is there again", || world.lag(&pipeline) == 0);
    parked(&worker, &pipeline);
    worker.flow.drain();
    let (_, reports) = worker.flow.report();
    assert_eq!((reports[0].parked, reports[0].lag), (false, None), "its lag is for its successor to tell");
    assert_eq!(world.first(ACME, "out"), ["1", "2"]);
}

/// Half of the partitions are behind, and this worker does not own them.
#[test]
fn nobody_parks_before_the_whole_pipeline_is_done() {
    let world = World::with_topics(2);
    let (first, second) = (world.worker_with("a", parking()), world.worker_with("b", parking()));
    let pipeline = named("shared", "passthrough");
    first.run(&pipeline);
    second.run(&pipeline);
    for round in 0..6 {
        world.append(ACME, "in", &numbers(2, 5 * round..5 * (round + 1)));
        until("all is committed", || world.lag(&pipeline) == 0);
        if round % 2 == 1 {
            parked(&first, &pipeline);
            parked(&second, &pipeline);
        }
    }
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

#[test]
fn a_stage_that_acts_on_time_and_a_pipeline_that_fails_stay_awake() {
    let world = World::with_topics(1);
    let worker = world.worker_with("w", parking());
    let ticking = crate::state::stateful("limits: {retries: 0}");
    world.keep_state(&ticking, 1);
    worker.run(&ticking);
    let watcher = named("watcher", "passthrough");
    worker.run(&watcher);
    parked(&worker, &watcher);
    let failing = named("failing", "init_fails");
    worker.run(&failing);
    world.append(ACME, "in", &texts(["1"]));
    until("the failure is said", || worker.report(&failing).phase == Phase::Backoff);
    parked(&worker, &watcher);
    assert!(!worker.report(&ticking).parked && !worker.report(&failing).parked);
}

/// A topic that goes is something that happens to who is parked on it.
#[test]
fn a_parked_pipeline_notices_that_its_topic_is_gone() {
    let world = World::with_topics(1);
    let worker = world.worker_with("w", parking());
    let pipeline = named("orphan", "passthrough");
    worker.run(&pipeline);
    parked(&worker, &pipeline);
    world.delete(ACME, "in");
    until("it says so", || worker.report(&pipeline).code == Some(Code::TopicGone));
}

/// Kafka forgets the positions of a group that nobody uses; so they are committed again, as they are.
#[test]
fn the_positions_of_a_parked_pipeline_are_committed_again_and_again() {
    let world = World::with_topics(2);
    let log = Injecting::new(world.log.clone(), []);
    let plan = log.plan();
    let often = FlowConfig { keep_positions_every: Duration::from_millis(50), ..parking() };
    let worker = Worker::start(Arc::new(log), "w", often);
    let pipeline = named("kept", "passthrough");
    world.append(ACME, "in", &numbers(2, 0..10));
    worker.run(&pipeline);
    until("all is committed", || world.lag(&pipeline) == 0);
    parked(&worker, &pipeline);
    let before = world.log.committed(&group(&pipeline), &[topic(ACME, "in")]).unwrap();
    // Each of these ends is one of a commit that only keeps positions.
    for fate in [Fate::Real, Fate::UnknownAborted, Fate::UnknownCommitted, Fate::Aborted { owner: Some(0) }, Fate::Real]
    {
        plan.push(fate);
        until("it has come true", || plan.left() == 0);
    }
    parked(&worker, &pipeline);
    assert_eq!(world.log.committed(&group(&pipeline), &[topic(ACME, "in")]).unwrap(), before);
    world.append(ACME, "in", &numbers(2, 10..20));
    until("all is committed", || world.lag(&pipeline) == 0);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

fn group(pipeline: &PipelineAssignment) -> bulkhead_core::scope::GroupId {
    TenantScope::assume(pipeline.key.tenant.clone()).group(&pipeline.key.project, &pipeline.key.pipeline)
}

/// What is at rest is told once; a complete report tells it again.
#[test]
fn news_leaves_out_what_is_at_rest_and_was_told() {
    let world = World::with_topics(1);
    let worker = world.worker_with("w", parking());
    let (rests, works) = (named("rests-long", "passthrough"), crate::state::stateful("limits: {retries: 0}"));
    world.keep_state(&works, 1);
    worker.run(&rests);
    worker.run(&works);
    parked(&worker, &rests);
    let names = |known| {
        let (generation, reports, partial) = worker.flow.news(known);
        assert_eq!(generation, 1);
        (reports.iter().map(|report| report.key.pipeline.to_string()).collect::<Vec<_>>(), partial)
    };
    assert_eq!(names(None), (vec!["p".to_owned(), "rests-long".to_owned()], false));
    assert_eq!(names(Some(1)), (vec!["p".to_owned()], true));
    assert_eq!(names(Some(0)).0.len(), 2, "another generation");
    assert_eq!(names(Some(1)).0.len(), 1);
    world.append(ACME, "in", &texts(["a"]));
    until("it has done something", || world.lag(&rests) == 0);
    parked(&worker, &rests);
    assert_eq!(names(Some(1)).0.len(), 2, "it was awake since");
}

/// As many as are told to run at once start one after the other, and none of them for nothing.
#[test]
fn many_pipelines_start_a_few_at_a_time() {
    let world = World::with_topics(1);
    // Nobody rests by itself: only because others wait to start.
    let few = FlowConfig { starts_at_once: 2, park_after: Duration::from_secs(3600), ..config() };
    let worker = world.worker_with("w", few);
    let all: Vec<_> = (0..20).map(|i| named(&format!("many-{i}"), "passthrough")).collect();
    all.iter().for_each(|pipeline| worker.run(pipeline));
    until("all have started", || {
        let (_, reports) = worker.flow.report();
        reports.iter().all(|report| report.parked || (report.phase == Phase::Running && report.lag == Some(0)))
    });
    world.append(ACME, "in", &numbers(1, 0..3));
    until("all do what there is to do", || all.iter().all(|pipeline| world.lag(pipeline) == 0));
    assert_eq!(world.first(ACME, "out").len(), 60);
}
