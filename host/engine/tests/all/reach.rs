//! Guests that reach for what is not theirs: another's memory, a fine clock, the host's stack and handles, another record's blame.

use crate::support::*;
use bulkhead_core::fault::GuestFaultKind;
use bulkhead_core::limits::StageLimits;
use bulkhead_engine::{
    Engine, EngineConfig, LOG_LINE_BYTES_MAX, LOG_LINES_BURST, LOG_LINES_PER_SECOND, Mode, PoolSizes,
};
use std::time::Instant;

#[tokio::test]
pub(crate) async fn remnant() {
    let folder = tempfile::tempdir().unwrap();
    // One slot, so that the second guest must have the first one's.
    let pool = PoolSizes { instances: 1, calls: 1, ..PoolSizes::default() };
    let engine = Engine::new(EngineConfig { pool, ..config(folder.path()) }).unwrap();
    let limits = StageLimits { fuel_per_record: 1_000_000_000, ..StageLimits::default() };
    let config = || bulkhead_engine::StageConfig { limits, ..stage_config("remnant") };
    let (one, _) = stage_on(&engine, "remnant", config()).await;
    let (other, _) = stage_on(&engine, "remnant", config()).await;
    let ask = async |stage: &bulkhead_engine::Stage, questions: &[&str]| {
        let mut instance = stage.instantiate(Mode::Live).await.unwrap();
        values(&instance.process(&batch(questions)).await.unwrap().outcome.outputs)
    };
    let left = ask(&one, &["!leave", "!look"]).await;
    assert_ne!(left[0], "0");
    assert_eq!(ask(&other, &["!look", "!look"]).await, ["0", "0"], "another's memory shows");
}

#[tokio::test]
pub(crate) async fn clock_probe() {
    // It waits for steps, and burns fuel meanwhile.
    let limits = StageLimits { fuel_per_record: StageLimits::MAX.fuel_per_record, ..StageLimits::default() };
    let mut instance = limited("clock_probe", limits).await.instantiate(Mode::Live).await.unwrap();
    let outcome = instance.process(&batch(&["!"])).await.unwrap().outcome;
    let smallest: u64 = values(&outcome.outputs)[0].parse().unwrap();
    assert!(smallest >= 1_000_000, "a clock steps by {smallest} ns");
}

#[tokio::test]
pub(crate) async fn deep_call() {
    for _ in 0..3 {
        let failure = run("deep_call", &["a", "!", "b"]).await.unwrap_err();
        let fault = guest_fault(&failure);
        assert_eq!(fault.kind, GuestFaultKind::Trap, "{fault}");
        assert!(fault.message.contains("stack"), "{fault}");
        assert_eq!(failure.record, Some(1));
    }
}

#[tokio::test]
pub(crate) async fn bad_calls() {
    for call in ["pointer", "length", "wraps", "level", "text", "handle", "drop", "other-kind", "twice"] {
        let failure = run("bad_calls", &["a", &format!("!{call}"), "b"]).await.expect_err(call);
        let fault = guest_fault(&failure);
        assert!(
            matches!(fault.kind, GuestFaultKind::Misuse | GuestFaultKind::Trap),
            "{call}: {:?} {fault}",
            fault.kind
        );
        assert_eq!(failure.record, Some(1), "{call}: {fault}");
    }
}

#[tokio::test]
pub(crate) async fn spin_then_trap() {
    const TURNS: u64 = 2_000_000;
    let failure = run("spin_then_trap", &["a", &format!("!{TURNS}")]).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Trap);
    assert_eq!(failure.record, Some(1));
    // A turn is three instructions at least, and a trap loses none of them.
    assert!(failure.fuel >= 3 * TURNS, "{} fuel for {TURNS} turns", failure.fuel);
}

/// Headers are the guest's own affair, whatever their names; that they say nothing to the host is shown where the host reads headers.
#[tokio::test]
pub(crate) async fn forged_headers() {
    let batch = batch(&["a", "b"]);
    let outputs = instance("forged_headers").await.process(&batch).await.unwrap().outcome.outputs;
    assert_eq!(values(&outputs), ["a", "b"]);
    for i in 0..2 {
        let names: Vec<_> = outputs.headers(i, &batch).map(|(name, _)| name.to_vec()).collect();
        assert!(names.len() > 10 && names.iter().all(|name| name.starts_with(b"bulkhead-")), "{names:?}");
    }
    let failure = run("forged_headers", &["a", "!"]).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Trap);
}

#[tokio::test]
pub(crate) async fn marks_ahead() {
    let failure = run("marks_ahead", &["a", "!", "b"]).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Trap);
    assert_eq!(failure.record, Some(2), "the lie is told as it was made");
    assert!(run("marks_ahead", &["b"]).await.is_ok(), "the record that was blamed passes alone");
    assert_eq!(run("marks_ahead", &["!"]).await.unwrap_err().record, Some(0));
}

#[tokio::test]
pub(crate) async fn stdout_flood() {
    let limits = StageLimits { fuel_per_record: 1_000_000_000, ..StageLimits::default() };
    let config = bulkhead_engine::StageConfig { limits, ..stage_config("stdout_flood") };
    let (stage, lines) = stage_on(engine(), "stdout_flood", config).await;
    let mut instance = stage.instantiate(Mode::Live).await.unwrap();
    let start = Instant::now();
    instance.process(&batch(&["a", "!3000"])).await.unwrap();
    let earned = (start.elapsed().as_secs() as usize + 1) * LOG_LINES_PER_SECOND as usize;
    let lines = lines.all();
    assert!((100..=LOG_LINES_BURST as usize + 2 * earned).contains(&lines.len()), "{} lines", lines.len());
    for (_, line) in &lines {
        assert!(line.len() <= LOG_LINE_BYTES_MAX && !line.contains('\u{1b}'), "{line:?}");
    }
}
