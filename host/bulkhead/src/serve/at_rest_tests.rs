//! The embedded log, sealed: it is a log like any other, its files hold no record, and without the key they never will give one.

use super::LogKeys;
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::{PhysicalTopic, TenantScope};
use bulkhead_log::embedded::EmbeddedLog;
use bulkhead_log::{Keep, Log, LogError, TopicSpec};
use bulkhead_vault::{LocalMaster, Vault, WrappedKey};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MARKER: &str = "marker-of-a-record-41c8e0";

struct Keys {
    vault: Arc<Vault>,
    first: WrappedKey,
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn keys() -> Keys {
    let vault = Arc::new(Vault::new(Arc::new(LocalMaster::generate().unwrap()), None));
    let first = vault.new_key(&acme(), 1).unwrap();
    vault.hold(vault.open(&acme(), vec![first.clone()]).unwrap());
    Keys { vault, first }
}

fn open(folder: &Path, keys: &Keys) -> EmbeddedLog {
    let log_keys = LogKeys::default();
    log_keys.hold(keys.vault.clone());
    EmbeddedLog::open_sealed(folder, Arc::new(log_keys)).unwrap()
}

fn topic(tenant: &str) -> PhysicalTopic {
    TenantScope::assume(tenant.parse().unwrap()).topic(&"orders".parse().unwrap())
}

fn make(log: &EmbeddedLog, topic: &PhysicalTopic) {
    let spec = TopicSpec { partitions: 1, max_record_bytes: None, replicas: None, keep: Keep::UntilDeleted };
    log.create_topic(topic, &spec).unwrap();
}

fn write(log: &EmbeddedLog, topic: &PhysicalTopic, values: &[String]) -> Result<(), LogError> {
    let mut outputs = Outputs::default();
    values.iter().for_each(|value| outputs.push(0, 0, 1, Some(value.as_bytes()), Some(value.as_bytes())));
    log.append(topic, &RecordBatch::default(), &outputs)
}

fn read(log: &EmbeddedLog, topic: &PhysicalTopic) -> Result<Vec<String>, LogError> {
    let (batch, _) = log.read(topic, 0, Start::Earliest, &BatchLimits::MAX, Duration::ZERO)?;
    let text = |i: usize| String::from_utf8_lossy(batch.values.get(i).unwrap_or_default()).into_owned();
    Ok((0..batch.len()).map(text).collect())
}

fn found(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &std::path::PathBuf| {
        std::fs::read(path).unwrap().windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
    };
    files.filter(holds).map(|path| path.display().to_string()).collect()
}

fn marked(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{MARKER}-{n}")).collect()
}

#[test]
fn no_file_holds_a_record_and_another_process_reads_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, topic) = (keys(), topic("acme"));
    let log = open(folder.path(), &keys);
    make(&log, &topic);
    write(&log, &topic, &marked(3)).unwrap();
    assert_eq!(read(&log, &topic).unwrap(), marked(3));
    assert_eq!(found(folder.path()), [""; 0], "while it is open");
    drop(log);
    assert_eq!(found(folder.path()), [""; 0], "once it is closed");
    let log = open(folder.path(), &keys);
    assert_eq!(read(&log, &topic).unwrap(), marked(3));
    drop(log);
    let refused = read(&EmbeddedLog::open(folder.path()).unwrap(), &topic).unwrap_err();
    assert_eq!(refused.code, Code::LogUnavailable, "{refused}");
}

#[test]
fn what_was_written_before_it_was_sealed_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, topic) = (keys(), topic("acme"));
    let log = EmbeddedLog::open(folder.path()).unwrap();
    make(&log, &topic);
    write(&log, &topic, &["before".to_owned()]).unwrap();
    drop(log);
    let log = open(folder.path(), &keys);
    write(&log, &topic, &marked(1)).unwrap();
    let both = ["before".to_owned(), format!("{MARKER}-0")];
    let first = read(&log, &topic).unwrap();
    assert!(both.starts_with(&first) && !first.is_empty(), "{first:?}");
    assert_eq!(found(folder.path()), [""; 0]);
}

#[test]
fn an_earlier_key_opens_after_a_rotation_and_a_shredded_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, topic) = (keys(), topic("acme"));
    let log = open(folder.path(), &keys);
    make(&log, &topic);
    write(&log, &topic, &marked(1)).unwrap();
    let second = keys.vault.new_key(&acme(), 2).unwrap();
    keys.vault.hold(keys.vault.open(&acme(), vec![keys.first.clone(), second.clone()]).unwrap());
    write(&log, &topic, &["after".to_owned()]).unwrap();
    assert_eq!(read(&log, &topic).unwrap()[0], format!("{MARKER}-0"));

    keys.vault.forget(&acme());
    assert_eq!(read(&log, &topic).unwrap_err().code, Code::KeysShredded);
    assert_eq!(
        write(&log, &topic, &marked(1)).unwrap_err().code,
        Code::KeysShredded,
        "and nothing is written in plain"
    );
    // Only the first version is gone.
    keys.vault.hold(keys.vault.open(&acme(), vec![second]).unwrap());
    assert_eq!(read(&log, &topic).unwrap_err().code, Code::KeysShredded);
}

#[test]
fn records_of_nobody_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &keys());
    let stranger = topic("globex");
    make(&log, &stranger);
    assert_eq!(write(&log, &stranger, &marked(1)).unwrap_err().code, Code::KeysShredded);
    assert_eq!(read(&log, &stranger).unwrap(), [""; 0]);
}

/// What sealing costs, to be looked at: nothing here fails for being slow.
#[test]
fn the_cost_of_sealing_is_said() {
    let values: Vec<String> = (0..1_000).map(|n| format!("{n:0>184}")).collect();
    let keys = keys();
    for (name, sealed) in [("plain", false), ("sealed", true)] {
        let folder = tempfile::tempdir().unwrap();
        let log = if sealed { open(folder.path(), &keys) } else { EmbeddedLog::open(folder.path()).unwrap() };
        let topic = topic("acme");
        make(&log, &topic);
        let started = Instant::now();
        (0..20).for_each(|_| write(&log, &topic, &values).unwrap());
        let written = started.elapsed();
        let started = Instant::now();
        let (mut from, mut records) = (0, 0);
        while records < 20_000 {
            let (batch, next) = log.read(&topic, 0, Start::Offset(from), &BatchLimits::MAX, Duration::ZERO).unwrap();
            (from, records) = (next, records + batch.len());
        }
        let per = |took: Duration| took.as_nanos() / 20_000;
        println!("{name}: {} ns a record written, {} ns read", per(written), per(started.elapsed()));
    }
}

mod conformance {
    //! Each log passes this suite, so this one does.
    use super::super::LogKeys;
    use bulkhead_core::scope::TenantScope;
    use bulkhead_log::embedded::EmbeddedLog;
    use bulkhead_log::{AtRest, Log, LogError, RunPlace};
    use bulkhead_vault::{LocalMaster, Vault};
    use std::sync::{Arc, LazyLock};

    /// Keys for whichever tenant a case makes up.
    #[derive(Debug)]
    struct Everybodys {
        vault: Arc<Vault>,
        keys: LogKeys,
    }

    impl Everybodys {
        fn know(&self, topic: &str) {
            let tenant = TenantScope::owner(topic).expect("a tenant's");
            if self.vault.held(&tenant).is_none() {
                let key = self.vault.new_key(&tenant, 1).unwrap();
                // Of two at once, the first stays: what it sealed must open.
                static ONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
                let _one = ONE.lock();
                if self.vault.held(&tenant).is_none() {
                    self.vault.hold(self.vault.open(&tenant, vec![key]).unwrap());
                }
            }
        }
    }

    impl AtRest for Everybodys {
        fn check(&self, topic: &str) -> Result<(), LogError> {
            self.know(topic);
            self.keys.check(topic)
        }

        fn seal(&self, place: RunPlace<'_>, run: &[u8]) -> Result<Vec<u8>, LogError> {
            self.know(place.topic);
            self.keys.seal(place, run)
        }

        fn open(&self, place: RunPlace<'_>, sealed: &[u8]) -> Result<Vec<u8>, LogError> {
            self.keys.open(place, sealed)
        }
    }

    static LOG: LazyLock<Arc<dyn Log>> = LazyLock::new(|| {
        let folder = std::env::temp_dir().join(format!("bulkhead-sealed-{}", std::process::id()));
        let vault = Arc::new(Vault::new(Arc::new(LocalMaster::generate().unwrap()), None));
        let keys = LogKeys::default();
        keys.hold(vault.clone());
        Arc::new(EmbeddedLog::open_sealed(&folder, Arc::new(Everybodys { vault, keys })).expect("opened"))
    });

    bulkhead_log::conformance!(Arc::clone(&LOG));
}
