//! The pipeline `delays` over the whole sample, by its stage: whatever the batches, the restarts and the number of partitions, it says what
//! `expected` says, and so what `expected.py` says.

use bulkhead_example_data::{Record, Source, departures, expected};
use bulkhead_harness::{Case, Emitted, Input, Report};
use flights_delays::delays;

const LATENESS_HOURS: i64 = 6;
const IDLE_MS: i64 = 60_000;

fn records() -> Vec<Record> {
    departures(&Source::Sample).unwrap().map(Result::unwrap).collect()
}

/// The partition of a route.
fn partition(key: &str, partitions: usize) -> usize {
    key.bytes().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % partitions
}

/// All records, and at the end two ticks, far enough apart that every partition is closed.
fn case(records: &[Record], partitions: usize, batch: usize, restart_every: usize) -> Case {
    let mut case = Case::new()
        .inputs(["departures"])
        .outputs(["hourly", "late", "table"])
        .settings(format!(r#"{{"latenessHours": {LATENESS_HOURS}, "idleSeconds": {}}}"#, IDLE_MS / 1000))
        .batch_records(batch);
    // A partition's records come in runs, as a consumer gets them.
    for (n, run) in records.chunks(997).enumerate() {
        for own in 0..partitions {
            let run = run.iter().filter(|record| partition(&record.key, partitions) == own);
            let inputs = run.map(|record| Input::new(record.value.as_str()).key(record.key.as_str()));
            case = case.records(inputs.map(|input| input.partition(own as i32)));
            case = case.tick_of(0, own as i32, n as i64);
        }
        case = if n % restart_every == restart_every - 1 { case.restart() } else { case };
    }
    for now in [1_000_000, 1_000_000 + IDLE_MS] {
        case = (0..partitions as i32).fold(case, |case, partition| case.tick_of(0, partition, now));
    }
    case
}

fn row(emitted: &Emitted) -> (String, String) {
    (String::from_utf8(emitted.key.clone().expect("a key")).expect("text"), emitted.text().to_owned())
}

fn assert_expected(report: &Report, records: &[Record], partitions: usize) {
    let (mut rows, mut late) = (Vec::new(), Vec::new());
    for own in 0..partitions {
        let own: Vec<_> = records.iter().filter(|record| partition(&record.key, partitions) == own).collect();
        let expected = expected::delays(own.iter().copied(), LATENESS_HOURS).expect("records of this data set");
        late.extend(expected.late.iter().map(|place| (own[*place].key.clone(), own[*place].value.clone())));
        rows.extend(expected.rows);
    }
    for (output, mut wanted) in [("hourly", rows.clone()), ("table", rows), ("late", late)] {
        let mut sent: Vec<_> = report.to(output).into_iter().map(row).collect();
        // One partition's order is the order; several take turns.
        if partitions > 1 {
            sent.sort();
            wanted.sort();
        }
        assert!(sent == wanted, "{output}: {} sent, {} wanted, or another order", sent.len(), wanted.len());
    }
    assert_eq!(report.rejected, []);
    assert!(report.state.values().all(|state| state.len() == 1), "nothing but the clock is left");
}

#[test]
fn delays_are_exact_whatever_the_batches_restarts_and_partitions() {
    let records = records();
    for (partitions, batch, restart_every) in [(1, 1, 1_000), (1, 5_000, 1), (4, 64, 2), (7, 1_000, 3)] {
        let report = case(&records, partitions, batch, restart_every).run::<delays>();
        assert_expected(&report, &records, partitions);
    }
}
