//! Declared bucket outputs: every committed row is in exactly one object, whatever ends how in between.

use crate::support::*;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_core::manifest::Target;
use bulkhead_core::name::ModuleDigest;
use bulkhead_core::scope::{GroupId, OutputPath, PhysicalTopic, TenantScope};
use bulkhead_flow::FlowConfig;
use bulkhead_log::inject::{Fate, Injecting};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
    let digest = &ModuleDigest::of(sink(&pipeline).0.as_str().as_bytes()).hex()[..8];
    let key = |partition| format!("rows/{partition}-00000000000000000000-{digest}.jsonl");
    assert_eq!(keys, [key(0), key(1)]);
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

/// The topics of rows and manifests of a pipeline's only output, and the group of its sinks.
fn sink(pipeline: &PipelineAssignment) -> (PhysicalTopic, PhysicalTopic, GroupId) {
    let scope = TenantScope::assume(ACME.parse().unwrap());
    let stage = &pipeline.spec.stages[0];
    let path = OutputPath { pipeline: pipeline.path(), stage: &stage.name, output: &stage.outputs[0].name };
    let Target::Bucket(output) = &stage.outputs[0].target else { panic!("no bucket output") };
    (scope.rows_topic(&path, &output.columns), scope.manifests_topic(&path), scope.sink_group(&path))
}

/// How many records of each partition the log still has.
fn kept(world: &World, topic: &PhysicalTopic) -> Vec<usize> {
    let ends = world.log.ends(std::slice::from_ref(topic)).unwrap().remove(0);
    (0..ends.len()).map(|partition| world.read_partition(topic, partition as i32, ends[partition]).len()).collect()
}

/// Kafka forgets a group that had no members for a week. Were its rows read again, they would come in other cuts than
/// before, and so in other objects.
#[test]
fn a_group_that_the_log_forgot_doubles_nothing() {
    let world = World::with_topics(2);
    let pipeline = to_bucket("{everyMs: 100}");
    // All rows are still there.
    let never = || FlowConfig { trim_every: Duration::from_secs(3_600), ..config() };
    let worker = world.worker_with("w", never());
    worker.run(&pipeline);
    // In two objects of each partition; read again, all would be in one.
    for half in [0..50, 50..100] {
        let wanted = 2 * half.end as usize;
        world.append(ACME, "in", &numbers(2, half));
        until("all is published", || count(&rows(&world)) == wanted);
    }
    drop(worker);
    let (of_rows, _, group) = sink(&pipeline);
    assert_eq!(kept(&world, &of_rows), [100, 100]);
    world.log.delete_group(&group).unwrap();
    world.append(ACME, "in", &numbers(2, 100..200));
    let worker = world.worker_with("w", never());
    worker.run(&pipeline);
    until("what is new is published", || count(&rows(&world)) >= 400);
    drop(worker);
    assert_eq!(rows(&world), expected(2, 200));
}

/// What is in published objects goes from the log; what is not stays, however long the store is away; and nothing is lost or doubled by it.
#[test]
fn rows_go_from_the_log_when_they_are_published_and_not_before() {
    let world = World::with_topics(2);
    world.append(ACME, "in", &numbers(2, 0..100));
    let pipeline = to_bucket("{records: 30, everyMs: 100}");
    let (of_rows, of_manifests, group) = sink(&pipeline);
    let worker = world.worker("w");
    worker.run(&pipeline);
    until("all is published", || count(&rows(&world)) == 200);
    until("no row is left in the log", || kept(&world, &of_rows) == [0, 0]);
    until("each partition's last manifest is left", || kept(&world, &of_manifests) == [1, 1]);
    drop(worker);

    // Staging works, publishing does not.
    let bucket = world.folder.path().join("buckets/acme");
    let aside = world.folder.path().join("aside");
    std::fs::rename(&bucket, &aside).unwrap();
    std::fs::write(&bucket, "a file where a folder should be").unwrap();
    world.append(ACME, "in", &numbers(2, 100..200));
    let worker = world.worker("w");
    worker.run(&pipeline);
    let committed = || world.log.committed(&group, std::slice::from_ref(&of_rows)).unwrap().remove(0);
    until("all is staged and named", || committed() == [Some(200), Some(200)]);
    until("it says that the bucket is away", || worker.report(&pipeline).phase == Phase::Backoff);
    assert_eq!(kept(&world, &of_rows), [100, 100], "their objects are not published");
    std::fs::remove_file(&bucket).unwrap();
    std::fs::rename(&aside, &bucket).unwrap();
    until("all is published", || count(&rows(&world)) == 400);
    until("no row is left in the log", || kept(&world, &of_rows) == [0, 0]);
    drop(worker);

    // Even to a group whose positions are forgotten, they are as if they had been read.
    world.log.delete_group(&group).unwrap();
    world.append(ACME, "in", &numbers(2, 200..250));
    let worker = world.worker("v");
    worker.run(&pipeline);
    until("what is new is published", || count(&rows(&world)) >= 500);
    drop(worker);
    assert_eq!(rows(&world), expected(2, 250));
}

/// A pipeline that was deleted and made again counts its rows from nought, in topics of its own, and leaves the objects of the first.
#[test]
fn a_pipeline_made_again_inherits_no_rows_and_writes_over_no_object() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &numbers(1, 0..50));
    let first = PipelineAssignment { incarnation: "1".to_owned(), ..to_bucket("{records: 10, everyMs: 3600000}") };
    let worker = world.worker("w");
    worker.run(&first);
    until("all is published", || count(&rows(&world)) == 50);
    worker.stop(&first);
    let scope = TenantScope::assume(ACME.parse().unwrap());
    world.log.delete_group(&scope.group(&first.key.project, &first.key.pipeline)).unwrap();
    let second = PipelineAssignment { incarnation: "2".to_owned(), ..first.clone() };
    worker.run(&second);
    until_or("all is published again", || count(&rows(&world)) >= 100, || format!("{:?}", count(&rows(&world))));
    drop(worker);
    let twice = |numbers: &Vec<u64>| {
        numbers.iter().fold(BTreeMap::new(), |mut all, n| {
            *all.entry(*n).or_insert(0) += 1;
            all
        })
    };
    assert!(
        rows(&world).values().all(|numbers| twice(numbers).values().all(|count| *count == 2)),
        "{:?}",
        rows(&world)
    );
}
