//! Modules that would cost the compiler too much, and what becomes of its child.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_core::limits::MODULE_BYTES_MAX;
use bulkhead_engine::{CompileLimits, CompilerCommand, Engine, EngineConfig, Refusal};
use bulkhead_test_guests::bombs::{self, bomb};
use std::fs;
use std::path::Path;
use std::time::Duration;

fn with(folder: &Path, limits: CompileLimits) -> Engine {
    Engine::new(EngineConfig { compile: limits, ..config(folder) }).unwrap()
}

async fn refused(limits: CompileLimits, wasm: Vec<u8>) -> Refusal {
    let folder = tempfile::tempdir().unwrap();
    with(folder.path(), limits).inspect(wasm.into()).await.expect_err("it passed")
}

#[tokio::test]
async fn a_bomb_dies_of_cpu_time() {
    let refusal = refused(CompileLimits { cpu_seconds: 1, ..CompileLimits::default() }, bomb()).await;
    assert_eq!(refusal.code, Code::CompileLimit);
    assert!(refusal.detail.starts_with("CPU time: at most 1 s"), "{refusal}");
}

#[tokio::test]
async fn a_bomb_dies_of_wall_time() {
    let refusal = refused(CompileLimits { wall_ms: 300, ..CompileLimits::default() }, bomb()).await;
    assert_eq!(refusal.code, Code::CompileLimit);
    assert!(refusal.detail.starts_with("time: at most 300 ms"), "{refusal}");
}

#[tokio::test]
async fn a_bomb_dies_of_memory() {
    let limits = CompileLimits { address_space_bytes: 250 << 20, ..CompileLimits::default() };
    let refusal = refused(limits, bomb()).await;
    assert_eq!(refusal.code, Code::CompileLimit);
    assert!(refusal.detail.contains("address space"), "{refusal}");
}

#[tokio::test]
async fn counts_and_sizes_are_refused_before_anything_is_compiled() {
    let some = CompileLimits { functions: 10, function_bytes: 10_000, locals: 100, ..CompileLimits::default() };
    for (wasm, words) in [
        (bombs::functions(11, &bombs::empty()), "functions: at most 10"),
        (bombs::functions(1, &bombs::jumps(200)), "bytes of one function: at most 10000"),
        (bombs::functions(1, &bombs::locals(120)), "locals of one function: at most 100"),
    ] {
        let refusal = refused(some, wasm).await;
        assert_eq!(refusal.code, Code::CompileLimit);
        assert!(refusal.detail.contains(words), "{refusal}");
    }
}

#[tokio::test]
async fn what_is_dear_by_its_shape_is_refused_before_anything_is_compiled() {
    for (wasm, code, words) in [
        (bombs::functions(200_001, &bombs::empty()), Code::CompileLimit, "functions: at most 200000"),
        (bombs::functions(1, &bombs::long(1 << 19)), Code::CompileLimit, "bytes of one function: at most 1048576"),
        (bombs::functions(1, &bombs::locals(50_000)), Code::CompileLimit, "locals of one function: at most 20000"),
        (bombs::nested(100), Code::CompileLimit, "components within components: at most 32"),
        (bombs::types(40), Code::ModuleInvalid, "effective type size"),
        (bombs::imports(2_000), Code::CompileLimit, "imports: at most 1000"),
    ] {
        let refusal = refused(CompileLimits { cpu_seconds: 10, ..CompileLimits::default() }, wasm).await;
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.detail.contains(words), "{refusal}");
    }
}

#[tokio::test]
async fn a_module_above_the_size_limit_is_refused() {
    let refusal = refused(CompileLimits::default(), vec![0; MODULE_BYTES_MAX as usize + 1]).await;
    assert_eq!(refusal.code, Code::ModuleTooLarge);
    assert!(refusal.detail.contains(&MODULE_BYTES_MAX.to_string()), "{refusal}");
}

#[tokio::test]
async fn compiled_code_above_its_limit_is_refused() {
    let wasm = bulkhead_test_guests::wasm("passthrough").to_vec();
    let refusal = refused(CompileLimits { output_bytes: 10_000, ..CompileLimits::default() }, wasm).await;
    assert_eq!(refusal.code, Code::CompileLimit);
    assert!(refusal.detail.contains("compiled code: at most 10000 bytes"), "{refusal}");
}

#[tokio::test]
async fn a_compiler_that_cannot_start_or_talks_nonsense_is_the_hosts_fault() {
    let folder = tempfile::tempdir().unwrap();
    for (program, args) in
        [("/nonexistent", vec![]), ("/bin/true", vec![]), ("/bin/sh", vec!["-c".into(), "cat; exit 3".into()])]
    {
        let compiler = CompilerCommand { program: program.into(), args };
        let engine = Engine::new(EngineConfig { compiler, ..config(folder.path()) }).unwrap();
        let refusal = engine.inspect(bulkhead_test_guests::wasm("passthrough").into()).await.unwrap_err();
        assert_eq!(refusal.code, Code::CompilerFailed, "{program}");
    }
}

/// A compiler that leaves its process id behind.
fn noted(folder: &Path) -> CompilerCommand {
    let script = format!(
        "echo $$ >{0}/pid.new; /bin/mv {0}/pid.new {0}/pid; exec {1}",
        folder.display(),
        compiler().program.display()
    );
    CompilerCommand { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()] }
}

/// Waits until there is a file, or until there is none.
async fn until(path: &Path, there: bool) {
    let wait = async {
        while path.exists() != there {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{} stays", path.display()));
}

#[tokio::test]
async fn no_child_is_left_behind() {
    // Ended by its wall time, and by an upload that was given up.
    for wall_ms in [500, 100_000] {
        let folder = tempfile::tempdir().unwrap();
        let limits = CompileLimits { wall_ms, ..CompileLimits::default() };
        let settings = EngineConfig { compiler: noted(folder.path()), compile: limits, ..config(folder.path()) };
        let engine = Engine::new(settings).unwrap();
        let inspecting = tokio::spawn(async move { engine.inspect(bomb().into()).await });
        let pid = folder.path().join("pid");
        until(&pid, true).await;
        let process = Path::new("/proc").join(fs::read_to_string(&pid).unwrap().trim());
        if let Ok(environment) = fs::read_to_string(process.join("environ")) {
            assert!(!environment.contains("CARGO"), "the child inherits: {environment:?}");
        }
        if wall_ms == 500 {
            assert_eq!(inspecting.await.unwrap().unwrap_err().code, Code::CompileLimit);
            assert!(!process.exists(), "a child that was ended was not reaped");
        } else {
            inspecting.abort();
            until(&process, false).await;
        }
    }
}

/// The child's limits and its empty world, as the system sees them, while it waits for a module.
#[test]
fn the_child_bounds_itself_before_it_reads_a_module() {
    use std::io::Write;
    let compiler = compiler();
    let mut child = std::process::Command::new(&compiler.program)
        .env_clear()
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let request = serde_json::json!({ "limits": CompileLimits::default() });
    writeln!(child.stdin.as_ref().unwrap(), "{request}").unwrap();
    let path = format!("/proc/{}/limits", child.id());
    let wanted = [
        "Max cpu time 120 122",
        "Max file size 0 0",
        "Max core file size 0 0",
        "Max address space 4294967296 4294967296",
    ];
    let bounded = || {
        let limits = fs::read_to_string(&path).unwrap();
        let limits: Vec<String> =
            limits.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        wanted.iter().all(|wanted| limits.iter().any(|limit| limit.starts_with(wanted)))
    };
    let start = std::time::Instant::now();
    while !bounded() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(bounded(), "{}", fs::read_to_string(&path).unwrap());
    // The filters come right after the limits.
    let confined = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        ["NoNewPrivs:\t1", "Seccomp:\t2", "Seccomp_filters:\t3"].iter().all(|line| status.contains(line))
    };
    while !confined() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(confined());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
