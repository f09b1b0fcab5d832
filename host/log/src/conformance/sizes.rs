//! Batches and records of every size.

use super::member::source;
use super::names::{Bench, COMMIT, PATIENCE, numbered};
use super::rows::{Rows, held};
use crate::{CommitOutcome, Event, Keep, TopicSpec};
use bulkhead_core::code::Code;
use bulkhead_core::limits::BatchLimits;
use std::time::Instant;

/// No batch has more records or bytes than asked for, and nothing is lost at the cuts.
pub fn batches_keep_to_their_limits(bench: &Bench) {
    let topic = bench.make("in", 1);
    bench.append(&topic, 0, numbered(&"x".repeat(100), 0..500));
    for limits in
        [BatchLimits { records: 7, ..BatchLimits::default() }, BatchLimits { bytes: 1_000, ..BatchLimits::default() }]
    {
        let mut member = bench.join(&format!("g{}", limits.records), &[&topic]);
        member.close();
        let mut spec = bench.spec(&format!("h{}", limits.records), &[&topic]);
        spec.batch = limits;
        member = super::member::Member::join(&*bench.log, spec);
        let until = Instant::now() + PATIENCE;
        while member.count() < 500 && Instant::now() < until {
            if let Event::Batch(fetched) = member.poll() {
                assert!(fetched.batch.len() <= limits.records as usize, "{} records", fetched.batch.len());
                assert!(
                    fetched.batch.values.data.len() as u64 <= limits.bytes,
                    "{} bytes",
                    fetched.batch.values.data.len()
                );
            }
        }
        assert_eq!(member.read[&source(0)], numbered(&"x".repeat(100), 0..500));
    }
}

/// The largest batch that a manifest may ask for comes whole.
pub fn eight_mebibytes_come_in_one_batch(bench: &Bench) {
    let topic = bench.make("in", 1);
    // 80 records of 100 KiB: 8,192,000 bytes, under 8 MiB.
    for _ in 0..8 {
        bench.append(&topic, 0, (0..10).map(|_| "x".repeat(102_400)));
    }
    let mut spec = bench.spec("g", &[&topic]);
    spec.batch = BatchLimits { records: 80, bytes: BatchLimits::MAX.bytes, linger_ms: BatchLimits::MAX.linger_ms };
    spec.queue_bytes = 64 << 20;
    let mut member = super::member::Member::join(&*bench.log, spec);
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "no batch");
        if let Event::Batch(fetched) = member.poll() {
            assert_eq!((fetched.batch.len(), fetched.batch.values.data.len()), (80, 8_192_000));
            return;
        }
    }
}

/// A record above the batch's bytes is given, in a batch of its own, and its neighbours in theirs.
pub fn a_record_larger_than_a_batch_comes_alone(bench: &Bench) {
    let topic = bench.make("in", 1);
    bench.append(&topic, 0, ["small".to_owned(), "L".repeat(5_000), "after".to_owned()]);
    let mut spec = bench.spec("g", &[&topic]);
    spec.batch = BatchLimits { bytes: 1_000, ..BatchLimits::default() };
    let mut member = super::member::Member::join(&*bench.log, spec);
    let mut sizes = Vec::new();
    let until = Instant::now() + PATIENCE;
    while member.count() < 3 && Instant::now() < until {
        if let Event::Batch(fetched) = member.poll()
            && !fetched.batch.is_empty()
        {
            sizes.push(fetched.batch.values.data.len());
        }
    }
    assert_eq!(sizes, [5, 5_000, 5]);
}

/// A batch with all its records is given though its linger is not over: were it not, the poll would come back idle.
pub fn a_full_batch_does_not_linger(bench: &Bench) {
    let topic = bench.make("in", 1);
    let mut spec = bench.spec("g", &[&topic]);
    spec.batch = BatchLimits { records: 2, linger_ms: 3_600_000, ..BatchLimits::default() };
    let mut member = super::member::Member::join(&*bench.log, spec).owning(1);
    bench.append(&topic, 0, numbered("v", 0..5));
    member.read_values(4);
    member.stays_silent(super::names::WATCH);
    bench.append(&topic, 0, numbered("v", 5..6));
    member.read_values(6);
}

/// An output over its topic's limit is refused with the owner's name; the others go through without it.
pub fn an_output_too_large_names_its_owner(bench: &Bench) {
    let small = bench.make_with(
        "small",
        TopicSpec { partitions: 1, max_record_bytes: Some(50_000), replicas: None, keep: Keep::Default },
    );
    let good = held(&small, 0, numbered("good", 0..3));
    let bad = held(&small, 0, ["fits".to_owned(), "B".repeat(60_000)]);
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    let outcome = writer.produce(1, &good).and_then(|()| writer.produce(7, &bad));
    let outcome = outcome.err().unwrap_or_else(|| writer.commit(&[], COMMIT));
    let CommitOutcome::Aborted { owner: Some(7), error } = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.code, Code::OutputRefused);
    writer.abort().expect("abort");

    // Many records that fit alone go through together, even where all of them together are above the limit.
    let many = held(&small, 0, (0..50).map(|_| "m".repeat(10_000)));
    writer.begin().expect("begin");
    writer.produce(1, &good).expect("produce");
    writer.produce(2, &many).expect("produce");
    assert_eq!(writer.commit(&[], COMMIT), CommitOutcome::Committed);
    bench.has(&small, 0, 53);

    let mut large = Rows::of(0);
    large.push(None, Some(&vec![0; 60_000]));
    let refused = bench.log.append(&small, &large.batch, &large.outputs).unwrap_err();
    assert_eq!(refused.code, Code::OutputRefused);
}
