//! On a log that does not seal what it keeps: what a pipeline leaves there says nothing of its records, and is there again for who has the key.

use crate::state::stateful;
use crate::support::*;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::dead_letter::Letter;
use bulkhead_vault::LetterPlace;

/// What nobody may find.
const MARKS: [&str; 4] = ["customer-a", "customer-b", "customer-c", "vvvvvvvv"];

fn sealed(version: u32) -> PipelineAssignment {
    PipelineAssignment { key_version: version, revision: version.into(), ..stateful("limits: {retries: 0}") }
}

fn world(pipeline: &PipelineAssignment) -> World {
    let world = World::with_topics(1);
    world.keep_state(pipeline, 1);
    world
}

fn changes(world: &World, pipeline: &PipelineAssignment) -> Vec<Record> {
    let topic = state_topic(pipeline);
    let end = world.log.ends(std::slice::from_ref(&topic)).unwrap()[0][0];
    world.read_partition(&topic, 0, end)
}

/// Which marks are in any byte of these records.
fn found(records: &[Record]) -> Vec<&'static str> {
    let holds = |bytes: &[u8], mark: &str| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
    let parts = |record: &Record| {
        let headers = record.headers.iter().flat_map(|(name, value)| [Some(name.clone().into_bytes()), value.clone()]);
        [record.key.clone(), record.value.clone()].into_iter().chain(headers).flatten().collect::<Vec<_>>()
    };
    let bytes: Vec<_> = records.iter().flat_map(parts).collect();
    MARKS.into_iter().filter(|mark| bytes.iter().any(|bytes| holds(bytes, mark))).collect()
}

/// Runs a pipeline on a worker of its own until these are done, and gives all outputs so far.
fn run(world: &World, slot: &str, pipeline: &PipelineAssignment, commands: &[&str]) -> Vec<String> {
    world.append(ACME, "in", &texts(commands.iter().copied()));
    let worker = world.worker(slot);
    worker.run(pipeline);
    world.settled(&worker, pipeline);
    worker.stop(pipeline);
    world.first(ACME, "out")
}

#[test]
fn sealed_state_is_restored_on_another_worker_after_a_rotation_and_shows_nothing() {
    let world = world(&sealed(1));
    let commands =
        ["count customer-a", "count customer-a", "count customer-b", "fill customer-c 100", "delete customer-b"];
    run(&world, "a", &sealed(1), &commands);
    let outputs = run(&world, "b", &sealed(2), &["count customer-a", "count customer-b", "delete customer-c"]);
    assert_eq!(
        outputs,
        ["customer-a=1", "customer-a=2", "customer-b=1", "customer-c:100", "customer-a=3", "customer-b=1"]
    );
    let again = run(&world, "a", &sealed(2), &["count customer-a", "scan"]);
    assert_eq!(again[6..], ["customer-a=4", "customer-a=4 customer-b=1"]);
    let changes = changes(&world, &sealed(2));
    assert_eq!(found(&changes), [""; 0]);
    let of_a = keys(&sealed(1)).name("state", b"keep\0in\0\0\0\0\0customer-a").unwrap();
    let versions = changes.iter().filter(|change| change.key.as_ref() == Some(&of_a)).count();
    assert_eq!(versions, 3, "the same entry has the same key in the topic, or it would not compact: {changes:?}");
}

/// An entry that was plain and is removed under its sealed name would be there again once the topic forgets that removal.
#[test]
fn state_from_before_it_was_sealed_is_read_and_no_plain_entry_outlives_a_write() {
    let world = world(&sealed(1));
    run(&world, "a", &PipelineAssignment { key_version: 0, ..sealed(1) }, &["count customer-a", "count customer-b"]);
    let plain = changes(&world, &sealed(1));
    assert_eq!(found(&plain), ["customer-a", "customer-b"]);
    let outputs = run(&world, "b", &sealed(2), &["count customer-a", "delete customer-b", "scan"]);
    assert_eq!(outputs[2..], ["customer-a=2", "customer-a=2"]);
    let after = changes(&world, &sealed(1));
    let last_of = |change: &&Record| after.iter().rfind(|last| last.key == change.key).map(|last| last.value.is_none());
    let outlived: Vec<_> = plain.iter().filter(|change| last_of(change) != Some(true)).collect();
    assert!(outlived.is_empty(), "{outlived:?} in {after:?}");
    assert_eq!(run(&world, "a", &sealed(2), &["scan"])[4..], ["customer-a=2"]);
}

#[test]
fn a_state_whose_key_is_not_here_is_never_an_empty_one_and_comes_back_with_the_key() {
    let world = world(&sealed(2));
    run(&world, "a", &sealed(2), &["count customer-a"]);
    world.append(ACME, "in", &texts(["count customer-a"]));
    for version in [0, 1] {
        let worker = world.worker("b");
        let without = PipelineAssignment { key_version: version, ..sealed(2) };
        worker.run(&without);
        let waits = || {
            let report = worker.report(&without);
            (report.phase, report.code) == (Phase::Backoff, Some(Code::StateKeyAway))
        };
        until_or("the pipeline says what it waits for", waits, || format!("{:?}", worker.report(&without)));
        assert_eq!(world.first(ACME, "out"), ["customer-a=1"]);
        worker.run(&PipelineAssignment { revision: 9 + u64::from(version), ..without });
        worker.stop(&sealed(2));
    }
    assert_eq!(run(&world, "c", &sealed(2), &[]), ["customer-a=1", "customer-a=2"]);
}

#[test]
fn a_change_that_was_moved_stops_the_pipeline() {
    let world = world(&sealed(1));
    run(&world, "a", &sealed(1), &["count customer-a", "count customer-b", "count customer-b"]);
    let changes = changes(&world, &sealed(1));
    let mut batch = RecordBatch::default();
    batch.push(0, 0, None, None, []);
    let mut outputs = Outputs::default();
    outputs.push(0, 0, 0, changes[0].key.as_deref(), changes[changes.len() - 1].value.as_deref());
    world.log.append(&state_topic(&sealed(1)), &batch, &outputs).unwrap();
    world.append(ACME, "in", &texts(["count customer-a"]));
    let worker = world.worker("b");
    worker.run(&sealed(1));
    let stopped = || {
        let report = worker.report(&sealed(1));
        (report.phase, report.code) == (Phase::Failed, Some(Code::StateBroken))
    };
    until_or("the pipeline says that its state is not what it was", stopped, || {
        format!("{:?}", worker.report(&sealed(1)))
    });
}

#[test]
fn a_sealed_dead_letter_shows_nothing_of_its_record_and_opens_as_it() {
    let world = world(&sealed(1));
    let poison = |record: Record| {
        let headers = vec![("from".to_owned(), Some(b"customer-b".to_vec()))];
        Record { key: Some(b"customer-a".to_vec()), headers, ..record }
    };
    let records: Vec<_> = texts(["reject customer-c", "trap customer-c"]).into_iter().map(poison).collect();
    world.append(ACME, "in", &records);
    let letters = |pipeline: &PipelineAssignment, from: usize| {
        let worker = world.worker("w");
        worker.run(pipeline);
        world.settled(&worker, pipeline);
        worker.stop(pipeline);
        world.dead().split_off(from)
    };
    let sealed_letters = letters(&sealed(1), 0);
    assert_eq!((sealed_letters.len(), found(&sealed_letters)), (2, vec![]));
    world.append(ACME, "in", &records);
    let mut open = sealed(1);
    (open.spec.dead_letter_sealed, open.revision) = (false, 2);
    let plain = letters(&open, 2);
    assert_eq!(found(&plain), MARKS[..3]);

    let keys = keys(&sealed(1));
    for (letter, plain) in sealed_letters.iter().zip(&plain) {
        let read = |headers: &[(String, Option<Vec<u8>>)]| {
            Letter::read(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()))).unwrap()
        };
        let (outside, _) = read(&letter.headers);
        let place = LetterPlace { topic: &sealed(1).spec.dead_letter, source: &outside.source };
        let mut opened = RecordBatch::default();
        keys.open_letter(place, letter.value.as_ref().unwrap(), (0, letter.timestamp), &mut opened).unwrap();
        assert_eq!((opened.keys.get(0), opened.values.get(0)), (plain.key.as_deref(), plain.value.as_deref()));
        let (inside, own) = Letter::read(opened.headers.row(0)).unwrap();
        let (there, _) = read(&plain.headers);
        assert_eq!((&inside.reason, inside.fuel, inside.code, own), (&there.reason, there.fuel, there.code, 1));
        assert_eq!((outside.code, outside.fuel, outside.complete), (there.code, there.fuel, false));
    }
}
