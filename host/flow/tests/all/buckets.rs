//! Declared bucket outputs: every committed row is in exactly one object, whatever ends how in between.

use crate::support::*;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_log::inject::{Fate, Injecting};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A pipeline whose rows go to the bucket `data`, below `rows/`.
fn to_bucket(roll: &str) -> PipelineAssignment {
    let text = format!(
        "
apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{{topic: in}}]
stages:
  - name: only
    module: guests
    config: to_rows
    outputs:
      out:
        bucket: data
        prefix: rows/
        format: jsonl
        columns: [{{name: n, type: int64}}, {{name: by, type: string}}, {{name: partition, type: int64}}]
        roll: {roll}
deadLetter: {{topic: dead}}
"
    );
    pipeline(ACME, &text)
}

/// Every file below a folder, by its path from there.
fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries.map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned(), path);
            }
        }
    }
    found
}

/// All rows of all objects: for each `by` and partition, the numbers in the order of keys and lines.
fn rows(world: &World) -> BTreeMap<(String, u64), Vec<u64>> {
    let mut rows: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (key, path) in files(&world.folder.path().join("buckets/acme/data")) {
        let partition: u64 = key.rsplit('/').next().unwrap().split('-').next().unwrap().parse().unwrap();
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let n = line.strip_prefix("{\"n\":").and_then(|line| line.split(',').next()).unwrap().parse().unwrap();
            let by = format!("by={}", n % 3);
            assert!(!key.contains("by=") || key.starts_with(&format!("rows/{by}/")), "{n} is in {key}");
            assert!(line.ends_with(&format!("\"partition\":{partition}}}")), "{line} is in {key}");
            rows.entry((by, partition)).or_default().push(n);
        }
    }
    rows
}

/// What `count` numbers in each of `partitions` partitions come to.
fn expected(partitions: u64, count: u64) -> BTreeMap<(String, u64), Vec<u64>> {
    let keys = (0..partitions).flat_map(|partition| (0..3).map(move |by| (partition, by)));
    keys.map(|(partition, by)| ((format!("by={by}"), partition), (0..count).filter(|n| n % 3 == by).collect()))
        .collect()
}

fn count(rows: &BTreeMap<(String, u64), Vec<u64>>) -> usize {
    rows.values().map(Vec::len).sum()
}

#[test]
fn every_row_is_in_one_object_however_commits_end() {
    for seed in 0..4 {
        let mut random = StdRng::seed_from_u64(seed);
        let fates = (0..60).map(|_| match random.random_range(0..8) {
            0 => Fate::Aborted { owner: None },
            1 => Fate::FencedGroups(vec![0]),
            2 | 3 => Fate::UnknownCommitted,
            4 => Fate::UnknownAborted,
            _ => Fate::Real,
        });
        let world = World::with_topics(3);
        world.append(ACME, "in", &numbers(3, 0..400));
        let log = Injecting::new(world.log.clone(), fates.collect::<Vec<_>>());
        let plan = log.plan();
        let log: Arc<dyn bulkhead_log::Log> = Arc::new(log);
        let mut pipeline = to_bucket("{records: 40, everyMs: 100, by: by}");
        pipeline.spec.batch.records = 20;
        let worker = Worker::start_with(log.clone(), world.buckets.clone(), "w", config());
        worker.run(&pipeline);
        until_or("rows are published", || count(&rows(&world)) >= 300, || format!("{:?}", count(&rows(&world))));
        // In the middle of it, another worker takes over.
        drop(worker);
        world.append(ACME, "in", &numbers(3, 400..600));
        let worker = Worker::start_with(log, world.buckets.clone(), "v", config());
        worker.run(&pipeline);
        until_or("all is published", || count(&rows(&world)) >= 1_800, || format!("{:?}", count(&rows(&world))));
        drop(worker);
        assert_eq!(rows(&world), expected(3, 600), "seed {seed}, {} fates left", plan.left());
        assert_eq!(world.dead(), []);
    }
}

#[test]
fn what_is_under_way_becomes_objects_when_the_pipeline_stops() {
    let world = World::with_topics(2);
    world.append(ACME, "in", &numbers(2, 0..100));
    let pipeline = to_bucket("{everyMs: 3600000}");
    let worker = world.worker("w");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(count(&rows(&world)), 0);
    worker.stop(&pipeline);
    assert_eq!(rows(&world), expected(2, 100));
    assert_eq!(files(&world.folder.path().join("buckets/acme/data")).len(), 2, "one object for each partition");
    assert_eq!(files(&world.folder.path().join("buckets/_bulkhead.staged")).len(), 0);
    let keys: Vec<_> = files(&world.folder.path().join("buckets/acme/data")).into_keys().collect();
    assert_eq!(keys, ["rows/0-00000000000000000000.jsonl", "rows/1-00000000000000000000.jsonl"]);
}

#[test]
fn a_row_that_does_not_fit_costs_its_record_alone() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["0", "!seven", "1", "2"]));
    let pipeline = to_bucket("{everyMs: 100}");
    let worker = world.worker("w");
    worker.run(&pipeline);
    until("the good rows are published", || count(&rows(&world)) == 3);
    let dead = world.dead();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].text().as_str(), dead[0].evidence("code").as_str()), ("!seven", "BH0322"));
    assert!(dead[0].evidence("reason").contains("column `n`"), "{}", dead[0].evidence("reason"));
}

/// What a store that is away does to rows: they wait, and the pipeline says so.
#[test]
fn rows_wait_for_a_bucket_that_is_away() {
    for in_the_way in ["_bulkhead.staged", "acme"] {
        let world = World::with_topics(1);
        let wall = world.folder.path().join("buckets").join(in_the_way);
        std::fs::write(&wall, "a file where a folder should be").unwrap();
        world.append(ACME, "in", &numbers(1, 0..50));
        let pipeline = to_bucket("{records: 10}");
        let worker = world.worker("w");
        worker.run(&pipeline);
        let away = || {
            let report = worker.report(&pipeline);
            report.phase == Phase::Backoff && report.code == Some(Code::BucketUnavailable)
        };
        until_or("it says that the bucket is away", away, || format!("{:?}", worker.report(&pipeline)));
        // Records flow all the same.
        until("all input is committed", || world.lag(&pipeline) == 0);
        std::fs::remove_file(wall).unwrap();
        until("all is published", || count(&rows(&world)) == 50);
        until("it says that the bucket is back", || worker.report(&pipeline).phase == Phase::Running);
        assert_eq!((rows(&world), world.dead()), (expected(1, 50), vec![]));
    }
}

/// Kafka forgets a group that had no members for a week.
#[test]
fn a_group_that_the_log_forgot_doubles_nothing() {
    let world = World::with_topics(2);
    world.append(ACME, "in", &numbers(2, 0..100));
    let pipeline = to_bucket("{everyMs: 100}");
    let worker = world.worker("w");
    worker.run(&pipeline);
    until("all is published", || count(&rows(&world)) == 200);
    drop(worker);
    let scope = bulkhead_core::scope::TenantScope::assume(ACME.parse().unwrap());
    let stage = &pipeline.spec.stages[0];
    let path = bulkhead_core::scope::OutputPath {
        project: &pipeline.key.project,
        pipeline: &pipeline.key.pipeline,
        stage: &stage.name,
        output: &stage.outputs[0].name,
    };
    world.log.delete_group(&scope.sink_group(&path)).unwrap();
    world.append(ACME, "in", &numbers(2, 100..200));
    let worker = world.worker("w");
    worker.run(&pipeline);
    until("what is new is published", || count(&rows(&world)) >= 400);
    drop(worker);
    assert_eq!(rows(&world), expected(2, 200));
}
