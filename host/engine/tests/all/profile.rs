//! Where fuel goes: samples of a guest's stack.

use crate::support::*;
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{Engine, Profile};
use std::path::Path;
use std::sync::Arc;

#[tokio::test]
async fn a_profiled_run_burns_the_same_and_charges_nearly_all_of_it_to_the_function_that_burns() {
    let values = ["400000", "800000"];
    let plain = run("work", &values).await.unwrap();

    let profile = Arc::<Profile>::default();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("profiling");
    let engine = Engine::profiling(config(&folder), profile.clone()).unwrap();
    let stage = stage_on(&engine, "work", stage_config("work")).await.0;
    let mut instance = stage.instantiate(CONFIRM).await.unwrap();
    let profiled = instance.process(&batch(&values)).await.unwrap();
    assert_eq!(plain, profiled);

    let all = profiled.fuel + instance.init_fuel();
    assert!(profile.fuel() <= all && profile.fuel() > all * 9 / 10, "{} of {all} were seen", profile.fuel());
    assert!(profile.samples() > 1_000, "{} samples", profile.samples());
    let of_work = |line: &String| -> Option<u64> {
        let (stack, fuel) = line.rsplit_once(' ')?;
        stack.contains("work").then(|| fuel.parse().ok())?
    };
    let work: u64 = profile.folded().iter().filter_map(of_work).sum();
    assert!(work > all * 9 / 10, "{work} of {all} in {:?}", profile.folded());
}

#[tokio::test]
async fn code_for_profiling_is_never_taken_for_a_workers() {
    let folder = tempfile::tempdir().unwrap();
    let profiling = Engine::profiling(config(folder.path()), Arc::default()).unwrap();
    let plain = Engine::new(config(folder.path())).unwrap();
    let wasm = bulkhead_test_guests::wasm("work");
    for engine in [&profiling, &plain] {
        // The same folder: each finds only what it made itself, or it would not load.
        engine.load(ModuleDigest::of(wasm), async || Ok(wasm.into())).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path().join("code")).unwrap().count(), 2);
}
