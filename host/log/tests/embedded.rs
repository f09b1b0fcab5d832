//! The embedded log passes the suite that every log passes, and keeps its own promises: one process, durable, honest about damage.

use bulkhead_core::columns::Outputs;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::{PhysicalTopic, TenantScope, WorkerScope};
use bulkhead_log::embedded::EmbeddedLog;
use bulkhead_log::{Block, CommitOutcome, Held, Keep, Log, TopicSpec};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// One log for all cases, in a folder that the system clears with the others of this kind.
static LOG: LazyLock<Arc<dyn Log>> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("embedded-conformance");
    let _ = std::fs::remove_dir_all(&folder);
    Arc::new(EmbeddedLog::open(&folder).expect("opened"))
});

bulkhead_log::conformance!(Arc::clone(&LOG));

/// Many writes of a few keys: what readers see is the last of each, in order, at its old offset; and the partition ends where it did.
#[test]
fn a_compacted_topic_keeps_the_last_of_each_key() {
    let folder = tempfile::tempdir().unwrap();
    let topic = topic("acme", "changes");
    let (commits, rows, keys) = (60, 1_000, 700);
    let mut last = BTreeMap::new();
    {
        let log = EmbeddedLog::open(folder.path()).unwrap();
        let spec = TopicSpec { partitions: 1, max_record_bytes: None, replicas: None, keep: Keep::Latest };
        log.create_topic(&topic, &spec).unwrap();
        let mut writer = log.writer(&WorkerScope::new("w").unwrap().lane("a")).unwrap();
        for commit in 0..commits {
            let mut outputs = Outputs::default();
            for row in 0..rows {
                let n = commit * rows + row;
                let (key, value) = (format!("key-{}", n * 7_919 % keys), format!("value-{n}"));
                let value = (n % 10 != 0).then_some(value);
                outputs.push(0, 0, -1, Some(key.as_bytes()), value.as_ref().map(String::as_bytes));
                last.insert(key, (i64::from(n), value));
            }
            let block = Block { outputs, targets: Arc::from([Some(topic.clone())]), partition: Some(0) };
            writer.begin().unwrap();
            writer.produce(0, &Arc::new(Held { batch: Arc::default(), blocks: vec![block] })).unwrap();
            assert_eq!(writer.commit(&[], Duration::ZERO), CommitOutcome::Committed);
        }
    }
    // What another process finds is the same.
    let log = EmbeddedLog::open(folder.path()).unwrap();
    let end = i64::from(commits * rows);
    assert_eq!(log.ends(std::slice::from_ref(&topic)).unwrap(), [[end]]);
    let (mut from, mut next, mut read) = (Start::Earliest, 0, 0);
    let mut seen = BTreeMap::new();
    while next < end {
        let (batch, to) = log.read(&topic, 0, from, &BatchLimits::default(), Duration::ZERO).unwrap();
        assert!(to > next && batch.offsets.is_sorted_by(|a, b| a < b));
        for i in 0..batch.len() {
            let text = |cell: &[u8]| String::from_utf8(cell.to_vec()).unwrap();
            seen.insert(text(batch.keys.get(i).unwrap()), (batch.offsets[i], batch.values.get(i).map(text)));
        }
        read += batch.len();
        (next, from) = (to, Start::Offset(to));
    }
    assert_eq!(seen, last);
    assert!(read < 30_000, "{read} of {end} records are still there for {keys} keys");
}

fn topic(tenant: &str, name: &str) -> PhysicalTopic {
    TenantScope::assume(tenant.parse().unwrap()).topic(&name.parse().unwrap())
}
