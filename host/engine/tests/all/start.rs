//! Guests that do not start, and what a stage is told.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, GuestFaultKind};
use bulkhead_core::limits::StageLimits;
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{Failure, INIT_FUEL_MAX, Mode, StageConfig};
use std::sync::Arc;

async fn does_not_start(guest: &str) -> Failure {
    let failure = stage(guest).await.instantiate(Mode::Live).await.expect_err("it started");
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Init);
    assert_eq!(failure.record, None);
    assert!(failure.fuel > 0);
    failure
}

#[tokio::test]
pub(crate) async fn init_fails() {
    let failure = does_not_start("init_fails").await;
    assert_eq!(guest_fault(&failure).message, "no rates for this year");
}

#[tokio::test]
pub(crate) async fn init_traps() {
    let failure = does_not_start("init_traps").await;
    let fault = guest_fault(&failure);
    assert!(fault.message.contains("trap") && fault.message.contains("cannot start"), "{fault}");
    assert!(!fault.backtrace.is_empty());
}

#[tokio::test]
pub(crate) async fn init_spins() {
    let failure = does_not_start("init_spins").await;
    assert!(guest_fault(&failure).message.contains("out-of-fuel"));
    assert_eq!(failure.fuel, INIT_FUEL_MAX);
}

#[tokio::test]
pub(crate) async fn init_marks() {
    let failure = does_not_start("init_marks").await;
    assert!(guest_fault(&failure).message.contains("outside of `process`"));
}

#[tokio::test]
async fn a_memory_limit_below_what_the_module_needs_at_once_is_named() {
    let limits = StageLimits { memory_bytes: 64 << 10, ..StageLimits::default() };
    let failure = limited("passthrough", limits).await.instantiate(Mode::Live).await.unwrap_err();
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::Init);
    assert!(fault.message.contains("memory"), "{fault}");
}

#[tokio::test]
async fn limits_above_what_is_allowed_are_refused() {
    let wasm = bulkhead_test_guests::wasm("passthrough");
    let module = engine().load(ModuleDigest::of(wasm), async || Ok(wasm.into())).await.unwrap();
    let limits = StageLimits { memory_bytes: StageLimits::MAX.memory_bytes + 1, ..StageLimits::default() };
    let config = StageConfig { limits, ..stage_config("passthrough") };
    let refused = module.stage(config, Arc::new(Lines::default())).unwrap_err();
    let Fault::Host(fault) = refused else { panic!("{refused}") };
    assert_eq!(fault.code, Code::LimitExceeded);
    assert!(fault.message.contains("memory_bytes"), "{fault}");
}

#[tokio::test]
async fn starting_is_charged() {
    let instance = instance("passthrough").await;
    assert!(instance.init_fuel() > 0 && instance.init_fuel() < 1_000_000, "{}", instance.init_fuel());
}
