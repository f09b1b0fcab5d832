//! Stages that fail: exactly the records at fault become dead letters, with the evidence, and all others go through in order.

use crate::support::*;
use bulkhead_core::assignment::Phase;
use bulkhead_core::code::Code;
use bulkhead_core::name::ModuleDigest;

/// What a guest makes of the values that begin with `!`.
struct Case {
    guest: &'static str,
    bad: &'static str,
    limits: &'static str,
    code: &'static str,
    kind: &'static str,
    reason: &'static str,
}

impl Case {
    /// Ten records of which the fourth and the last are bad.
    fn values(&self) -> Vec<&'static str> {
        (0..10).map(|i| if i == 3 || i == 9 { self.bad } else { ["a", "b", "c"][i % 3] }).collect()
    }

    /// Runs the records and gives the fuel of the dead letters.
    fn run(&self) -> Vec<String> {
        let Self { guest, limits, code, kind, .. } = self;
        let world = World::with_topics(1);
        let mut records = texts(self.values());
        records[3].key = Some(b"key".to_vec());
        records[3].headers.push(("mine".to_owned(), Some(b"1".to_vec())));
        world.append(ACME, "in", &records);
        let worker = world.worker("w");
        let pipeline = simple(guest, &format!("limits: {{{limits}}}"));
        worker.run(&pipeline);
        world.settled(&worker, &pipeline);
        let good: Vec<_> = self.values().into_iter().filter(|value| *value != self.bad).collect();
        assert_eq!(world.first(ACME, "out"), good, "{guest}");
        let dead = world.dead();
        assert_eq!(dead.iter().map(Record::text).collect::<Vec<_>>(), [self.bad; 2], "{guest}");
        let came = world.read(ACME, "in").concat();
        for (letter, source) in dead.iter().zip([3, 9]) {
            assert_eq!((&letter.key, letter.timestamp), (&came[source].key, came[source].timestamp));
            assert!(letter.headers.starts_with(&came[source].headers));
            let module = ModuleDigest::of(bulkhead_test_guests::STEERED).to_string();
            for (name, value) in [
                ("code", *code),
                ("kind", *kind),
                ("stage", "only"),
                ("pipeline", "p"),
                ("revision", "1"),
                ("module", &module),
                ("topic", "in"),
                ("partition", "0"),
                ("offset", &source.to_string()),
            ] {
                assert_eq!(letter.evidence(name), value, "{guest}: {name}");
            }
            let reason = letter.evidence("reason");
            assert!(reason.contains(self.reason), "{guest}: {reason}");
        }
        assert_eq!(worker.report(&pipeline).totals.dead_letters, 2, "{guest}");
        dead.iter().map(|letter| letter.evidence("fuel")).collect()
    }

    /// The evidence is the same in every run.
    fn repeats(&self) {
        let fuel = self.run();
        assert!(fuel.iter().all(|fuel| fuel.parse::<u64>().unwrap() > 0), "{}: {fuel:?}", self.guest);
        assert_eq!(self.run(), fuel, "{}", self.guest);
    }
}

const CASE: Case = Case { guest: "", bad: "!", limits: "", code: "", kind: "", reason: "" };

#[test]
fn a_trap() {
    let case = Case { guest: "trap", code: "BH0301", kind: "trap", reason: "cannot parse !", ..CASE };
    case.repeats();
}

#[test]
fn a_trap_says_where() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["!"]));
    let worker = world.worker("w");
    let pipeline = simple("trap", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    let trace = world.dead()[0].evidence("backtrace");
    assert!(trace.contains("refuse_to_parse"), "{trace}");
}

#[test]
fn a_loop() {
    Case {
        guest: "spin",
        limits: "fuelPerRecord: 3000000",
        code: "BH0302",
        kind: "out-of-fuel",
        reason: "3000000 fuel",
        ..CASE
    }
    .repeats();
}

#[test]
fn no_end_of_memory() {
    Case {
        guest: "exhaust_memory",
        limits: "memoryBytes: 8000000",
        code: "BH0303",
        kind: "out-of-memory",
        reason: "denied more memory",
        ..CASE
    }
    .repeats();
}

#[test]
fn a_sleep() {
    Case {
        guest: "sleep",
        limits: "deadlineMs: 300",
        code: "BH0304",
        kind: "deadline",
        reason: "longer than 300 ms",
        ..CASE
    }
    .run();
}

#[test]
fn columns_that_break_the_rules() {
    Case { guest: "malformed", bad: "!inherit", code: "BH0305", kind: "malformed-output", reason: "inherit", ..CASE }
        .repeats();
}

#[test]
fn marks_that_do_not_rise() {
    Case { guest: "marks_backwards", code: "BH0305", kind: "misuse", reason: "indexes must rise", ..CASE }.repeats();
}

#[test]
fn an_output_above_the_stages_limit() {
    Case {
        guest: "huge_output",
        // Filling and copying cost fuel by the byte.
        limits: "fuelPerRecord: 500000000",
        code: "BH0306",
        kind: "output-too-large",
        reason: "bytes",
        ..CASE
    }
    .repeats();
}

/// The guest looks only at the first record of a batch, so the bad ones are found by halving.
#[test]
fn a_stage_that_never_marks() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["!0", "a", "b", "c", "d", "e", "f"]));
    let worker = world.worker("w");
    let pipeline = simple("never_marks", "limits: {fuelPerRecord: 1000000}");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.first(ACME, "out"), ["a", "b", "c", "d", "e", "f"]);
    let dead = world.dead();
    assert_eq!(dead.iter().map(Record::text).collect::<Vec<_>>(), ["!0"]);
    assert_eq!((dead[0].evidence("kind").as_str(), dead[0].evidence("fuel").as_str()), ("out-of-fuel", "1000000"));
    // Seven, three and the one, and the one again for the evidence: reruns are bounded by the halvings.
    let fuel = worker.report(&pipeline).totals.fuel;
    assert!((12_000_000..20_000_000).contains(&fuel), "{fuel}");
}

/// The contract's columns are broken by some record of the batch, nobody says by which.
#[test]
fn faults_without_a_name_are_found_by_halving() {
    let values: Vec<_> = (0..33).map(|i| if [0, 7, 8, 32].contains(&i) { "!inherit" } else { "a" }).collect();
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(values.iter().copied()));
    let worker = world.worker("w");
    let pipeline = simple("malformed", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.first(ACME, "out").len(), 29);
    let offsets: Vec<_> = world.dead().iter().map(|letter| letter.evidence("offset")).collect();
    assert_eq!(offsets, ["0", "7", "8", "32"]);
}

#[test]
fn a_record_that_fails_only_in_company() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["a", "!", "b", "c", "!"]));
    let worker = world.worker("w");
    let pipeline = simple("company", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    // The last one is alone once those before it are set apart.
    assert_eq!(world.first(ACME, "out"), ["a", "b", "c", "!"]);
    let dead = world.dead();
    assert_eq!(dead.iter().map(|letter| letter.evidence("offset")).collect::<Vec<_>>(), ["1"]);
    assert_eq!((dead[0].evidence("code").as_str(), dead[0].evidence("kind").as_str()), ("BH0310", "state-dependent"));
    let reason = dead[0].evidence("reason");
    assert!(reason.contains("passes alone") && reason.contains("not alone"), "{reason}");
}

/// A record that leaves no memory for the next ones is at fault, not these.
#[test]
fn the_one_before_is_to_blame() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["a", "!", "b", "c"]));
    let worker = world.worker("w");
    let pipeline = simple("huge_output", "limits: {fuelPerRecord: 500000000}");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.first(ACME, "out"), ["a", "b", "c"]);
    let dead = world.dead();
    assert_eq!(dead.iter().map(Record::text).collect::<Vec<_>>(), ["!"]);
    assert_eq!(dead[0].evidence("kind"), "output-too-large");
}

/// The stage itself refuses: the first of them in a batch are run alone for their fuel, and the rest of a flood are not.
#[test]
fn a_refusal() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["a", "!no carrier", "b"]));
    let worker = world.worker("w");
    let pipeline = simple("exceptions", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.first(ACME, "out"), ["a", "b"]);
    let dead = world.dead();
    assert_eq!((dead.len(), dead[0].evidence("kind").as_str()), (1, "rejected"));
    assert_eq!(dead[0].evidence("reason"), "!no carrier");
    assert!(dead[0].evidence("fuel").parse::<u64>().unwrap() > 0);

    world.append(ACME, "in", &vec![Record::new(0, "!no"); 100]);
    world.settled(&worker, &pipeline);
    let dead = world.dead();
    let weighed = dead.iter().filter(|letter| letter.headers.iter().any(|(name, _)| name == "bulkhead-fuel")).count();
    assert_eq!(dead.len(), 101);
    assert!((2..=50).contains(&weighed), "{weighed} of 101 were run alone");
}

/// A stage whose records are each quick enough, but not all together within the deadline.
#[test]
fn a_batch_that_is_only_too_slow_loses_nothing() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["200000000"; 12]));
    let worker = world.worker("w");
    let pipeline = simple("work", "limits: {deadlineMs: 700, fuelPerRecord: 1000000000}");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    assert_eq!(world.dead(), []);
    assert_eq!(world.first(ACME, "out").len(), 12);
}

/// A fault in the second stage takes the record out of everything, also what the first stage made of it.
#[test]
fn a_later_stage_condemns_the_source_record() {
    let world = World::with_topics(1);
    world.topic(ACME, "side", 1, None);
    world.append(ACME, "in", &texts(["a", "!", "b", "!", "c"]));
    let worker = world.worker("w");
    let chain = pipeline(
        ACME,
        "
apiVersion: bulkhead/v1
kind: Pipeline
name: chain
inputs: [{topic: in}]
stages:
  - {name: first, module: guests, config: fan_out, outputs: {next: {stage: second}, side: {topic: side}}}
  - {name: second, module: guests, config: trap, outputs: {out: {topic: out}}}
deadLetter: {topic: dead}
",
    );
    worker.run(&chain);
    world.settled(&worker, &chain);
    assert_eq!(world.first(ACME, "out"), ["a", "b", "c"]);
    assert_eq!(world.first(ACME, "side"), ["a", "b", "c"]);
    let dead = world.dead();
    assert_eq!(dead.iter().map(|d| d.evidence("offset")).collect::<Vec<_>>(), ["1", "3"]);
    for letter in dead {
        assert_eq!((letter.evidence("stage").as_str(), letter.text().as_str()), ("second", "!"));
        assert_eq!(letter.key, None, "the dead letter is the record as it came");
    }
}

#[test]
fn a_stage_that_does_not_start_costs_no_record() {
    for guest in ["init_fails", "init_traps", "init_spins"] {
        let world = World::with_topics(1);
        world.append(ACME, "in", &texts(["a", "b"]));
        let worker = world.worker("w");
        let pipeline = simple(guest, "");
        worker.run(&pipeline);
        until("the pipeline says so", || worker.report(&pipeline).code == Some(Code::StageInit));
        let report = worker.report(&pipeline);
        assert_eq!(report.phase, Phase::Backoff);
        if guest == "init_fails" {
            let message = report.message.unwrap();
            assert!(message.contains("no rates for this year"), "{message}");
        }
        let mut next = simple("passthrough", "");
        next.revision = 2;
        worker.run(&next);
        world.settled(&worker, &next);
        assert_eq!(world.first(ACME, "out"), ["a", "b"]);
        assert_eq!(world.dead(), []);
    }
}

#[test]
fn a_stage_that_fails_always_slows_down_says_so_and_moves_on() {
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["!"; 300]));
    let worker = world.worker("w");
    let mut pipeline = simple("trap", "");
    pipeline.spec.batch.records = 50;
    worker.run(&pipeline);
    until("it says so", || worker.report(&pipeline).code == Some(Code::PipelineBackoff));
    world.settled(&worker, &pipeline);
    assert_eq!(world.dead().len(), 300);
    world.append(ACME, "in", &texts(["good"]));
    world.settled(&worker, &pipeline);
    let report = worker.report(&pipeline);
    assert_eq!((report.phase, report.code), (Phase::Running, None));
}
