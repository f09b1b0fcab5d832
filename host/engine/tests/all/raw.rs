//! Stages that no compiler would emit: what they declare is refused at upload, and what they return is not believed.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_core::fault::GuestFaultKind;
use bulkhead_core::limits::StageLimits;
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{Failure, INIT_FUEL_MAX, Mode, Stage, StageConfig};
use bulkhead_test_guests::raw;
use std::sync::Arc;

async fn stage(wasm: Vec<u8>, limits: StageLimits) -> Stage {
    let module = engine().load(ModuleDigest::of(&wasm), async || Ok(wasm.clone().into())).await.unwrap();
    module.stage(StageConfig { limits, ..stage_config("raw") }, Arc::new(Lines::default())).unwrap()
}

/// A batch with a bad record between good ones.
async fn strike(wasm: Vec<u8>, limits: StageLimits) -> Failure {
    let stage = stage(wasm, limits).await;
    let mut instance = stage.instantiate(CONFIRM).await.unwrap();
    assert!(instance.process(&batch(&["a", "b"])).await.unwrap().outcome.outputs.is_empty());
    instance.process(&batch(&["a", "!", "b"])).await.unwrap_err()
}

#[tokio::test]
async fn a_table_grows_up_to_its_limit() {
    let failure = strike(raw::table_growth(), StageLimits::default()).await;
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfMemory);
}

#[tokio::test]
async fn an_instruction_that_fills_memory_costs_fuel_by_the_byte_and_gives_way() {
    let limits = StageLimits { fuel_per_record: 100_000_000, ..StageLimits::default() };
    let stage = stage(raw::bulk_fill(), limits).await;
    let mut instance = stage.instantiate(Mode::Live).await.unwrap();
    let bad = batch(&["!"]);
    let (failed, yields) = count_yields(instance.process(&bad)).await;
    assert_eq!(guest_fault(&failed.unwrap_err()).kind, GuestFaultKind::OutOfFuel);
    assert!(yields >= 2, "{yields} yields");
}

#[tokio::test]
async fn a_loop_that_names_no_record_burns_what_all_its_records_may_and_blames_none() {
    let limits = StageLimits { fuel_per_record: 1_000_000, ..StageLimits::default() };
    let failure = strike(raw::nameless_spin(), limits).await;
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfFuel);
    assert_eq!((failure.record, failure.fuel), (None, 3 * limits.fuel_per_record));
}

#[tokio::test]
async fn a_start_function_without_end_runs_out_of_fuel() {
    let stage = stage(raw::start_spins(), StageLimits::default()).await;
    let failure = stage.instantiate(Mode::Live).await.expect_err("it started");
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Init);
    assert_eq!(failure.fuel, INIT_FUEL_MAX);
}

#[tokio::test]
async fn an_outcome_that_lies_outside_of_the_memory_is_malformed() {
    for wasm in [raw::wild_outcome(), raw::wild_column()] {
        let failure = strike(wasm, StageLimits::default()).await;
        assert_eq!(guest_fault(&failure).kind, GuestFaultKind::MalformedOutput, "{failure}");
    }
}

#[tokio::test]
async fn columns_on_top_of_each_other_count_each() {
    let failure = strike(raw::columns_on_top_of_each_other(), StageLimits::default()).await;
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutputTooLarge, "{failure}");
}

#[tokio::test]
async fn what_no_slot_could_hold_is_refused_at_upload() {
    for wasm in [raw::declares_4_gib(), raw::declares_memories(), raw::declares_table(), raw::declares_shared_memory()]
    {
        let refusal = engine().inspect(wasm.into()).await.expect_err("it passed");
        assert_eq!(refusal.code, Code::ModuleInvalid, "{refusal}");
    }
}
