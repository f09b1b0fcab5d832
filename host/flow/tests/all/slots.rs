//! Several workers on the same pipelines: each is one worker's to look after, and the others help where that is not enough.

use crate::support::*;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::WorkerScope;
use bulkhead_flow::FlowConfig;
use bulkhead_log::{Event, Keep, Reader, ReaderInput, ReaderSpec, TopicSpec};
use std::collections::BTreeSet;
use std::time::Duration;

/// So long that no test sees the end of it.
const NEVER: Duration = Duration::from_secs(3600);

/// Parks at once, and helps with a backlog of more than a hundred records, and else not.
fn shared() -> FlowConfig {
    FlowConfig {
        park_after: Duration::from_millis(1),
        watch_every: Duration::from_millis(20),
        help_lag_records: 100,
        help_after: NEVER,
        slots_wait: NEVER,
        ..config()
    }
}

fn named(name: &str, guest: &str) -> PipelineAssignment {
    let mut pipeline = simple(guest, "");
    pipeline.key.pipeline = name.parse().unwrap();
    pipeline.spec.name = pipeline.key.pipeline.clone();
    pipeline
}

fn many(count: usize) -> Vec<PipelineAssignment> {
    (0..count).map(|i| named(&format!("p-{i}"), "passthrough")).collect()
}

fn run_all(workers: &[&Worker], pipelines: &[PipelineAssignment]) {
    workers.iter().for_each(|worker| pipelines.iter().for_each(|pipeline| worker.run(pipeline)));
}

/// Waits until each is looked after by one of these workers, at rest, and the others stand by.
fn settled(workers: &[&Worker], pipelines: &[PipelineAssignment]) {
    let told = || workers.iter().map(|worker| worker.flow.report().1).collect::<Vec<_>>();
    let owners = |pipeline: &PipelineAssignment| {
        let reports = workers.iter().map(|worker| worker.report(pipeline)).collect::<Vec<_>>();
        let rests = reports.iter().all(|report| report.parked && report.phase == Phase::Running);
        rests.then(|| reports.iter().filter(|report| !report.standby && report.lag == Some(0)).count())
    };
    let is_so = || pipelines.iter().all(|pipeline| owners(pipeline) == Some(1));
    until_or("each has one owner", is_so, || format!("{:#?}", told()));
}

fn owner<'a>(workers: &[&'a Worker], pipeline: &PipelineAssignment) -> (&'a Worker, Vec<&'a Worker>) {
    let (stand_by, own): (Vec<_>, Vec<_>) = workers.iter().partition(|worker| worker.report(pipeline).standby);
    assert_eq!(own.len(), 1);
    (own[0], stand_by)
}

/// Somebody in the workers' group who runs no pipeline, and keeps the slots that it is given.
fn idler(world: &World) -> Box<dyn Reader> {
    let scope = WorkerScope::new("idler").unwrap();
    let spec = TopicSpec { partitions: 128, max_record_bytes: None, replicas: None, keep: Keep::Default };
    let _there_already = world.log.create_topic(&scope.slots_topic(), &spec);
    let input = ReaderInput { topic: scope.slots_topic(), start: Start::Earliest, initialised: BTreeSet::new() };
    let (group, batch) = (scope.slots_group(""), BatchLimits::default());
    world.log.reader(ReaderSpec { group, inputs: vec![input], batch, queue_bytes: 1 << 20 }).unwrap()
}

#[test]
fn a_record_wakes_the_owner_and_nobody_else() {
    let world = World::with_topics(3);
    let (a, b) = (world.worker_with("a", shared()), world.worker_with("b", shared()));
    let (workers, pipelines) = ([&a, &b], many(12));
    run_all(&workers, &pipelines);
    settled(&workers, &pipelines);
    let owned = pipelines.iter().filter(|pipeline| a.report(pipeline).standby).count();
    assert!((1..12).contains(&owned), "both have some: {owned}");
    // All read the same input, so each is woken by every record.
    for round in 0..4 {
        world.append(ACME, "in", &numbers(3, round..round + 1));
        let done = || {
            let slept = pipelines.iter().map(|pipeline| workers.iter().filter(|w| w.report(pipeline).parked).count());
            assert!(slept.min() >= Some(1), "somebody woke who stands by");
            pipelines.iter().all(|pipeline| world.lag(pipeline) == 0)
        };
        until("all is done", done);
        settled(&workers, &pipelines);
    }
    for pipeline in &pipelines {
        let (own, stand_by) = owner(&workers, pipeline);
        let records = |worker: &Worker| worker.report(pipeline).totals.records_in;
        assert_eq!((records(own), stand_by.into_iter().map(records).sum::<u64>()), (12, 0));
    }
    assert_eq!(world.read(ACME, "out").concat().len(), 12 * pipelines.len());
}

#[test]
fn who_leaves_hands_its_pipelines_over_and_who_comes_takes_some() {
    let world = World::with_topics(2);
    let a = world.worker_with("a", shared());
    let pipelines = many(10);
    run_all(&[&a], &pipelines);
    settled(&[&a], &pipelines);
    world.append(ACME, "in", &numbers(2, 0..3));
    until("all is done", || pipelines.iter().all(|pipeline| world.lag(pipeline) == 0));
    let b = world.worker_with("b", shared());
    run_all(&[&b], &pipelines);
    settled(&[&a, &b], &pipelines);
    assert!(pipelines.iter().any(|pipeline| !b.report(pipeline).standby), "it has some now");
    // These come while nobody looks after what the first one owned.
    a.flow.drain();
    world.append(ACME, "in", &numbers(2, 3..5));
    until("all is done", || pipelines.iter().all(|pipeline| world.lag(pipeline) == 0));
    settled(&[&b], &pipelines);
    assert_eq!(world.read(ACME, "out").concat().len(), 2 * 5 * pipelines.len(), "each record once by each pipeline");
}

/// Half of the slots are somebody's who does nothing.
#[test]
fn a_pipeline_that_its_owner_leaves_alone_is_run_all_the_same() {
    let world = World::with_topics(1);
    let mut idler = idler(&world);
    let short = FlowConfig { help_after: Duration::from_millis(200), ..shared() };
    let worker = world.worker_with("w", short);
    let pipelines = many(10);
    run_all(&[&worker], &pipelines);
    until("slots are shared", || {
        if let Event::Revoke { sources, .. } = idler.poll(Duration::from_millis(10)).unwrap() {
            idler.acknowledge(&sources).unwrap();
        }
        pipelines.iter().any(|pipeline| !worker.report(pipeline).standby && worker.report(pipeline).parked)
    });
    world.append(ACME, "in", &numbers(1, 0..5));
    until("all is done", || pipelines.iter().all(|pipeline| world.lag(pipeline) == 0));
    let parked = || pipelines.iter().all(|pipeline| worker.report(pipeline).parked);
    until("all are at rest again", parked);
    assert!(pipelines.iter().any(|pipeline| worker.report(pipeline).standby), "they are still not its own");
    assert_eq!(world.first(ACME, "out").len(), 5 * pipelines.len());
    idler.close();
    settled(&[&worker], &pipelines);
}

#[test]
fn a_backlog_brings_more_hands_where_there_are_more_partitions() {
    let world = World::with_topics(6);
    world.topic(ACME, "narrow", 1, None);
    let (a, b) = (world.worker_with("a", shared()), world.worker_with("b", shared()));
    let workers = [&a, &b];
    let mut wide = named("wide", "work");
    wide.spec.batch.records = 10;
    let mut narrow = named("narrow", "passthrough");
    narrow.spec.inputs[0].topic = "narrow".parse().unwrap();
    run_all(&workers, &[wide.clone(), narrow.clone()]);
    settled(&workers, &[wide.clone(), narrow.clone()]);
    let work: Vec<_> = (0..1_200).map(|i| Record::new(i % 6, (200_000 + i).to_string())).collect();
    world.append(ACME, "in", &work);
    world.append(ACME, "narrow", &numbers(1, 0..500));
    until("all is done", || world.lag(&wide) + world.lag(&narrow) == 0);
    settled(&workers, &[wide.clone(), narrow.clone()]);
    let each = |pipeline| workers.map(|worker| worker.report(pipeline).totals.records_in);
    assert!(each(&wide).iter().all(|records| *records > 0), "both worked: {:?}", each(&wide));
    assert_eq!((each(&wide).iter().sum::<u64>(), each(&narrow).iter().sum::<u64>()), (1_200, 500));
    assert!(each(&narrow).contains(&0), "one partition is one worker's: {:?}", each(&narrow));
    let of_narrow = world.first(ACME, "out").len() as i64 - world.first(ACME, "in").len() as i64;
    assert_eq!(of_narrow, 500);
}

/// Somebody holds all slots, and never lets go of any.
#[test]
fn a_worker_that_is_given_no_slots_looks_after_all_pipelines() {
    let world = World::with_topics(1);
    let mut idler = idler(&world);
    until("it has all slots", || matches!(idler.poll(Duration::ZERO), Ok(Event::Assigned(_))));
    let impatient = FlowConfig { slots_wait: Duration::from_millis(300), ..shared() };
    let worker = world.worker_with("w", impatient);
    let pipelines = many(5);
    world.append(ACME, "in", &numbers(1, 0..3));
    run_all(&[&worker], &pipelines);
    until("all is done", || pipelines.iter().all(|pipeline| world.lag(pipeline) == 0));
    settled(&[&worker], &pipelines);
}

#[test]
fn orders_reach_those_who_stand_by() {
    let world = World::with_topics(1);
    let (a, b) = (world.worker_with("a", shared()), world.worker_with("b", shared()));
    let workers = [&a, &b];
    let mut pipeline = named("ordered", "passthrough");
    run_all(&workers, std::slice::from_ref(&pipeline));
    settled(&workers, std::slice::from_ref(&pipeline));
    pipeline.paused = true;
    run_all(&workers, std::slice::from_ref(&pipeline));
    until("both say so", || workers.iter().all(|worker| worker.report(&pipeline).phase == Phase::Paused));
    assert!(workers.iter().all(|worker| !worker.report(&pipeline).parked && !worker.report(&pipeline).standby));
    (pipeline.paused, pipeline.revision) = (false, 2);
    run_all(&workers, std::slice::from_ref(&pipeline));
    settled(&workers, std::slice::from_ref(&pipeline));
    assert!(workers.iter().all(|worker| worker.report(&pipeline).revision == 2));
    workers.iter().for_each(|worker| worker.stop(&pipeline));
    world.append(ACME, "in", &texts(["1"]));
    assert!(workers.iter().all(|worker| worker.flow.report().1.is_empty()));
}

/// What acts on time has something to do without a record.
#[test]
fn a_pipeline_that_acts_on_time_runs_on_its_owner_whoever_that_is() {
    let world = World::with_topics(1);
    let mut pipeline = crate::state::stateful("limits: {retries: 0}");
    pipeline.ticks = true;
    world.keep_state(&pipeline, 1);
    let (a, b) = (world.worker_with("a", shared()), world.worker_with("b", shared()));
    let workers = [&a, &b];
    run_all(&workers, std::slice::from_ref(&pipeline));
    let runs = |worker: &Worker| worker.report(&pipeline).partitions == 1;
    let stands_by = |worker: &Worker| worker.report(&pipeline).standby;
    until("one runs it, the other stands by", || (runs(&a) && stands_by(&b)) || (runs(&b) && stands_by(&a)));
    let (first, second) = if runs(&a) { (&a, &b) } else { (&b, &a) };
    first.flow.drain();
    until("the other runs it", || runs(second));
}
