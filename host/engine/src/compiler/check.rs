//! What a module must be before the code generator sees it: a component of the right world, with granted imports, within its limits.
//!
//! Reading goes section by section and keeps next to nothing, so it cannot be made to use much.
//! Must never: be the only check; what it lets pass is validated, typed and linked afterwards.

use crate::capability::{EXPORT, refuse_import};
use crate::config::CompileLimits;
use crate::engine::Refusal;
use crate::log::{cut, printable};
use crate::settings::FEATURES;
use bulkhead_core::code::Code;
use wasmparser::{BinaryReaderError, Encoding, FunctionBody, Parser, Payload, Validator};

/// Names in a refusal at most.
const NAMES_MAX: usize = 8;
/// Bytes of a refusal's detail at most.
const DETAIL_BYTES_MAX: usize = 1 << 10;
/// Imports of a component at most.
const IMPORTS_MAX: usize = 1_000;
/// Components and modules within each other at most. Toolchains make some four; each level is one more that validating keeps.
const DEPTH_MAX: u32 = 32;

#[derive(Default)]
struct Found {
    depth: u32,
    functions: u64,
    imports: Vec<String>,
    exports: bool,
}

/// Checks a module's bytes: what [`Engine::inspect`](crate::Engine::inspect) refuses before code is generated. Public for those who try bytes by the
/// million; the host itself does it in the compiler child only.
///
/// # Errors
/// What a tenant should change.
pub fn check_module(wasm: &[u8], limits: &CompileLimits) -> Result<(), Refusal> {
    let refuse = |code, detail: String| Err(Refusal::new(code, detail));
    if wasm.len() as u64 > limits.module_bytes {
        return refuse(Code::ModuleTooLarge, format!("the module is above {} bytes", limits.module_bytes));
    }
    if !wasm.starts_with(b"\0asm") {
        return refuse(Code::NotWasm, not_wasm(wasm));
    }
    if Parser::is_core_wasm(wasm) {
        return refuse(Code::CoreModule, "build for the target wasm32-wasip2, which makes components".to_owned());
    }
    let found = walk(wasm, limits)?;
    let refused: Vec<String> = found.imports.iter().filter_map(|name| refuse_import(name)).collect();
    if !refused.is_empty() {
        let more = refused.len().saturating_sub(NAMES_MAX);
        let mut detail = refused[..refused.len() - more].join("; ");
        if more > 0 {
            detail = format!("{detail}; and {more} more");
        }
        let detail =
            format!("{detail}. A stage may import `bulkhead:stage` and, of WASI 0.2, clocks, random and stdio");
        return refuse(Code::ImportNotGranted, clean(&detail));
    }
    if !found.exports {
        return refuse(
            Code::WrongWorld,
            format!("the component does not export `{EXPORT}`; build it as a stage, with the SDK"),
        );
    }
    Validator::new_with_features(FEATURES).validate_all(wasm).map_err(|error| invalid(&error))?;
    Ok(())
}

fn not_wasm(bytes: &[u8]) -> String {
    let looks = match bytes {
        [] => "it is empty",
        [b'(', ..] => "it looks like WebAssembly text: assemble it first",
        [0x1f, 0x8b, ..] | [b'P', b'K', ..] => "it looks compressed: upload the .wasm itself",
        [0x7f, b'E', b'L', b'F', ..] => "it is a native program: build for the target wasm32-wasip2",
        _ => "a module begins with the bytes 00 61 73 6d",
    };
    looks.to_owned()
}

/// Reads all sections, those of nested modules and components too.
fn walk(wasm: &[u8], limits: &CompileLimits) -> Result<Found, Refusal> {
    let mut found = Found::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|error| invalid(&error))? {
            Payload::Version { encoding: Encoding::Component, .. }
            | Payload::Version { encoding: Encoding::Module, .. } => {
                found.depth += 1;
                if found.depth > DEPTH_MAX {
                    return Err(limit("components within components", DEPTH_MAX.into()));
                }
            }
            Payload::End(_) => found.depth -= 1,
            Payload::ComponentImportSection(section) if found.depth == 1 => {
                for import in section {
                    found.imports.push(clean(import.map_err(|error| invalid(&error))?.name.name));
                    if found.imports.len() > IMPORTS_MAX {
                        return Err(limit("imports", IMPORTS_MAX as u64));
                    }
                }
            }
            Payload::ComponentExportSection(section) if found.depth == 1 => {
                for export in section {
                    found.exports |= export.map_err(|error| invalid(&error))?.name.name == EXPORT;
                }
            }
            Payload::CodeSectionEntry(body) => {
                found.functions += 1;
                if found.functions > limits.functions.into() {
                    return Err(limit("functions", limits.functions.into()));
                }
                check_function(&body, limits)?;
            }
            _ => {}
        }
    }
    Ok(found)
}

fn check_function(body: &FunctionBody<'_>, limits: &CompileLimits) -> Result<(), Refusal> {
    if body.range().len() > limits.function_bytes as usize {
        return Err(limit("bytes of one function", limits.function_bytes.into()));
    }
    let mut locals = 0_u64;
    for group in body.get_locals_reader().map_err(|error| invalid(&error))? {
        locals += u64::from(group.map_err(|error| invalid(&error))?.0);
        if locals > limits.locals.into() {
            return Err(limit("locals of one function", limits.locals.into()));
        }
    }
    Ok(())
}

fn limit(what: &str, max: u64) -> Refusal {
    Refusal::new(Code::CompileLimit, format!("{what}: at most {max}"))
}

fn invalid(error: &BinaryReaderError) -> Refusal {
    Refusal::new(
        Code::ModuleInvalid,
        clean(&format!("{} at byte {}; build it again, and upload it whole", error.message(), error.offset())),
    )
}

/// Names come from the module, and causes may be of several lines: one bounded line, without control characters.
pub(super) fn clean(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&printable(&line), DETAIL_BYTES_MAX).to_owned()
}
