//! Outputs and positions take place together or not at all.

use super::member::source;
use super::names::{Bench, COMMIT, WATCH, numbered};
use super::rows::{Rows, held};
use crate::{Block, CommitOutcome, Fenced, Held, Keep, TopicSpec};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A commit makes outputs readable and positions known; a restart would go on behind them.
pub fn outputs_and_positions_commit_together(bench: &Bench) {
    let (input, output) = (bench.make("in", 1), bench.make("out", 1));
    bench.append(&input, 0, numbered("v", 0..10));
    let mut member = bench.join("g", &[&input]).owning(1);
    member.read_values(10);
    assert_eq!(bench.committed("g", &input), [Some(0)], "reading commits nothing");
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    writer.produce(0, &held(&output, 0, member.read[&source(0)].clone())).expect("produce");
    assert_eq!(writer.commit(&[member.positions()], COMMIT), CommitOutcome::Committed);
    assert_eq!(bench.committed("g", &input), [Some(10)]);
    bench.shows(&output, 0, &numbered("v", 0..10));

    // Positions alone, and the next transaction of the same writer.
    bench.append(&input, 0, numbered("v", 10..12));
    member.read_values(12);
    writer.begin().expect("begin");
    assert_eq!(writer.commit(&[member.positions()], COMMIT), CommitOutcome::Committed);
    assert_eq!(bench.committed("g", &input), [Some(12)]);
}

/// What was aborted is never read, moves no position, and may be produced again from memory.
pub fn an_abort_leaves_nothing_and_can_be_tried_again(bench: &Bench) {
    let output = bench.make("out", 1);
    let rows = held(&output, 0, numbered("v", 0..5));
    let mut writer = bench.writer("a");
    writer.abort().expect("aborting nothing is no error");
    for _ in 0..2 {
        writer.begin().expect("begin");
        writer.produce(0, &rows).expect("produce");
        writer.abort().expect("abort");
    }
    assert_eq!(bench.values(&output, 0), Vec::<String>::new());
    writer.begin().expect("begin");
    writer.produce(0, &rows).expect("produce");
    assert_eq!(writer.commit(&[], COMMIT), CommitOutcome::Committed);
    bench.shows(&output, 0, &numbered("v", 0..5));
    let mut member = bench.join("g", &[&output]).owning(1);
    member.read_values(5);
    assert_eq!(member.read[&source(0)], numbered("v", 0..5));
}

/// Neither readers, nor reads, nor ends see anything of a transaction that is open, nor of what was written behind it.
pub fn open_transactions_are_invisible(bench: &Bench) {
    let output = bench.make("out", 1);
    bench.append(&output, 0, numbered("before", 0..1));
    let end = bench.ends(&output);
    let mut member = bench.join("g", &[&output]).owning(1);
    member.read_values(1);
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    writer.produce(0, &held(&output, 0, numbered("v", 0..3))).expect("produce");
    member.stays_silent(super::names::WATCH);
    assert_eq!(bench.ends(&output), end);
    assert_eq!(writer.commit(&[], COMMIT), CommitOutcome::Committed);
    member.read_values(4);
    bench.has(&output, 0, 4);
}

/// One transaction takes the positions of several groups, over the same and over different topics.
pub fn several_groups_commit_in_one_transaction(bench: &Bench) {
    let (first, second) = (bench.make("first", 2), bench.make("second", 1));
    bench.append(&first, 1, numbered("a", 0..3));
    bench.append(&second, 0, numbered("b", 0..4));
    let mut one = bench.join("one", &[&first]).owning(2);
    let mut two = bench.join("two", &[&second, &first]).owning(3);
    one.read_values(3);
    two.read_values(7);
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    assert_eq!(writer.commit(&[one.positions(), two.positions()], COMMIT), CommitOutcome::Committed);
    assert_eq!(bench.committed("one", &first), [Some(0), Some(3)]);
    assert_eq!(bench.committed("two", &second), [Some(4)]);
    assert_eq!(bench.committed("two", &first), [Some(0), Some(3)]);
    assert_eq!(bench.committed("none", &first), [None, None]);
}

/// Where one group lost what it wants to commit, nothing of the transaction takes place, and that group is named.
pub fn one_fenced_group_stops_the_whole_transaction(bench: &Bench) {
    let (input, output) = (bench.make("in", 1), bench.make("out", 1));
    bench.append(&input, 0, numbered("v", 0..2));
    let mut good = bench.join("good", &[&input]).owning(1);
    good.read_values(2);
    let mut bad = bench.join("bad", &[&input]).owning(1);
    bad.read_values(2);
    let mut stale = bad.positions();
    stale.positions[0].1 += 1_000;
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    writer.produce(0, &held(&output, 0, numbered("v", 0..2))).expect("produce");
    let outcome = writer.commit(&[good.positions(), stale], COMMIT);
    assert_eq!(outcome, CommitOutcome::Fenced(Fenced::Groups(vec![1])));
    assert_eq!(bench.committed("good", &input), [Some(0)]);
    assert_eq!(bench.values(&output, 0), Vec::<String>::new());
    // The transaction is over; the writer goes on with the group that is left.
    writer.begin().expect("begin");
    writer.produce(0, &held(&output, 0, numbered("v", 0..2))).expect("produce");
    assert_eq!(writer.commit(&[good.positions()], COMMIT), CommitOutcome::Committed);
    bench.shows(&output, 0, &numbered("v", 0..2));
}

/// A lane may take as many groups at once as the design allows.
pub fn sixteen_groups_fit_a_transaction(bench: &Bench) {
    let input = bench.make("in", 1);
    bench.append(&input, 0, numbered("v", 0..1));
    let names: Vec<_> = (0..16).map(|n| format!("g{n}")).collect();
    let mut members: Vec<_> = names.iter().map(|name| bench.join(name, &[&input]).owning(1)).collect();
    members.iter_mut().for_each(|member| member.read_values(1));
    let positions: Vec<_> = members.iter().map(|member| member.positions()).collect();
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    assert_eq!(writer.commit(&positions, COMMIT), CommitOutcome::Committed);
    for name in names {
        assert_eq!(bench.committed(&name, &input), [Some(1)], "{name}");
    }
}

/// Behind a source of transactions, committed and aborted ones, the position that a reader gives reaches the end: lag is nought.
pub fn lag_ends_at_nought_behind_a_transactional_source(bench: &Bench) {
    let input = bench.make("in", 1);
    let mut source_writer = bench.writer("source");
    let mut member = bench.join("g", &[&input]).owning(1);
    for round in 0..3 {
        for abort in [true, false] {
            source_writer.begin().expect("begin");
            source_writer.produce(0, &held(&input, 0, numbered(&format!("r{round}{abort}"), 0..2))).expect("produce");
            if abort {
                source_writer.abort().expect("abort");
            } else {
                assert_eq!(source_writer.commit(&[], COMMIT), CommitOutcome::Committed);
            }
        }
    }
    source_writer.begin().expect("begin");
    source_writer.produce(0, &held(&input, 0, numbered("last", 0..2))).expect("produce");
    source_writer.abort().expect("abort");
    member.read_values(6);
    // The end itself may move a little after the last commit.
    member.until("position at the end", |member| member.owned[&source(0)].1 == bench.ends(&input)[0]);
    assert_eq!(member.count(), 6, "what was aborted is not read");
    let end = bench.ends(&input)[0];
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    assert_eq!(writer.commit(&[member.positions()], COMMIT), CommitOutcome::Committed);
    assert_eq!(bench.committed("g", &input), [Some(end)]);
    // A restart from there reads nothing of what is done.
    member.close();
    let mut again = bench.join("g", &[&input]).owning(1);
    bench.append(&input, 0, numbered("new", 0..1));
    again.read_values(1);
    assert_eq!(again.read[&source(0)], numbered("new", 0..1));
}

/// Rows of a block that names its partition go there, in a topic that keeps only the last of each key; and once a read has come as far as
/// [`Log::written`](crate::Log::written) said, all that was committed before has been read.
pub fn a_named_partition_takes_rows_whatever_their_keys(bench: &Bench) {
    let spec = TopicSpec { partitions: 2, max_record_bytes: Some(1_100_000), replicas: None, keep: Keep::Latest };
    let topic = bench.make_with("changes", spec);
    let mut writer = bench.writer("a");
    for round in 0..3 {
        let mut rows = Rows::of(0);
        for n in 0..20 {
            let value = format!("{round}-{n}");
            rows.push(Some(format!("key-{n}").as_bytes()), (n != 7).then_some(value.as_bytes()));
        }
        let block = Block { outputs: rows.outputs, targets: Arc::from([Some(topic.clone())]), partition: Some(3) };
        writer.begin().expect("begin");
        writer.produce(0, &Arc::new(Held { batch: Arc::new(rows.batch), blocks: vec![block] })).expect("produce");
        assert_eq!(writer.commit(&[], COMMIT), CommitOutcome::Committed);
    }
    let written = bench.log.written(&topic, 1).expect("written");
    let mut last = BTreeMap::new();
    let (mut next, mut from) = (0, Start::Earliest);
    let limits = BatchLimits::default();
    while next < written {
        let (batch, to) = bench.log.read(&topic, 1, from, &limits, WATCH).expect("read");
        for row in 0..batch.len() {
            let key = batch.keys.get(row).expect("a key").to_vec();
            last.insert(key, batch.values.get(row).map(<[u8]>::to_vec));
        }
        (next, from) = (to, Start::Offset(to));
    }
    let expected = (0..20).map(|n| (format!("key-{n}").into_bytes(), (n != 7).then(|| format!("2-{n}").into_bytes())));
    assert_eq!(last, expected.collect());
    assert_eq!(bench.all(&topic, 0).len(), 0, "the other partition got none");
}
