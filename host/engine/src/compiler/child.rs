//! The child: bounds itself, then checks and compiles one module.
//!
//! Must never: read a byte of the module before its limits hold, or write anywhere but to its pipe.

use super::check::{self, clean};
use super::confine;
use super::protocol::{Answer, LINE_BYTES_MAX, Request};
use crate::config::CompileLimits;
use crate::engine::Refusal;
use crate::settings;
use bulkhead_core::code::Code;
use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

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
    confine::close_others();
    confine::leave_network();
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    (&mut input).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    let Request { limits, profiling } = serde_json::from_slice(&line)?;
    confine::confine(&limits)?;

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
