//! Secrets as a guest reads them: those that it was granted, under its own names, and no others.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, GuestFaultKind};
use bulkhead_core::grant::{Capability, Grants};
use bulkhead_core::name::ModuleDigest;
use bulkhead_core::secret::SecretValue;
use bulkhead_engine::{GrantedSecret, Mode, Stage, StageConfig};
use std::sync::Arc;

fn granted() -> StageConfig {
    StageConfig { grants: Grants::from_iter([Capability::Secrets]), ..stage_config("secretive") }
}

async fn stage_with(config: StageConfig, secrets: &[(&str, &[u8])]) -> Stage {
    let granted = secrets.iter().map(|(name, value)| GrantedSecret {
        name: name.parse().unwrap(),
        value: Arc::new(SecretValue::new(value.to_vec())),
    });
    stage_on(engine(), "secretive", config).await.0.with_secrets(granted.collect())
}

async fn told(stage: &Stage, values_in: &[&str]) -> Vec<String> {
    let mut instance = stage.instantiate(Mode::Live).await.unwrap();
    values(&instance.process(&batch(values_in)).await.unwrap().outcome.outputs)
}

#[tokio::test]
pub(crate) async fn secretive() {
    let stage = stage_with(granted(), &[("token", b"hunter2"), ("empty-not", &[0xff; 65_536])]).await;
    let said = told(&stage, &["token", "other", "", "empty-not", "TOKEN"]).await;
    assert!(said[0].starts_with("token 7 "), "{said:?}");
    assert_eq!((said[1].as_str(), said[2].as_str(), said[4].as_str()), ("other none", " none", "TOKEN none"));
    assert!(said[3].starts_with("empty-not 65536 "), "{said:?}");
}

#[tokio::test]
async fn another_value_is_another_stages() {
    let one = told(&stage_with(granted(), &[("token", b"hunter2")]).await, &["token"]).await;
    let two = told(&stage_with(granted(), &[("token", b"hunter3")]).await, &["token"]).await;
    assert_ne!(one, two);
    assert_eq!(told(&stage_with(granted(), &[]).await, &["token"]).await, ["token none"]);
}

#[tokio::test]
async fn init_may_read_a_secret() {
    let config = StageConfig { settings: "\"init\"".to_owned(), ..granted() };
    let said = told(&stage_with(config, &[("token", b"hunter2")]).await, &["anything"]).await;
    assert!(said[0].starts_with("token 7 "), "{said:?}");
}

#[tokio::test]
async fn the_import_needs_the_grant() {
    let wasm = bulkhead_test_guests::wasm("secretive");
    let module = engine().load(ModuleDigest::of(wasm), async || Ok(wasm.into())).await.unwrap();
    let Err(Fault::Host(fault)) = module.stage(stage_config("secretive"), Arc::new(Lines::default())) else {
        panic!("it was linked without a grant")
    };
    assert_eq!(fault.code, Code::GrantMissing);
    assert!(fault.message.contains("secrets: [db-password]"), "{fault}");
}

#[tokio::test]
async fn a_value_costs_fuel_and_is_in_no_fault() {
    let stage = stage_with(granted(), &[("token", b"hunter2"), ("large", &[b'x'; 60_000])]).await;
    let fuel = async |name: &str| {
        let mut instance = stage.instantiate(Mode::Live).await.unwrap();
        instance.process(&batch(&[name])).await.unwrap().fuel
    };
    assert!(fuel("large").await > fuel("token").await + 59_000);
    let mut instance = stage.instantiate(Mode::Live).await.unwrap();
    let failure = instance.process(&batch(&["trap|token"])).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Trap);
    let shown = format!("{failure:?} {stage:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
