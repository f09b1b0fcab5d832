//! Buckets as a guest reaches them: what the sandbox sees to, whatever the store.

use crate::support::*;
use bulkhead_core::bucket::{Access, Condition, KeyPrefix, ObjectInfo, ObjectKey};
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, GuestFault, GuestFaultKind, HostFault};
use bulkhead_core::grant::{Capability, Grants};
use bulkhead_core::limits::StageLimits;
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{
    BucketError, BucketFuture, BucketStore, BucketUpload, Failure, GrantedBucket, Instance, Mode, Processed, Stage,
    StageConfig,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a store takes for the key `slow`.
const SLOW: Duration = Duration::from_millis(300);

/// Objects in memory, with the number of writes as etags.
#[derive(Default, Clone)]
struct Objects {
    all: Arc<Mutex<BTreeMap<String, (Bytes, u64)>>>,
    /// Uploads under way.
    uploads: Arc<AtomicUsize>,
}

impl Objects {
    fn now<T: Send + 'static>(&self, key: &str, work: impl FnOnce(&Self) -> Result<T, BucketError>) -> BucketFuture<T> {
        let (done, slow) = (work(self), key == "slow");
        let away = BucketError::Host(HostFault::new(Code::BucketUnavailable, "it does not answer"));
        let done = if key == "away" { Err(away) } else { done };
        Box::pin(async move {
            if slow {
                tokio::time::sleep(SLOW).await;
            }
            done
        })
    }

    fn object(&self, key: &str) -> Result<(Bytes, ObjectInfo), BucketError> {
        let all = self.all.lock().unwrap();
        let (bytes, etag) = all.get(key).ok_or(BucketError::NoSuchObject)?;
        let info = ObjectInfo { key: key.to_owned(), size: bytes.len() as u64, etag: etag.to_string(), modified_ms: 5 };
        Ok((bytes.clone(), info))
    }

    fn insert(&self, key: &str, bytes: Bytes) {
        let mut all = self.all.lock().unwrap();
        let etag = all.get(key).map_or(1, |(_, etag)| etag + 1);
        all.insert(key.to_owned(), (bytes, etag));
    }

    fn keys(&self) -> Vec<String> {
        self.all.lock().unwrap().keys().cloned().collect()
    }

    fn uploads(&self) -> usize {
        self.uploads.load(Ordering::Relaxed)
    }
}

impl BucketStore for Objects {
    fn get(&self, key: ObjectKey, range: Range<u64>) -> BucketFuture<Vec<u8>> {
        self.now(key.as_str(), |all| {
            let (bytes, info) = all.object(key.as_str())?;
            let range = range.start.min(info.size) as usize..range.end.min(info.size) as usize;
            Ok(bytes.slice(range).to_vec())
        })
    }

    fn info(&self, key: ObjectKey) -> BucketFuture<ObjectInfo> {
        self.now(key.as_str(), |all| Ok(all.object(key.as_str())?.1))
    }

    fn list(&self, prefix: KeyPrefix, after: Option<ObjectKey>, limit: usize) -> BucketFuture<Vec<ObjectInfo>> {
        self.now("", |all| {
            let after = after.as_ref().map_or("", ObjectKey::as_str);
            let keys = all.keys().into_iter().filter(|key| key.starts_with(prefix.as_str()) && key.as_str() > after);
            keys.take(limit).map(|key| Ok(all.object(&key)?.1)).collect()
        })
    }

    fn put(&self, key: ObjectKey, bytes: Bytes, condition: Condition) -> BucketFuture<ObjectInfo> {
        self.now(key.as_str(), |all| {
            let before = all.object(key.as_str()).ok().map(|(_, info)| info.etag);
            let holds = match condition {
                Condition::None => true,
                Condition::Absent => before.is_none(),
                Condition::Match(etag) => before == Some(etag),
            };
            if !holds {
                return Err(BucketError::PreconditionFailed);
            }
            all.insert(key.as_str(), bytes);
            Ok(all.object(key.as_str())?.1)
        })
    }

    fn delete(&self, key: ObjectKey) -> BucketFuture<()> {
        self.now(key.as_str(), |all| {
            all.all.lock().unwrap().remove(key.as_str());
            Ok(())
        })
    }

    fn upload(&self, key: ObjectKey) -> BucketFuture<Box<dyn BucketUpload>> {
        self.now(key.as_str(), |all| {
            let upload = Pieces { to: all.clone(), key: key.to_string(), bytes: vec![] };
            all.uploads.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(upload) as Box<dyn BucketUpload>)
        })
    }
}

struct Pieces {
    to: Objects,
    key: String,
    bytes: Vec<u8>,
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.to.uploads.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BucketUpload for Pieces {
    fn write(mut self: Box<Self>, bytes: Bytes) -> BucketFuture<Box<dyn BucketUpload>> {
        self.bytes.extend_from_slice(&bytes);
        Box::pin(async { Ok(self as Box<dyn BucketUpload>) })
    }

    fn finish(mut self: Box<Self>) -> BucketFuture<u64> {
        let bytes = self.bytes.len() as u64;
        self.to.insert(&self.key, std::mem::take(&mut self.bytes).into());
        Box::pin(async move { Ok(bytes) })
    }
}

fn granted() -> StageConfig {
    StageConfig { grants: Grants::from_iter([Capability::Buckets]), ..stage_config("bucketed") }
}

/// A stage with the grants `all`, `look` and `fill` on these objects: for both, for reading and for writing.
async fn stage_of(config: StageConfig, objects: &Objects) -> Stage {
    let grant = |(name, access): (&str, Access)| GrantedBucket {
        name: name.parse().unwrap(),
        prefix: "2013/".parse().unwrap(),
        access,
        store: Arc::new(objects.clone()),
    };
    let all = [("all", Access::ReadWrite), ("look", Access::Read), ("fill", Access::Write)];
    stage_on(engine(), "bucketed", config).await.0.with_buckets(all.map(grant).into())
}

async fn started(objects: &Objects) -> Instance {
    stage_of(granted(), objects).await.instantiate(Mode::Live).await.unwrap()
}

async fn run_on(objects: &Objects, commands: &[&str]) -> Result<Processed, Failure> {
    started(objects).await.process(&batch(commands)).await
}

async fn told(objects: &Objects, commands: &[&str]) -> Vec<String> {
    values(&run_on(objects, commands).await.unwrap().outcome.outputs)
}

/// The fault of the last of these commands.
async fn fault(objects: &Objects, commands: &[&str]) -> GuestFault {
    let failure = run_on(objects, commands).await.unwrap_err();
    assert_eq!(failure.record, Some(commands.len() as u32 - 1), "{commands:?}: {failure}");
    guest_fault(&failure).clone()
}

#[tokio::test]
pub(crate) async fn bucketed() {
    let objects = Objects::default();
    let commands = [
        ("put|all|a/1|hello", "5"),
        ("put|fill|a/2|there", "5"),
        ("put|all|b|x", "1"),
        ("get|look|a/1|1|3", "ell"),
        ("get|all|a/1|3|99", "lo"),
        ("get|all|a/1|9|9", ""),
        ("get|all|nothing|0|9", "!missing"),
        ("info|look|a/2", "5"),
        ("info|all|a", "!missing"),
        ("list|look|||9", "a/1:5 a/2:5 b:1"),
        ("list|all|a/|a/1|9", "a/2:5"),
        ("list|all|||2", "a/1:5 a/2:5"),
        ("list|all|||0", ""),
        ("absent|all|a/1|again", "!condition"),
        ("absent|all|c|new", "3"),
        ("etag|all|a/1", "1"),
        ("match|all|a/1|1|second", "6"),
        ("match|all|a/1|1|third", "!condition"),
        ("delete|fill|b", "deleted"),
        ("delete|fill|b", "deleted"),
        ("upload|all|big|3|1048576", "3145728"),
        ("get|all|big|1|9000000", "3145727"),
        ("drop|all|never", "dropped"),
        ("list|all|||9", "a/1:6 a/2:5 big:3145728 c:3"),
    ];
    let (given, expected): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    assert_eq!(told(&objects, &given).await, expected);
    assert_eq!(objects.uploads(), 0);
    let mut instance = started(&objects).await;
    instance.tick(0, 0, 1).await.unwrap();
    assert_eq!(objects.object("tick").unwrap().0, "tock");
}

#[tokio::test]
async fn a_grant_allows_what_it_says_and_nothing_else() {
    let objects = Objects::default();
    objects.insert("x", "x".into());
    for (command, word) in [
        ("put|look|x|y", "granted to write"),
        ("absent|look|y|y", "granted to write"),
        ("delete|look|x", "granted to write"),
        ("upload|look|x|1|1", "granted to write"),
        ("get|fill|x|0|1", "granted to read"),
        ("info|fill|x", "granted to read"),
        ("list|fill|||9", "granted to read"),
        ("info|other|x", "under the name `other`"),
        ("info||x", "under the name ``"),
        ("info|../globex/all|x", "under the name"),
    ] {
        let fault = fault(&objects, &["info|all|x", command]).await;
        assert_eq!((fault.kind, fault.kind.code()), (GuestFaultKind::BucketNotGranted, Code::BucketNotGranted));
        assert!(fault.message.contains(word), "{command}: {}", fault.message);
    }
    assert_eq!((objects.keys(), objects.object("x").unwrap().0), (vec!["x".to_owned()], "x".into()));
}

#[tokio::test]
async fn a_key_that_could_leave_its_prefix_is_refused_by_every_function() {
    let objects = Objects::default();
    let (long, part) = ("a/".repeat(1_000) + "b", "p".repeat(256));
    // Alone it is no more than 1,024 bytes, with the grant's prefix it is.
    let with_prefix = format!("{}b", "abc/".repeat(255));
    let keys = ["", "/etc/passwd", "../x", "a/../../x", ".", "a//b", "a/", "a\nb", "a\0b", &long, &part, &with_prefix];
    for key in keys {
        for command in ["get|all|K|0|9", "info|all|K", "put|all|K|x", "delete|all|K", "upload|all|K|1|1", "drop|all|K"]
        {
            let told = told(&objects, &[&command.replace('K', key)]).await;
            assert!(told[0].starts_with("!key: "), "{command} with {key:?}: {told:?}");
        }
        if !key.is_empty() {
            let told = told(&objects, &[&format!("list|all||{key}|9")]).await;
            assert!(told[0].starts_with("!key: "), "list after {key:?}: {told:?}");
        }
    }
    for prefix in ["/", "a", "../", "a/../", "a//", &format!("{long}/")] {
        let told = told(&objects, &[&format!("list|all|{prefix}||9")]).await;
        assert!(told[0].starts_with("!key: "), "list of {prefix:?}: {told:?}");
    }
    assert_eq!(objects.keys(), [""; 0]);
    let lie = fault(&objects, &["info|all|x", "lie|all"]).await;
    assert_eq!(lie.kind, GuestFaultKind::Misuse, "{lie}");
}

#[tokio::test]
async fn what_one_call_may_ask_has_limits() {
    let objects = Objects::default();
    let most = ["fill|all|most|8388608", "get|all|most|0|9000000", "write|all|w|1048576", "begin|all|b|4"];
    assert_eq!(told(&objects, &most).await, ["8388608", "8388608", "1048576", "4"]);
    objects.insert("more", vec![0; 9 << 20].into());
    assert_eq!(told(&objects, &["get|all|more|0|9437184"]).await, ["8388608"]);
    for command in ["fill|all|x|8388609", "write|all|x|1048577", "begin|all|x|5"] {
        let fault = fault(&objects, &["info|all|most", command]).await;
        assert_eq!((fault.kind, fault.kind.code()), (GuestFaultKind::BucketMisused, Code::BucketMisused), "{command}");
    }
    assert!(objects.object("x").is_err());
    assert_eq!(objects.uploads(), 0, "what a stage that failed had begun is given up");
}

#[tokio::test]
async fn a_long_list_is_given_in_pages() {
    let objects = Objects::default();
    (0..1_001).for_each(|n| objects.insert(&format!("{n:04}"), Bytes::new()));
    let pages = told(&objects, &["list|all|||4000000000", "list|all||0999|4000000000"]).await;
    assert_eq!(pages[0].split(' ').count(), 1_000);
    assert_eq!(pages[1], "1000:0");
}

#[tokio::test]
async fn an_upload_ends_with_the_call_that_began_it() {
    let objects = Objects::default();
    let mut instance = started(&objects).await;
    instance.process(&batch(&["keep|all|x"])).await.unwrap();
    assert_eq!(objects.uploads(), 0);
    let failure = instance.process(&batch(&["kept|all"])).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::BucketMisused);
    assert_eq!(told(&objects, &["keep|all|x", "kept|all"]).await, ["kept", "4"]);
    assert_eq!(objects.object("x").unwrap().0, "kept");
}

#[tokio::test]
async fn a_bucket_that_is_away_is_no_fault_of_the_guest() {
    let objects = Objects::default();
    for command in ["get|all|away|0|1", "info|all|away", "put|all|away|x", "delete|all|away", "upload|all|away|1|1"] {
        let failure = run_on(&objects, &["put|all|a|x", command]).await.unwrap_err();
        let Fault::Host(fault) = failure.fault else { panic!("{command}: {failure}") };
        assert_eq!(fault.code, Code::BucketUnavailable);
    }
}

#[tokio::test]
async fn what_a_bucket_takes_is_not_taken_from_the_deadline() {
    let objects = Objects::default();
    let limits = StageLimits { deadline_ms: 200, ..StageLimits::default() };
    let mut instance =
        stage_of(StageConfig { limits, ..granted() }, &objects).await.instantiate(Mode::Live).await.unwrap();
    let done = instance.process_in_time(&batch(&["put|all|slow|x", "info|all|slow", "get|all|slow|0|9"])).await;
    assert_eq!(values(&done.unwrap().outcome.outputs), ["1", "1", "x"]);
}

#[tokio::test]
async fn what_the_host_does_for_a_guest_costs_it_fuel() {
    let fuel = async |commands: &[&str]| run_on(&Objects::default(), commands).await.unwrap().fuel;
    let once = fuel(&["put|all|a|x"]).await;
    assert!(once > 100_000, "opening and a put cost {once}");
    assert_eq!(once, fuel(&["put|all|a|x"]).await);
    let (small, large) = (fuel(&["fill|all|a|1"]).await, fuel(&["fill|all|a|1000001"]).await);
    assert!(large > small + 1_000_000, "{small}, then {large}");
    let (fill, get) = (fuel(&["fill|all|a|1000000"]).await, fuel(&["fill|all|a|1000000", "get|all|a|0|1000000"]).await);
    assert!(get > fill + 1_000_000, "{fill}, then {get}");
    let (write, fill) = (fuel(&["write|all|a|1000000"]).await, fuel(&["write|all|a|1"]).await);
    assert!(write > fill + 999_999, "{fill}, then {write}");
}

#[tokio::test]
async fn buckets_need_their_grant_and_are_not_for_init() {
    let wasm = bulkhead_test_guests::wasm("bucketed");
    let module = engine().load(ModuleDigest::of(wasm), async || Ok(wasm.into())).await.unwrap();
    let refused = module.stage(stage_config("bucketed"), Arc::new(Lines::default())).unwrap_err();
    let Fault::Host(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.code, Code::GrantMissing);
    assert!(refused.message.contains("bulkhead:stage/bucket") && refused.message.contains("access: read"));
    let early = StageConfig { settings: "\"init\"".to_owned(), ..granted() };
    let stage = stage_of(early, &Objects::default()).await;
    let failure = stage.instantiate(Mode::Live).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Init);
    assert!(guest_fault(&failure).message.contains("outside of `process` and `tick`"), "{failure}");
}
