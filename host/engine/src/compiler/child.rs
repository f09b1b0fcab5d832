//! The child: bounds itself, then checks and compiles one module.
//!
//! Must never: read a byte of the module before its limits hold, or write anywhere but to its pipe.

use super::check::{self, clean};
use super::protocol::{Answer, LINE_BYTES_MAX, Request};
use crate::config::CompileLimits;
use crate::engine::Refusal;
use crate::settings;
use bulkhead_core::code::Code;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::UnshareFlags;
use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

/// Files that the child may have open: its three pipes, and what the runtime opens for a moment.
const FILES_MAX: u64 = 16;
/// CPU seconds between the signal that ends the child and the one that it could not ignore.
const CPU_GRACE_SECONDS: u64 = 2;

pub(super) fn run() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The parent reads this and logs it; nobody else does.
            _ = writeln!(io::stderr(), "compiler: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> io::Result<()> {
    leave_network();
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    (&mut input).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    let Request { limits, profiling } = serde_json::from_slice(&line)?;
    bound(&limits)?;

    let mut wasm = Vec::new();
    input.take(limits.module_bytes + 1).read_to_end(&mut wasm)?;
    let (answer, code) = match compile(&wasm, &limits, profiling) {
        Ok(code) => (Answer::Compiled, code),
        Err(Refusal { code, detail }) => (Answer::Refused { code, detail }, Vec::new()),
    };
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, &answer)?;
    output.write_all(b"\n")?;
    output.write_all(&code)?;
    output.flush()
}

/// Best effort: where the system forbids it, the child still has no socket and no reason to make one.
#[allow(unsafe_code, reason = "leaving a name space")]
fn leave_network() {
    // SAFETY: only sharing of file descriptors between threads would make this unsafe, and its flag is not given.
    let left = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
    if left.is_err() {
        // Without privileges a user name space has to come first; that fails where threads run, and none do yet.
        // SAFETY: as above.
        _ = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) };
    }
}

fn bound(limits: &CompileLimits) -> io::Result<()> {
    let cpu = limits.cpu_seconds;
    let bounds = [
        (Resource::As, limits.address_space_bytes, limits.address_space_bytes),
        (Resource::Cpu, cpu, cpu + CPU_GRACE_SECONDS),
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
        (Resource::Nofile, FILES_MAX, FILES_MAX),
    ];
    for (resource, current, maximum) in bounds {
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    }
    Ok(())
}

fn compile(wasm: &[u8], limits: &CompileLimits, profiling: bool) -> Result<Vec<u8>, Refusal> {
    check::check_module(wasm, limits)?;
    let engine = wasmtime::Engine::new(&settings::compiler(profiling))
        .map_err(|error| Refusal::new(Code::CompilerFailed, format!("{error:#}")))?;
    let code = engine.precompile_component(wasm).map_err(|error| {
        let cause = format!("{error:#}");
        if cause.contains("annot allocate memory") || cause.contains("out of memory") {
            return Refusal::new(Code::CompileLimit, address_space(limits));
        }
        Refusal::new(Code::ModuleInvalid, clean(&cause))
    })?;
    if code.len() as u64 > limits.output_bytes {
        return Err(Refusal::new(Code::CompileLimit, output(limits)));
    }
    Ok(code)
}

pub(super) fn address_space(limits: &CompileLimits) -> String {
    format!("memory: at most {} bytes of address space", limits.address_space_bytes)
}

pub(super) fn output(limits: &CompileLimits) -> String {
    format!("compiled code: at most {} bytes", limits.output_bytes)
}
