//! Compiled code is used again, and only where it is the host's own.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, HostFault};
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::Engine;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Loads a guest with a new engine on this folder; says how often its bytes were asked for.
async fn load(folder: &Path) -> u32 {
    let wasm = bulkhead_test_guests::wasm("passthrough");
    let fetched = AtomicU32::new(0);
    let fetch = async || {
        fetched.fetch_add(1, Ordering::Relaxed);
        Ok(wasm.into())
    };
    let engine = Engine::new(config(folder)).unwrap();
    let module = engine.load(ModuleDigest::of(wasm), fetch).await.unwrap();
    let stage = module.stage(stage_config("passthrough"), Arc::new(Lines::default())).unwrap();
    let processed = stage.instantiate(CONFIRM).await.unwrap().process(&batch(&["a"])).await.unwrap();
    assert_eq!(values(&processed.outcome.outputs), ["a"]);
    fetched.into_inner()
}

fn entry(folder: &Path) -> PathBuf {
    let entries: Vec<_> = fs::read_dir(folder.join("code")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

/// What was logged in this process.
fn logged() -> String {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        let writer = move || Shared(Arc::clone(&writer));
        tracing_subscriber::fmt().with_ansi(false).with_writer(writer).init();
        log
    });
    String::from_utf8(log.lock().unwrap().clone()).unwrap()
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn code_is_compiled_once_and_tampered_code_is_made_anew() {
    logged();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(folder.path()).await, 1);
    assert_eq!(load(folder.path()).await, 0, "the cache was not used");

    let path = entry(folder.path());
    let honest = fs::read(&path).unwrap();
    let mut tampered = honest.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    fs::write(&path, &tampered).unwrap();
    assert_eq!(load(folder.path()).await, 1, "tampered code was loaded");
    assert_ne!(fs::read(entry(folder.path())).unwrap(), tampered);
    let digest = ModuleDigest::of(bulkhead_test_guests::wasm("passthrough")).to_string();
    let log = logged();
    let warning = log.lines().find(|line| line.contains(Code::CacheRejected.id()) && line.contains(&digest));
    assert!(warning.is_some_and(|line| line.contains("WARN")), "no warning in {log}");

    assert_eq!(load(folder.path()).await, 0, "the new code is not kept");
}

#[tokio::test]
async fn a_module_in_use_is_shared_and_many_who_want_it_wait_for_one_compilation() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(folder.path())).unwrap();
    let wasm = bulkhead_test_guests::wasm("passthrough");
    let fetched = AtomicU32::new(0);
    let load = async || {
        let fetch = async || {
            fetched.fetch_add(1, Ordering::Relaxed);
            Ok(wasm.into())
        };
        engine.load(ModuleDigest::of(wasm), fetch).await.unwrap()
    };
    let (first, second, third) = tokio::join!(load(), load(), load());
    assert_eq!(fetched.load(Ordering::Relaxed), 1);
    drop((first, second, third));
}

#[tokio::test]
async fn a_cache_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("code"), "a file").unwrap();
    let fault: HostFault = Engine::new(config(folder.path())).unwrap_err();
    assert_eq!(fault.code, Code::ConfigInvalid);
    assert!(fault.message.contains("code"), "{fault}");
    assert!(matches!(Fault::from(fault), Fault::Host(_)));
}
