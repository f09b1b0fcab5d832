//! Guests that keep the contract.

use crate::support::*;
use bulkhead_core::columns::{Action, RecordBatch};
use bulkhead_core::limits::{REASON_BYTES_MAX, StageLimits};
use bulkhead_engine::{Level, Mode, StageConfig};

#[tokio::test]
pub(crate) async fn passthrough() {
    let mut batch = RecordBatch { topic: 0, partition: 3, ..RecordBatch::default() };
    batch.push(5, 50, None, Some(b"no key"), []);
    batch.push(7, 70, Some(b""), None, [(&b"a"[..], Some(&b"1"[..])), (b"b", None)]);
    for i in 8..30 {
        batch.push(i, 10 * i, Some(b"k"), Some(b"v"), []);
    }
    let processed = instance("passthrough").await.process(&batch).await.unwrap();
    let outputs = processed.outcome.outputs;
    assert_eq!(outputs.len(), batch.len());
    for i in 0..batch.len() {
        assert_eq!(outputs.key(i, &batch), batch.keys.get(i));
        assert_eq!(outputs.values.get(i), batch.values.get(i));
        assert_eq!(outputs.timestamp(i, &batch), batch.timestamps[i]);
        assert!(outputs.headers(i, &batch).eq(batch.headers.row(i)));
    }
    assert!(processed.fuel > 0);
}

/// The host's own executor moves guests between threads.
#[test]
fn guests_may_move_between_threads() {
    fn movable<T: Send>(_: &T) {}
    movable(&async {
        let mut instance = instance("passthrough").await;
        movable(&instance);
        instance.process(&batch(&["a"])).await.unwrap();
    });
}

#[tokio::test]
async fn an_instance_takes_one_batch_after_another() {
    let mut instance = instance("passthrough").await;
    for value in ["a", "b", "c"] {
        let processed = instance.process(&batch(&[value])).await.unwrap();
        assert_eq!(values(&processed.outcome.outputs), [value]);
    }
    assert_eq!(instance.process(&batch(&[])).await.unwrap().fuel, 0);
}

#[tokio::test]
pub(crate) async fn filter() {
    let mut batch = batch(&["one", "#two", "three"]);
    batch.push(99, 0, None, None, []);
    let outputs = instance("filter").await.process(&batch).await.unwrap().outcome.outputs;
    assert_eq!(values(&outputs), ["ONE", "THREE"]);
    assert_eq!(outputs.source, [0, 2]);
}

#[tokio::test]
pub(crate) async fn fan_out() {
    let names = ["left", "right"];
    let config = StageConfig { outputs: names.map(str::to_owned).to_vec(), ..stage_config("fan_out") };
    let (stage, _) = stage_on(engine(), "fan_out", config).await;
    let batch = batch(&["x", "y"]);
    let outputs = stage.instantiate(Mode::Live).await.unwrap().process(&batch).await.unwrap().outcome.outputs;
    assert_eq!(outputs.to, [0, 1, 0, 1]);
    assert_eq!(outputs.source, [0, 0, 1, 1]);
    for i in 0..4 {
        let name = names[i % 2].as_bytes();
        assert_eq!(outputs.key(i, &batch), Some(name));
        assert_eq!(outputs.timestamp(i, &batch), batch.timestamps[i / 2] + 1);
        assert!(outputs.headers(i, &batch).eq([(&b"output"[..], Some(name))]));
    }
}

#[tokio::test]
pub(crate) async fn exceptions() {
    let long = format!("!{}", "€".repeat(5_000));
    let outcome = run("exceptions", &["a", "!retry", "b", &long]).await.unwrap().outcome;
    assert_eq!(values(&outcome.outputs), ["a", "b"]);
    let [retry, dead] = outcome.exceptions.try_into().unwrap();
    assert_eq!((retry.index, retry.action, retry.reason.as_str()), (1, Action::Retry, "!retry"));
    assert_eq!((dead.index, dead.action), (3, Action::DeadLetter));
    assert!(dead.reason.len() <= REASON_BYTES_MAX && dead.reason.len() > REASON_BYTES_MAX - 4);
}

#[tokio::test]
pub(crate) async fn grow_slowly() {
    let limits = StageLimits { memory_bytes: 16 << 20, ..StageLimits::default() };
    let mut instance = limited("grow_slowly", limits).await.instantiate(CONFIRM).await.unwrap();
    let mut before = instance.memory_bytes();
    let mut batches = 0;
    let failure = loop {
        match instance.process(&batch(&["a"])).await {
            Ok(_) => batches += 1,
            Err(failure) => break failure,
        }
        let now = instance.memory_bytes();
        assert!(now >= before && now <= 16 << 20);
        before = now;
    };
    assert!((10..16).contains(&batches), "{batches} batches of a mebibyte each fitted into 16 MiB");
    assert_eq!(guest_fault(&failure).kind, bulkhead_core::fault::GuestFaultKind::OutOfMemory);
}

#[tokio::test]
pub(crate) async fn stdio() {
    let (stage, lines) = stage_on(engine(), "stdio", stage_config("stdio")).await;
    let mut instance = stage.instantiate(Mode::Live).await.unwrap();
    let long = "x".repeat(3_000);
    instance.process(&batch(&["out\nsecond\n", "!err", &long, &long])).await.unwrap();
    let lines = lines.all();
    let of = |level| lines.iter().filter(|line| line.0 == level).map(|line| line.1.as_str()).collect::<Vec<_>>();
    assert_eq!(of(Level::Warn), ["!err"]);
    let kept = "x".repeat(bulkhead_engine::LOG_LINE_BYTES_MAX);
    assert_eq!(of(Level::Info), ["out", "second", &kept]);
}

#[tokio::test]
pub(crate) async fn retry_twice() {
    let mut instance = instance("retry_twice").await;
    for asks in [1, 1, 0] {
        let outcome = instance.process(&batch(&["a", "!"])).await.unwrap().outcome;
        assert_eq!(outcome.exceptions.len(), asks);
        assert_eq!(outcome.outputs.len(), 2 - asks);
    }
}

#[tokio::test]
pub(crate) async fn to_rows() {
    let processed = instance("to_rows").await.process(&batch(&["7"])).await.unwrap();
    assert_eq!(processed.outcome.outputs.values.get(0), Some(&br#"{"n":7,"by":"1","partition":0}"#[..]));
}
