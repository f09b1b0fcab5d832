//! What is refused at upload, and in which words.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, HostFault};
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{Engine, Refusal};

async fn refused(wasm: impl Into<bytes::Bytes>) -> Refusal {
    engine().inspect(wasm.into()).await.expect_err("it passed")
}

#[tokio::test]
async fn a_stage_passes_and_its_imports_are_listed() {
    let wasm = bulkhead_test_guests::wasm("passthrough");
    let inspection = engine().inspect(wasm.into()).await.unwrap();
    assert_eq!(inspection.digest, ModuleDigest::of(wasm));
    assert!(inspection.imports.iter().any(|import| import == "bulkhead:stage/host@0.1.0"));
    assert!(!inspection.ticks);
    assert!(engine().inspect(bulkhead_test_guests::wasm("stateful").into()).await.unwrap().ticks);
    assert!(inspection.imports.iter().any(|import| import.starts_with("wasi:clocks/monotonic-clock@0.2")));
}

#[tokio::test]
pub(crate) async fn sockets() {
    let refusal = refused(bulkhead_test_guests::wasm("sockets")).await;
    assert_eq!(refusal.code, Code::ImportNotGranted);
    assert!(refusal.detail.contains("`wasi:sockets/tcp@0.2"), "{refusal}");
    assert!(refusal.detail.contains("grant of network addresses"), "{refusal}");
    assert!(!refusal.detail.contains("wasi:clocks"), "{refusal}");
}

#[tokio::test]
async fn what_is_not_wasm_is_refused_with_a_hint() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "empty"),
        (b"(component)", "text"),
        (b"\x1f\x8b\x08\x00", "compressed"),
        (b"\x7fELF", "native program"),
        (b"garbage", "00 61 73 6d"),
    ];
    for (bytes, hint) in cases {
        let refusal = refused(bytes).await;
        assert_eq!(refusal.code, Code::NotWasm);
        assert!(refusal.detail.contains(hint), "{refusal}");
    }
}

#[tokio::test]
async fn a_core_module_is_told_the_target() {
    let refusal = refused(&b"\0asm\x01\0\0\0"[..]).await;
    assert_eq!(refusal.code, Code::CoreModule);
    assert!(refusal.detail.contains("wasm32-wasip2"), "{refusal}");
}

#[tokio::test]
async fn a_truncated_component_is_invalid_wherever_it_ends() {
    let wasm = bulkhead_test_guests::wasm("passthrough");
    for end in [9, 100, wasm.len() / 2, wasm.len() - 1] {
        let refusal = refused(&wasm[..end]).await;
        assert!(matches!(refusal.code, Code::ModuleInvalid | Code::WrongWorld), "cut at {end}: {refusal}");
    }
    assert_eq!(refused(&wasm[..wasm.len() / 2]).await.code, Code::ModuleInvalid);
}

#[tokio::test]
async fn a_changed_component_is_refused_or_runs_but_harms_nobody() {
    let wasm = bulkhead_test_guests::wasm("passthrough");
    for i in 1..20 {
        let mut changed = wasm.to_vec();
        let at = i * wasm.len() / 20;
        changed[at] ^= 0xff;
        if let Err(refusal) = engine().inspect(changed.into()).await {
            assert_ne!(refusal.code, Code::CompilerFailed, "changed at {at}: {refusal}");
        }
    }
}

#[tokio::test]
async fn a_component_of_another_world_is_told_what_to_export() {
    let empty = b"\0asm\x0d\0\x01\0";
    let refusal = refused(&empty[..]).await;
    assert_eq!(refusal.code, Code::WrongWorld);
    assert!(refusal.detail.contains("bulkhead:stage/processor@0.1.0"), "{refusal}");
}

#[tokio::test]
async fn a_component_with_the_right_name_and_the_wrong_functions_is_of_another_world() {
    let refusal = refused(bulkhead_test_guests::bombs::nested(0)).await;
    assert_eq!(refusal.code, Code::WrongWorld);
    assert!(refusal.detail.contains("bulkhead:stage"), "{refusal}");
}

#[tokio::test]
async fn imports_are_refused_by_name_even_in_great_numbers_and_with_strange_names() {
    let refusal = refused(bulkhead_test_guests::bombs::imports(50)).await;
    assert_eq!(refusal.code, Code::ImportNotGranted);
    assert!(refusal.detail.contains("`acme:secret0/read@1.0.0`"), "{refusal}");
    assert!(refusal.detail.contains("; and 42 more. A stage may import"), "{refusal}");
}

#[tokio::test]
async fn loading_checks_the_digest_of_what_was_fetched() {
    let wanted = ModuleDigest::of(b"wanted");
    let wasm = bulkhead_test_guests::wasm("passthrough");
    let fault = engine().load(wanted, async || Ok(wasm.into())).await.unwrap_err();
    assert!(matches!(fault, Fault::Host(fault) if fault.code == Code::DigestMismatch));
}

#[tokio::test]
async fn a_fetch_that_fails_is_reported_as_it_is_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(folder.path())).unwrap();
    let wasm = bulkhead_test_guests::wasm("passthrough");
    let digest = ModuleDigest::of(wasm);
    let away = HostFault::new(Code::ModuleFetch, "control is away");
    let fault = engine.load(digest, async || Err(away.clone())).await.unwrap_err();
    assert_eq!(fault, Fault::Host(away));
    assert!(engine.load(digest, async || Ok(wasm.into())).await.is_ok());
}
