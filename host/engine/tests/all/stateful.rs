//! A stage's own keys and values, and its ticks: what the sandbox sees to, whatever the store.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, GuestFaultKind, HostFault};
use bulkhead_core::grant::{Capability, Grants};
use bulkhead_core::limits::STATE_KEY_BYTES_MAX;
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{Failure, Instance, Mode, Processed, StageConfig, StateError, StateStore};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys and values in memory, of which there may be `max`.
struct Store {
    entries: Mutex<Entries>,
    max: usize,
}

impl StateStore for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        if key == b"broken" {
            return Err(StateError::Host(HostFault::new(Code::Internal, "the disk is gone")));
        }
        Ok(self.entries.lock().unwrap().get(key).cloned())
    }

    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        let mut entries = self.entries.lock().unwrap();
        if entries.len() == self.max && !entries.contains_key(key) {
            return Err(StateError::Full(format!("{} keys are enough", self.max)));
        }
        entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), StateError> {
        self.entries.lock().unwrap().remove(key);
        Ok(())
    }

    fn scan(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
        _: u64,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        let entries = self.entries.lock().unwrap();
        let found = entries.range(start.to_vec()..).filter(|(key, _)| end.is_none_or(|end| key.as_slice() < end));
        Ok(found.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

fn store(max: usize) -> Arc<Store> {
    Arc::new(Store { entries: Mutex::default(), max })
}

fn granted() -> StageConfig {
    StageConfig { grants: Grants::from_iter([Capability::State]), ..stage_config("stateful") }
}

async fn started() -> Instance {
    let (stage, _) = stage_on(engine(), "stateful", granted()).await;
    stage.instantiate(Mode::Live).await.unwrap()
}

async fn run_on(store: &Arc<Store>, values: &[&str]) -> Result<Processed, Failure> {
    started().await.with_state(store.clone()).process(&batch(values)).await
}

fn put_out(processed: &Processed) -> Vec<String> {
    values(&processed.outcome.outputs)
}

#[tokio::test]
pub(crate) async fn stateful() {
    let store = store(9);
    let commands = ["count a", "count b", "count a", "scan", "delete a", "count a", "scan"];
    let processed = run_on(&store, &commands).await.unwrap();
    assert_eq!(put_out(&processed), ["a=1", "b=1", "a=2", "a=2 b=1", "a=1", "a=1 b=1"]);
    let again = run_on(&store, &["scan"]).await.unwrap();
    assert_eq!(put_out(&again), ["a=1 b=1"], "another instance sees the same store");
}

#[tokio::test]
async fn what_the_host_does_for_a_guest_costs_it_the_same_fuel_each_time() {
    let fuel = async |commands: &[&str]| run_on(&store(9), commands).await.unwrap().fuel;
    let (small, large) = (fuel(&["fill a 10"]).await, fuel(&["fill a 100000"]).await);
    assert!(large > small + 99_990, "{small}, then {large}");
    assert_eq!(fuel(&["count a", "scan"]).await, fuel(&["count a", "scan"]).await);
}

#[tokio::test]
async fn keys_and_values_have_limits_and_breaking_them_names_the_record() {
    let longest = format!("key {STATE_KEY_BYTES_MAX}");
    let (empty, too_long) = ("key 0", format!("key {}", STATE_KEY_BYTES_MAX + 1));
    assert_eq!(put_out(&run_on(&store(9), &[&longest, "fill a 1048576"]).await.unwrap()).len(), 2);
    for bad in [empty, &too_long, "fill a 1048577"] {
        let failure = run_on(&store(9), &["count a", bad]).await.unwrap_err();
        assert_eq!((guest_fault(&failure).kind, failure.record), (GuestFaultKind::Misuse, Some(1)), "{bad}");
    }
}

#[tokio::test]
async fn a_full_store_is_the_fault_of_the_record_that_fills_it() {
    let failure = run_on(&store(2), &["count a", "count b", "count a", "count c"]).await.unwrap_err();
    let fault = guest_fault(&failure);
    assert_eq!((fault.kind, fault.kind.code(), failure.record), (GuestFaultKind::StateFull, Code::StateFull, Some(3)));
    assert_eq!(fault.message, "2 keys are enough");
}

#[tokio::test]
async fn a_store_that_fails_is_no_fault_of_the_guest() {
    let failure = run_on(&store(2), &["count broken"]).await.unwrap_err();
    assert!(matches!(failure.fault, Fault::Host(_)), "{failure}");
}

#[tokio::test]
async fn a_module_that_imports_state_needs_the_grant() {
    let wasm = bulkhead_test_guests::wasm("stateful");
    let module = engine().load(ModuleDigest::of(wasm), async || Ok(wasm.into())).await.unwrap();
    let refused = module.stage(stage_config("stateful"), Arc::new(Lines::default())).unwrap_err();
    let Fault::Host(fault) = refused else { panic!("{refused}") };
    assert_eq!(fault.code, Code::GrantMissing);
    assert!(fault.message.contains("bulkhead:stage/state") && fault.message.contains("maxBytes"), "{}", fault.message);
}

#[tokio::test]
async fn the_state_is_there_for_one_call_and_not_in_init() {
    let (stage, _) = stage_on(engine(), "stateful", StageConfig { settings: "\"init\"".to_owned(), ..granted() }).await;
    let failure = stage.instantiate(Mode::Live).await.unwrap_err();
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::Init);
    assert!(fault.message.contains("only `process` and `tick`"), "{}", fault.message);
    let mut instance = started().await;
    instance.with_state(store(9)).process(&batch(&["count a"])).await.unwrap();
    let failure = instance.process(&batch(&["count a"])).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Misuse, "what was lent once is not there again");
}

#[tokio::test]
async fn a_tick_acts_on_the_state_and_puts_out() {
    let store = store(9);
    run_on(&store, &["count b", "count a", "count b"]).await.unwrap();
    let mut instance = started().await;
    let ticked = instance.with_state(store.clone()).tick(0, 3, 1_800_000_000_000).await.unwrap();
    assert_eq!(values(&ticked.outputs), ["a=1", "b=2"]);
    assert!(ticked.fuel > 0);
    let none = instance.with_state(store.clone()).tick(0, 3, 1_800_000_001_000).await.unwrap();
    assert_eq!(values(&none.outputs), [""; 0], "all was removed, and the instance is good for more");
    run_on(&store, &["count !tick"]).await.unwrap();
    let failure = instance.with_state(store).tick(0, 3, 1_800_000_002_000).await.unwrap_err();
    assert_eq!((guest_fault(&failure).kind, failure.record), (GuestFaultKind::Trap, None));
}

#[tokio::test]
async fn only_a_stage_with_a_ticker_ticks() {
    assert!(stage_on(engine(), "stateful", granted()).await.0.ticks());
    assert!(!stage("passthrough").await.ticks());
    let failure = instance("passthrough").await.tick(0, 0, 0).await.unwrap_err();
    assert!(matches!(failure.fault, Fault::Host(_)), "{failure}");
}
