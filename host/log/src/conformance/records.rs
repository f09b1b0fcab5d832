//! Records come back as they were written.

use super::names::{Bench, PATIENCE, WATCH, numbered};
use super::positions::fails;
use super::rows::{Rows, START_MS};
use crate::{Block, CommitOutcome, Held, Keep, TopicSpec, partition_of};
use bulkhead_core::code::Code;
use bulkhead_core::columns::{INHERIT_HEADERS, INHERIT_KEY, INHERIT_TIMESTAMP, Outputs, RecordBatch};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use std::sync::Arc;
use std::time::Duration;

type Cell<'a> = Option<&'a [u8]>;

/// Several writes, keyed and not, are read in the order in which they were written, at the partition that their key names.
pub fn order_is_kept_within_a_partition(bench: &Bench) {
    let topic = bench.make("in", 3);
    let mut expected = vec![Vec::new(); 3];
    for round in 0..5 {
        let mut rows = Rows::of(round);
        for n in 0..40 {
            let key = format!("key-{}", n % 7);
            let key = (n % 4 != 0).then_some(key.as_bytes());
            let value = format!("{round}-{n}");
            rows.push(key, Some(value.as_bytes()));
            expected[partition_of(key, round, 3) as usize].push(value);
        }
        bench.log.append(&topic, &rows.batch, &rows.outputs).expect("appended");
    }
    for partition in 0..3 {
        assert_eq!(bench.values(&topic, partition), expected[partition as usize], "partition {partition}");
        assert!(bench.all(&topic, partition).offsets.is_sorted_by(|a, b| a < b));
    }
    let mut member = bench.join("g", &[&topic]).owning(3);
    member.read_values(200);
    let read: Vec<_> = member.read.into_values().collect();
    assert_eq!(read, expected, "a group reads the same");
}

/// Null is not empty, in keys, values and headers; header names may repeat; timestamps are kept.
pub fn nulls_and_headers_come_back_as_written(bench: &Bench) {
    let topic = bench.make("in", 1);
    let mut outputs = Outputs::default();
    let cells: [(Cell<'_>, Cell<'_>); 5] = [
        (None, None),
        (Some(b""), Some(b"")),
        (Some(b"k"), None),
        (None, Some(b"v")),
        (Some(b"\0\xff"), Some(b"\xfe")),
    ];
    for (i, (key, value)) in cells.iter().enumerate() {
        outputs.push(0, 0, *START_MS + i as i64, *key, *value);
        if i == 1 {
            outputs.headers.push(b"name", Some(b"value"));
            outputs.headers.push(b"name", None);
            outputs.headers.push(b"other", Some(b""));
        }
        outputs.headers.end_row(i);
    }
    let mut batch = RecordBatch::default();
    batch.push(0, 5, None, None, []);
    bench.log.append(&topic, &batch, &outputs).expect("appended");

    let read = bench.all(&topic, 0);
    assert_eq!(read.len(), cells.len());
    for (i, (key, value)) in cells.iter().enumerate() {
        assert_eq!((read.keys.get(i), read.values.get(i)), (*key, *value), "row {i}");
        assert_eq!(read.timestamps[i], *START_MS + i as i64);
    }
    let headers: Vec<_> = read.headers.row(1).collect();
    let expected: [(&[u8], Cell<'_>); 3] = [(b"name", Some(b"value")), (b"name", None), (b"other", Some(b""))];
    assert_eq!(headers, expected);
    assert_eq!(read.headers.row(0).len() + read.headers.row(2).len() + read.headers.row(4).len(), 0);
}

/// What an output inherits is its source record's; rows for no topic are not written; several blocks keep their order.
pub fn outputs_inherit_from_their_source(bench: &Bench) {
    let topic = bench.make("out", 1);
    let mut batch = RecordBatch::default();
    batch.push(10, *START_MS + 111, Some(b"a"), Some(b"x"), [(&b"h"[..], Some(&b"1"[..]))]);
    batch.push(11, *START_MS + 222, None, Some(b"y"), []);
    let mut outputs = Outputs::default();
    for (source, to, inherit) in
        [(0, 0, INHERIT_KEY), (0, 1, 7), (0, 0, INHERIT_HEADERS | INHERIT_TIMESTAMP), (1, 0, 7)]
    {
        outputs.push(source, to, *START_MS + 999, Some(b"own"), Some(format!("v{}", outputs.len()).as_bytes()));
        *outputs.inherit.last_mut().expect("just pushed") = inherit;
    }
    let targets: Arc<[_]> = Arc::from([Some(topic.clone()), None]);
    let mut second = Outputs::default();
    second.push(0, 0, *START_MS + 5, None, Some(b"second"));
    let blocks = vec![
        Block { outputs, targets: Arc::clone(&targets), partition: None },
        Block { outputs: second, targets, partition: None },
    ];
    let held = Arc::new(Held { batch: Arc::new(batch), blocks });

    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    writer.produce(0, &held).expect("produce");
    assert_eq!(writer.commit(&[], super::names::COMMIT), CommitOutcome::Committed);

    bench.has(&topic, 0, 4);
    let read = bench.all(&topic, 0);
    let rows: Vec<_> = (0..read.len())
        .map(|i| {
            (
                read.values.get(i).expect("a value"),
                read.keys.get(i),
                read.timestamps[i] - *START_MS,
                read.headers.row(i).len(),
            )
        })
        .collect();
    let expected: [(&[u8], Cell<'_>, i64, usize); 4] =
        [(b"v0", Some(b"a"), 999, 0), (b"v2", Some(b"own"), 111, 1), (b"v3", None, 222, 0), (b"second", None, 5, 0)];
    assert_eq!(rows, expected);
}

/// `read` begins at the oldest, the newest, an offset or a time, says where to go on, and waits for what is not there yet.
pub fn reading_starts_where_asked_and_waits(bench: &Bench) {
    let topic = bench.make("in", 2);
    // Rows have timestamps a millisecond apart.
    bench.append(&topic, 1, numbered("v", 0..5));
    let limits = BatchLimits { records: 3, ..BatchLimits::default() };
    let read = |from, wait| {
        let (batch, next) = bench.log.read(&topic, 1, from, &limits, wait).expect("read");
        assert!(batch.len() <= 3, "no more than asked for");
        ((0..batch.len()).map(|i| super::names::text(batch.values.get(i).expect("a value"))).collect::<Vec<_>>(), next)
    };
    let (first, next) = read(Start::Earliest, PATIENCE);
    assert_eq!(first[0], "v-0");
    assert_eq!(next, first.len() as i64);
    assert_eq!(read(Start::Offset(4), PATIENCE), (numbered("v", 4..5), 5));
    assert_eq!(read(Start::TimeMs(*START_MS + 3), PATIENCE).0[0], "v-3");
    assert_eq!(read(Start::TimeMs(*START_MS + 1_000_000), Duration::ZERO), (Vec::new(), 5));
    assert_eq!(read(Start::Latest, WATCH), (Vec::new(), 5));
    let error = bench.log.read(&bench.topic("none"), 0, Start::Earliest, &limits, Duration::ZERO).unwrap_err();
    assert_eq!(error.code, Code::TopicGone);
    let error = bench.log.read(&topic, 2, Start::Earliest, &limits, Duration::ZERO).unwrap_err();
    assert_eq!(error.code, Code::NotFound);

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| read(Start::Offset(5), PATIENCE));
        bench.append(&topic, 1, numbered("v", 5..6));
        assert_eq!(waiting.join().expect("no panic"), (numbered("v", 5..6), 6));
    });
}

/// A topic exists once, says what it is like, is listed by prefix, and is gone when deleted; a new one of its name is empty.
pub fn a_topic_is_made_described_listed_and_deleted(bench: &Bench) {
    let topic = bench.topic("b.two");
    assert_eq!(bench.log.describe(&topic).expect("describe"), None);
    assert_eq!(bench.log.ends(std::slice::from_ref(&topic)).expect("ends"), [Vec::<i64>::new()]);
    let spec = TopicSpec { partitions: 2, max_record_bytes: Some(200_000), replicas: None, keep: Keep::Default };
    bench.log.create_topic(&topic, &spec).expect("made");
    let again = bench.log.create_topic(&topic, &spec).unwrap_err();
    assert_eq!(again.code, Code::Conflict);
    let info = bench.log.describe(&topic).expect("describe").expect("there");
    assert_eq!((info.partitions, info.max_record_bytes, info.leaderless.len()), (2, 200_000, 0));
    bench.make("a", 1);
    bench.make("b", 1);
    let names: Vec<_> = ["a", "b", "b.two"].iter().map(|name| bench.topic(name).as_str().to_owned()).collect();
    assert_eq!(bench.log.topics(&bench.prefix()).expect("topics"), names);

    bench.append(&topic, 0, numbered("v", 0..3));
    assert_eq!(bench.ends(&topic), [3, 0]);
    bench.log.delete_topic(&topic).expect("deleted");
    bench.log.delete_topic(&topic).expect("deleting what is not there is no error");
    assert_eq!(bench.log.describe(&topic).expect("describe"), None);
    assert_eq!(bench.try_append(&topic, 0, numbered("v", 0..1)).unwrap_err().code, Code::TopicGone);
    bench.log.create_topic(&topic, &spec).expect("made again");
    assert_eq!(bench.ends(&topic), [0, 0]);
}

/// The oldest records go and no others; offsets, ends and what is written next are as if they were there; who still needed them is told.
pub fn the_oldest_records_are_deleted_and_no_others(bench: &Bench) {
    let topic = bench
        .make_with("in", TopicSpec { partitions: 2, max_record_bytes: None, replicas: None, keep: Keep::UntilDeleted });
    // Several runs, the second of which is cut in two.
    for run in [0..4, 4..9, 9..12] {
        bench.append(&topic, 0, numbered("v", run));
    }
    bench.append(&topic, 1, numbered("w", 0..5));
    bench.join("behind", &[&topic]).owning(2).close();
    let delete = |before: &[(i32, i64)]| bench.log.delete_records(&topic, before);
    delete(&[(0, 6), (1, 0)]).expect("deleted");
    for before in [6, 2, -1] {
        assert_eq!(bench.values(&topic, 0), numbered("v", 6..12));
        assert_eq!(bench.all(&topic, 0).offsets, (6..12).collect::<Vec<_>>());
        delete(&[(0, before)]).expect("nothing more to delete is no error");
    }
    assert_eq!((bench.values(&topic, 1), bench.ends(&topic)), (numbered("w", 0..5), vec![12, 5]));
    assert_eq!(delete(&[(0, 13)]).unwrap_err().code, Code::OffsetLost, "behind the end");

    let mut member = bench.join("behind", &[&topic]);
    assert_eq!(fails(&mut member).code, Code::OffsetLost);
    member.close();
    let mut member = bench.join("later", &[&topic]).owning(2);
    member.read_values(11);
    assert_eq!(member.read.into_values().collect::<Vec<_>>(), [numbered("v", 6..12), numbered("w", 0..5)]);

    delete(&[(0, 12), (1, 5)]).expect("all of it");
    assert_eq!((bench.values(&topic, 0), bench.values(&topic, 1), bench.ends(&topic)), (vec![], vec![], vec![12, 5]));
    let mut member = bench.join("last", &[&topic]).owning(2);
    bench.append(&topic, 0, numbered("v", 12..14));
    member.read_values(2);
    assert_eq!(bench.all(&topic, 0).offsets, [12, 13]);

    assert_eq!(bench.log.delete_records(&bench.topic("none"), &[(0, 1)]).unwrap_err().code, Code::TopicGone);
    let latest = TopicSpec { partitions: 1, max_record_bytes: None, replicas: None, keep: Keep::Latest };
    let latest = bench.make_with("latest", latest);
    assert_eq!(bench.log.delete_records(&latest, &[(0, 0)]).map_err(|error| error.code), Err(Code::LogRefused));
}
