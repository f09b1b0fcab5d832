//! Tenants that share a worker's lane: what one does wrong, another does not feel.

use crate::support::*;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_core::name::ModuleDigest;
use bulkhead_flow::FlowConfig;

/// A neighbour of another tenant that passes records on.
struct Neighbour(PipelineAssignment);

impl Neighbour {
    fn new(world: &World, worker: &Worker) -> Self {
        world.topics("neighbour", 2);
        let pipeline = simple_of("neighbour", "passthrough", "");
        worker.run(&pipeline);
        Self(pipeline)
    }

    /// Sends records through, which must all come out.
    fn flows(&self, world: &World, worker: &Worker) {
        world.append("neighbour", "in", &numbers(2, 0..200));
        world.settled(worker, &self.0);
        assert_eq!(world.values("neighbour", "out"), world.values("neighbour", "in"));
        assert_eq!(world.read("neighbour", "dead").concat(), []);
        assert_eq!(worker.report(&self.0).phase, Phase::Running);
    }
}

#[test]
fn an_output_above_its_topics_limit_is_a_dead_letter() {
    let world = World::new();
    world.topic(ACME, "in", 1, None);
    world.topic(ACME, "dead", 1, None);
    world.topic(ACME, "out", 1, Some(1_000));
    let worker = world.worker("w");
    let neighbour = Neighbour::new(&world, &worker);
    let large = "x".repeat(2_000);
    world.append(ACME, "in", &texts(["a", &large, "b", &large, "c"]));
    let pipeline = simple("passthrough", "");
    worker.run(&pipeline);
    neighbour.flows(&world, &worker);
    world.settled(&worker, &pipeline);
    assert_eq!(world.first(ACME, "out"), ["a", "b", "c"]);
    let dead = world.dead();
    assert_eq!(dead.iter().map(Record::text).collect::<Vec<_>>(), [large.as_str(); 2]);
    for letter in dead {
        assert_eq!((letter.evidence("code").as_str(), letter.evidence("kind").as_str()), ("BH0307", "output-refused"));
        assert!(letter.evidence("reason").contains("at most 1000"), "{}", letter.evidence("reason"));
    }
}

/// The topic is made again with a lower limit than the one that was checked, so the lane's transaction aborts.
#[test]
fn a_limit_that_sinks_between_check_and_commit_is_noticed() {
    let world = World::with_topics(1);
    let worker = world.worker("w");
    let neighbour = Neighbour::new(&world, &worker);
    let pipeline = simple("passthrough", "");
    worker.run(&pipeline);
    world.append(ACME, "in", &texts(["a"]));
    world.settled(&worker, &pipeline);
    world.delete(ACME, "out");
    world.topic(ACME, "out", 1, Some(1_000));
    let large = "x".repeat(2_000);
    world.append(ACME, "in", &texts(["b", &large, "c"]));
    neighbour.flows(&world, &worker);
    world.settled(&worker, &pipeline);
    assert_eq!(world.first(ACME, "out"), ["b", "c"]);
    assert_eq!(world.dead().iter().map(|d| d.evidence("code")).collect::<Vec<_>>(), ["BH0307"]);
}

#[test]
fn a_topic_deleted_mid_flight_stops_only_its_pipeline_until_it_is_there_again() {
    for gone in ["out", "in", "dead"] {
        let world = World::with_topics(1);
        let worker = world.worker("w");
        let neighbour = Neighbour::new(&world, &worker);
        let pipeline = simple("trap", "");
        worker.run(&pipeline);
        world.append(ACME, "in", &texts(["a", "!"]));
        world.settled(&worker, &pipeline);
        world.delete(ACME, gone);
        if gone != "in" {
            world.append(ACME, "in", &texts(["b", "!"]));
        }
        until("the pipeline says so", || {
            let report = worker.report(&pipeline);
            (report.phase, report.code) == (Phase::Backoff, Some(Code::TopicGone))
        });
        neighbour.flows(&world, &worker);
        world.topic(ACME, gone, 1, None);
        if gone == "in" {
            world.append(ACME, "in", &texts(["b", "!"]));
        }
        world.settled(&worker, &pipeline);
        until("it runs again", || worker.report(&pipeline).phase == Phase::Running);
        let (out, dead) = (world.first(ACME, "out"), world.dead());
        assert_eq!(out.last().map(String::as_str), Some("b"), "{gone} was deleted");
        assert_eq!(out.len() + dead.len(), if gone == "in" { 4 } else { 3 }, "{gone} was deleted");
    }
}

#[test]
fn an_endless_loop_does_not_hold_up_another_tenant() {
    let world = World::with_topics(4);
    world.append(ACME, "in", &(0..4).map(|p| Record::new(p, "!")).collect::<Vec<_>>());
    let worker = world.worker("w");
    let endless = simple("spin", "limits: {fuelPerRecord: 10000000000, deadlineMs: 300000}");
    worker.run(&endless);
    until("it holds its records", || {
        worker.metric("bulkhead_buffered_bytes", &[("tenant", ACME)]).is_some_and(|bytes| bytes >= 4.0)
    });
    let neighbour = Neighbour::new(&world, &worker);
    neighbour.flows(&world, &worker);
    assert_eq!(world.lag(&endless), 4, "the loops have not ended");
}

#[test]
fn a_busy_pipeline_gets_a_lane_of_its_own_and_loses_nothing() {
    let world = World::with_topics(2);
    let mut settings = config();
    settings.busy_bytes_per_s = 1;
    let worker = world.worker_with("w", settings);
    let neighbour = Neighbour::new(&world, &worker);
    let pipeline = simple("passthrough", "");
    worker.run(&pipeline);
    let mut sent = 0;
    let own = || worker.metric("bulkhead_commits_total", &[("lane", "own-0"), ("outcome", "committed")]);
    until("one has its own lane", || {
        world.append(ACME, "in", &numbers(2, sent..sent + 20));
        world.append("neighbour", "in", &numbers(2, sent..sent + 5));
        sent += 20;
        own().is_some_and(|commits| commits > 0.0)
    });
    world.settled(&worker, &pipeline);
    world.settled(&worker, &neighbour.0);
    for tenant in [ACME, "neighbour"] {
        assert_eq!(world.values(tenant, "out"), world.values(tenant, "in"));
    }
}

/// New modules of one tenant, however many and however late, keep no turn from another's single pipeline: not to start, not to compile.
#[test]
fn new_modules_of_one_tenant_do_not_hold_up_the_start_of_another() {
    const MANY: usize = 40;
    let world = World::with_topics(1);
    world.topics("greedy", 1);
    let worker = world.worker_with("w", FlowConfig { starts_at_once: 4, ..config() });
    let many: Vec<_> = (0..MANY)
        .map(|n| {
            let mut pipeline = simple_of("greedy", "passthrough", "");
            pipeline.key.pipeline = format!("p{n}").parse().unwrap();
            pipeline.spec.stages[0].module = ModuleDigest::of(format!("late {n}").as_bytes());
            pipeline
        })
        .collect();
    worker.run_all(&many);
    let mut single = simple("raw", "");
    single.spec.stages[0].module = ModuleDigest::of(fresh());
    world.append(ACME, "in", &texts(["a", "b"]));
    worker.run(&single);
    world.settled(&worker, &single);
    assert_eq!(worker.report(&single).totals.records_in, 2);
    let running = many.iter().filter(|pipeline| worker.report(pipeline).phase == Phase::Running).count();
    assert_eq!(running, 0, "their modules are still on their way");
}
