//! What a pipeline says that it has used: once for each record, however its commits end, and waste apart.

use crate::support::*;
use bulkhead_core::assignment::PipelineAssignment;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::usage::{UsageRecord, Used};
use bulkhead_log::inject::{Fate, Injecting};
use std::sync::Arc;

const UNNAMED: Fate = Fate::Aborted { owner: None };

/// All usage records of [`ACME`], summed up, with how many there are.
fn used(world: &World, pipeline: &PipelineAssignment) -> (usize, Used) {
    let topic = TenantScope::assume(ACME.parse().unwrap()).usage_topic();
    let end = world.log.ends(std::slice::from_ref(&topic)).unwrap().remove(0)[0];
    let (mut count, mut sum) = (0, Used::default());
    for read in world.read_partition(&topic, 0, end) {
        let record: UsageRecord = serde_json::from_str(&read.text()).unwrap();
        assert_eq!((&record.pipeline, record.revision), (&pipeline.key.pipeline, pipeline.revision));
        record.stages.iter().for_each(|stage| sum += stage.used);
        count += 1;
    }
    (count, sum)
}

fn run(guest: &str, records: &[Record], fates: Vec<Fate>) -> (usize, Used, u64) {
    let world = World::with_topics(1);
    world.append(ACME, "in", records);
    let log = Injecting::new(world.log.clone(), fates);
    let plan = log.plan();
    let worker = Worker::start(Arc::new(log), "w", config());
    let mut pipeline = simple(guest, "");
    pipeline.spec.batch.records = 3;
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(plan.left(), 0);
    let burnt = worker.report(&pipeline).totals.fuel;
    let (count, used) = used(&world, &pipeline);
    (count, used, burnt)
}

#[test]
fn what_is_billed_is_the_same_however_commits_end() {
    let records: Vec<_> = (0..40).map(|i| Record::new(0, format!("<{i}>"))).collect();
    let bytes: u64 = records.iter().map(|record| record.text().len() as u64).sum();
    let (batches, undisturbed, burnt) = run("stdio", &records, Vec::new());
    assert!(undisturbed.fuel > 0 && batches >= 14, "{batches} batches: {undisturbed:?}");
    assert_eq!((undisturbed.records_in, undisturbed.records_out, undisturbed.bytes_in), (40, 40, bytes));
    assert_eq!(undisturbed.fuel + undisturbed.wasted.fuel(), burnt, "all that was burnt is told");
    assert_eq!(undisturbed.wasted.fuel(), undisturbed.wasted.start);
    for fates in [
        vec![UNNAMED; 4],
        vec![Fate::Aborted { owner: Some(0) }],
        vec![Fate::FencedGroups(vec![0])],
        vec![Fate::UnknownAborted],
        vec![Fate::UnknownCommitted],
        vec![Fate::UnknownAborted, UNNAMED, Fate::FencedGroups(vec![0]), Fate::UnknownCommitted],
    ] {
        let (count, used, _) = run("stdio", &records, fates.clone());
        assert_eq!((count, used.fuel), (batches, undisturbed.fuel), "{fates:?}");
        assert_eq!((used.records_in, used.records_out, used.bytes_in), (40, 40, bytes), "{fates:?}");
    }
}

#[test]
fn faulty_runs_and_those_that_confirm_are_waste_and_no_record_of_the_others_is() {
    let good: Vec<_> = (0..30).map(|i| Record::new(0, format!("{i}"))).collect();
    let mut records = good.clone();
    records.insert(10, Record::new(0, "!x"));
    let (_, used, burnt) = run("trap", &records, Vec::new());
    assert_eq!((used.records_in, used.records_out), (31, 30));
    assert!(used.wasted.failed > 0 && used.wasted.confirm > 0, "{used:?}");
    assert_eq!(used.fuel + used.wasted.fuel(), burnt);
}
