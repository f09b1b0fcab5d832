//! Commits that end in every way: nothing is lost, nothing comes twice, and no guest runs again for a commit's sake.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_log::inject::{Fate, Injecting};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;

const UNNAMED: Fate = Fate::Aborted { owner: None };

/// How often the guest, which writes what it is given to its stdout, was given this record.
fn runs(worker: &Worker, record: &str) -> usize {
    worker.lines.text().matches(record).count()
}

fn tagged(count: u32) -> Vec<Record> {
    (0..count).map(|i| Record::new(0, format!("<{i}>"))).collect()
}

#[test]
fn a_commit_that_fails_is_made_again_from_memory() {
    for fates in [
        vec![UNNAMED],
        vec![UNNAMED, UNNAMED, UNNAMED, UNNAMED],
        vec![Fate::Aborted { owner: Some(0) }],
        vec![Fate::FencedGroups(vec![0])],
        vec![Fate::UnknownAborted],
        vec![Fate::UnknownCommitted],
        vec![Fate::UnknownAborted, UNNAMED, Fate::FencedGroups(vec![0]), Fate::UnknownCommitted],
    ] {
        let world = World::with_topics(1);
        world.append(ACME, "in", &tagged(40));
        let log = Injecting::new(world.log.clone(), fates.clone());
        let plan = log.plan();
        let worker = Worker::start(Arc::new(log), "w", config());
        let mut pipeline = simple("stdio", "");
        pipeline.spec.batch.records = 3;
        worker.run(&pipeline);
        world.settled(&worker, &pipeline);
        assert_eq!(plan.left(), 0, "{fates:?}");
        assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"), "{fates:?}");
        for i in 0..40 {
            assert_eq!(runs(&worker, &format!("<{i}>")), 1, "record {i} with {fates:?}");
        }
        let totals = worker.report(&pipeline).totals;
        assert_eq!((totals.records_in, totals.records_out), (40, 40), "{fates:?}");
    }
}

#[test]
fn commits_that_fail_at_random_lose_and_double_nothing() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let fates = (0..120).map(|_| match random.random_range(0..10) {
            0 => UNNAMED,
            1 => Fate::Aborted { owner: Some(0) },
            2 => Fate::Aborted { owner: Some(1) },
            3 => Fate::FencedGroups(vec![0]),
            4 => Fate::UnknownCommitted,
            5 => Fate::UnknownAborted,
            _ => Fate::Real,
        });
        let fates: Vec<_> = fates.collect();
        let world = World::with_topics(3);
        world.topics("other", 2);
        world.append(ACME, "in", &numbers(3, 0..600));
        world.append("other", "in", &numbers(2, 0..600));
        let log = Injecting::new(world.log.clone(), fates);
        let worker = Worker::start(Arc::new(log), "w", config());
        let mut pipelines = [simple("filter", ""), simple_of("other", "passthrough", "")];
        for pipeline in &mut pipelines {
            pipeline.spec.batch.records = 20;
            worker.run(pipeline);
        }
        for pipeline in &pipelines {
            let tenant = pipeline.key.tenant.as_str();
            world.settled(&worker, pipeline);
            assert_eq!(world.values(tenant, "out"), world.values(tenant, "in"), "{tenant}, seed {seed}");
            assert_eq!(world.read(tenant, "dead").concat(), []);
        }
    }
}

/// A worker whose slot another took must end, and must not take it back.
#[test]
fn a_worker_that_lost_its_slot_ends() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &numbers(1, 0..50));
    let (first, second) = (world.worker("same"), world.worker("same"));
    let pipeline = simple("passthrough", "");
    first.run(&pipeline);
    world.settled(&first, &pipeline);
    first.stop(&pipeline);
    second.run(&pipeline);
    world.append(ACME, "in", &numbers(1, 50..100));
    world.settled(&second, &pipeline);
    second.stop(&pipeline);
    // The first one's producer is an old one now.
    first.run(&pipeline);
    world.append(ACME, "in", &numbers(1, 100..150));
    until("the first one sees that it has to end", || first.flow.fatal().is_some());
    assert_eq!(first.flow.fatal().unwrap().code, Code::Fenced);
    first.stop(&pipeline);
    second.run(&pipeline);
    world.settled(&second, &pipeline);
    assert_eq!(second.flow.fatal(), None);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}
