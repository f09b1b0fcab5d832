//! Guests that break the contract or take more than is theirs: each is its own fault, and names its record.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, GuestFaultKind};
use bulkhead_core::limits::StageLimits;
use bulkhead_engine::{
    Failure, LOG_LINE_BYTES_MAX, LOG_LINES_BURST, LOG_LINES_PER_SECOND, Level, Mode, YIELD_INTERVAL_FUEL,
};
use std::time::{Duration, Instant};

/// Runs a guest whose third record is bad.
async fn third_is_bad(guest: &str) -> Failure {
    run(guest, &["a", "b", "!", "c"]).await.unwrap_err()
}

#[tokio::test]
pub(crate) async fn trap() {
    let failure = run("trap", &["a", "!9", "b"]).await.unwrap_err();
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::Trap);
    assert_eq!(failure.record, Some(1));
    assert!(fault.message.contains("cannot parse !9"), "the panic's words are not in {}", fault.message);
    assert!(!fault.message.contains("RUST_BACKTRACE"), "{}", fault.message);
    let frame = fault.backtrace.iter().find(|frame| frame.contains("refuse_to_parse"));
    assert!(frame.is_some_and(|frame| frame.contains("::trap::")), "not demangled: {:#?}", fault.backtrace);
    assert!(fault.backtrace.len() <= 32);
    assert!(failure.fuel > 0 && failure.fuel <= 2 * YIELD_INTERVAL_FUEL, "{}", failure.fuel);
}

#[tokio::test]
async fn an_instance_is_refused_after_its_failure() {
    let mut instance = instance("trap").await;
    instance.process(&batch(&["!"])).await.unwrap_err();
    let again = instance.process(&batch(&["a"])).await.unwrap_err();
    assert!(matches!(again.fault, Fault::Host(fault) if fault.code == Code::Internal));
    assert_eq!(again.fuel, 0);
}

#[tokio::test]
pub(crate) async fn recursion() {
    let failure = third_is_bad("recursion").await;
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::Trap);
    assert!(fault.message.contains("stack"), "{fault}");
    assert_eq!(failure.record, Some(2));
    assert_eq!(fault.backtrace.len(), 32);
}

#[tokio::test]
pub(crate) async fn exhaust_memory() {
    let failure = third_is_bad("exhaust_memory").await;
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfMemory);
    assert_eq!(failure.record, Some(2));
}

#[tokio::test]
pub(crate) async fn denied_then_trap() {
    let failure = run("denied_then_trap", &["!ask", "!trap"]).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Trap, "the guest had got over the denial");
    assert_eq!(failure.record, Some(1));
}

#[tokio::test]
pub(crate) async fn huge_output() {
    // Filling and copying cost fuel by the byte.
    let limits = StageLimits { fuel_per_record: 500_000_000, ..StageLimits::default() };
    let mut instance = limited("huge_output", limits).await.instantiate(CONFIRM).await.unwrap();
    let failure = instance.process(&batch(&["a", "!"])).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutputTooLarge);
    assert_eq!(failure.record, None);
    let limits = StageLimits { output_bytes: 32 << 20, ..limits };
    let mut allowed = limited("huge_output", limits).await.instantiate(CONFIRM).await.unwrap();
    assert_eq!(allowed.process(&batch(&["a", "!"])).await.unwrap().outcome.outputs.len(), 2);
}

#[tokio::test]
async fn outputs_a_little_above_the_limit_are_refused_too() {
    let limits = StageLimits { output_bytes: 200, ..StageLimits::default() };
    let stage = limited("passthrough", limits).await;
    let run = async |bytes| stage.instantiate(CONFIRM).await.unwrap().process(&batch(&[&"x".repeat(bytes)])).await;
    assert!(run(100).await.is_ok());
    assert_eq!(guest_fault(&run(200).await.unwrap_err()).kind, GuestFaultKind::OutputTooLarge);
}

#[tokio::test]
pub(crate) async fn many_outputs() {
    let max = StageLimits::default().output_records;
    assert!(run("many_outputs", &[&format!("!{max}")]).await.is_ok());
    let failure = run("many_outputs", &[&format!("!{}", max + 1)]).await.unwrap_err();
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::OutputTooLarge);
    assert!(fault.message.contains(&max.to_string()), "{fault}");
}

#[tokio::test]
pub(crate) async fn malformed() {
    let rules = [
        ("rows", "same number of rows"),
        ("source-falls", "outputs.source"),
        ("source-beyond", "outputs.source"),
        ("to-unknown", "outputs.to"),
        ("inherit", "outputs.inherit"),
        ("values-missing", "outputs.values"),
        ("ends-fall", "outputs.values"),
        ("ends-short", "outputs.values"),
        ("ends-beyond", "outputs.values"),
        ("nulls", "`nulls`"),
        ("keys", "outputs.keys"),
        ("timestamps", "outputs.timestamps"),
        ("headers", "headers"),
        ("header-rows", "headers"),
        ("header-beyond", "headers"),
        ("exception-beyond", "exceptions"),
        ("exception-twice", "exceptions"),
    ];
    for (rule, words) in rules {
        let failure = run("malformed", &["aaa", "b", &format!("!{rule}")]).await.expect_err(rule);
        let fault = guest_fault(&failure);
        assert_eq!(fault.kind, GuestFaultKind::MalformedOutput, "{rule}");
        assert!(fault.message.contains(words), "{rule}: {fault}");
        assert_eq!(failure.record, None, "{rule}");
    }
}

#[tokio::test]
pub(crate) async fn call_flood() {
    let limits = StageLimits { fuel_per_record: 5_000_000, ..StageLimits::default() };
    let mut instance = limited("call_flood", limits).await.instantiate(Mode::Live).await.unwrap();
    let batch = batch(&["a", "!"]);
    let (failed, yields) = count_yields(instance.process(&batch)).await;
    let failure = failed.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfFuel);
    assert_eq!(failure.record, Some(1));
    assert!(yields >= 3, "{yields} yields");
}

#[tokio::test]
pub(crate) async fn random_flood() {
    let limits = StageLimits { fuel_per_record: 20_000_000, ..StageLimits::default() };
    let stage = limited("random_flood", limits).await;
    let mut instance = stage.instantiate(CONFIRM).await.unwrap();
    let bad = batch(&["a", "!"]);
    let (failed, yields) = count_yields(instance.process(&bad)).await;
    let failure = failed.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfFuel);
    assert_eq!(failure.record, Some(1));
    assert!(yields >= 10, "{yields} yields");

    let failure = stage.instantiate(CONFIRM).await.unwrap().process(&batch(&["!once"])).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfFuel, "a gigabyte costs a gigabyte's fuel");
    let plenty = StageLimits { fuel_per_record: StageLimits::MAX.fuel_per_record, ..limits };
    let mut instance = limited("random_flood", plenty).await.instantiate(CONFIRM).await.unwrap();
    let failure = instance.process(&batch(&["!once"])).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Misuse);
}

#[tokio::test]
pub(crate) async fn poll_flood() {
    let failure = third_is_bad("poll_flood").await;
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::Misuse);
    assert!(fault.message.contains("128"), "{fault}");
    assert_eq!(failure.record, Some(2));
}

#[tokio::test]
pub(crate) async fn handles() {
    let failure = third_is_bad("handles").await;
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::Misuse, "{fault}");
    assert!(fault.message.contains("handles"), "{fault}");
    assert_eq!(failure.record, Some(2));
}

#[tokio::test]
pub(crate) async fn log_flood() {
    let (stage, lines) = stage_on(engine(), "log_flood", stage_config("log_flood")).await;
    let mut instance = stage.instantiate(Mode::Live).await.unwrap();
    let start = Instant::now();
    let processed = instance.process(&batch(&["a", "!5000"])).await.unwrap();
    let earned = (start.elapsed().as_secs() as usize + 1) * LOG_LINES_PER_SECOND as usize;
    let lines = lines.all();
    assert!(lines.len() >= LOG_LINES_BURST as usize, "{} lines", lines.len());
    // Each line that is let through after a drop may come with a notice of it.
    assert!(lines.len() <= LOG_LINES_BURST as usize + 2 * earned, "{} lines", lines.len());
    let (level, long) = &lines[0];
    assert_eq!(*level, Level::Warn);
    assert!(long.len() <= LOG_LINE_BYTES_MAX && long.len() > LOG_LINE_BYTES_MAX - 4 && long.ends_with('€'));
    assert_eq!(lines[1], (Level::Info, "line 0".to_owned()));
    assert!(processed.fuel > 5_000_000, "a line costs fuel: {}", processed.fuel);
}

#[tokio::test]
pub(crate) async fn marks_backwards() {
    let failure = third_is_bad("marks_backwards").await;
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::Misuse);
    assert!(fault.message.contains("must rise"), "{fault}");
    assert_eq!(failure.record, Some(2));
}

#[tokio::test]
pub(crate) async fn marks_beyond() {
    let failure = third_is_bad("marks_beyond").await;
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::Misuse);
    assert!(fault.message.contains("4 records"), "{fault}");
    assert_eq!(failure.record, Some(2));
}

#[tokio::test]
pub(crate) async fn exits() {
    let failure = third_is_bad("exits").await;
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::Trap);
    assert!(fault.message.contains("ended itself"), "{fault}");
    assert_eq!(failure.record, Some(2));
}

#[tokio::test]
pub(crate) async fn sleep() {
    let mut instance = instance("sleep").await;
    let bad = batch(&["a", "!", "b"]);
    let called = tokio::time::timeout(Duration::from_millis(20), instance.process(&bad)).await;
    assert!(called.is_err(), "an hour passed");
    assert_eq!(instance.last_mark(), Some(1));
    assert!(instance.fuel_after_drop() > 0);
    let again = instance.process(&batch(&["a"])).await.unwrap_err();
    assert!(matches!(again.fault, Fault::Host(_)), "{again}");
}

#[tokio::test]
pub(crate) async fn third_call() {
    let stage = stage("third_call").await;
    let mut instance = stage.instantiate(CONFIRM).await.unwrap();
    let records = batch(&["a"]);
    assert!(instance.process(&records).await.is_ok());
    assert!(instance.process(&records).await.is_ok());
    let failure = instance.process(&records).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Trap);
    assert_eq!(failure.record, None, "it had not marked yet");
    // The same record passes alone, on memory of its own.
    assert!(stage.instantiate(CONFIRM).await.unwrap().process(&records).await.is_ok());
}

#[tokio::test]
async fn a_full_pool_is_the_hosts_fault() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.pool.instances = 1;
    let engine = bulkhead_engine::Engine::new(config).unwrap();
    let (stage, _) = stage_on(&engine, "passthrough", stage_config("passthrough")).await;
    let first = stage.instantiate(Mode::Live).await.unwrap();
    let second = stage.instantiate(Mode::Live).await.unwrap_err();
    assert!(matches!(second.fault, Fault::Host(fault) if fault.code == Code::Unavailable));
    drop(first);
    assert!(stage.instantiate(Mode::Live).await.is_ok(), "the place is free again");
}

#[tokio::test]
pub(crate) async fn company() {
    assert!(run("company", &["!"]).await.is_ok());
    let failure = run("company", &["a", "!"]).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Trap);
    assert_eq!(failure.record, Some(1));
}
