//! Module bytes: what the compiler child refuses before it generates code.
//!
//! Code is not generated: that is wasmtime's own, which its authors try day and night, and the child's limits hold whatever it does.
//! Must never: take long for one input; that is a finding.

use bulkhead_core::code::Code;
use bulkhead_engine::{CompileLimits, check_module};

/// Bytes of a refusal at most: an answer of the API.
const DETAIL_BYTES_MAX: usize = 2 << 10;
/// What [`check_module`] may say.
const CODES: [Code; 7] = [
    Code::NotWasm,
    Code::CoreModule,
    Code::ModuleInvalid,
    Code::WrongWorld,
    Code::ImportNotGranted,
    Code::ModuleTooLarge,
    Code::CompileLimit,
];

/// See the module's documentation.
pub fn run(data: &[u8]) {
    let wide = CompileLimits::default();
    let narrow = CompileLimits { module_bytes: 64 << 10, functions: 20, function_bytes: 1 << 10, locals: 20, ..wide };
    let passed = [wide, narrow].map(|limits| match check_module(data, &limits) {
        Ok(()) => true,
        Err(refusal) => {
            assert!(CODES.contains(&refusal.code), "{refusal}");
            let detail = refusal.detail;
            assert!(!detail.is_empty() && detail.len() <= DETAIL_BYTES_MAX, "{} bytes", detail.len());
            assert!(!detail.contains(char::is_control), "{detail:?}");
            false
        }
    });
    assert!(passed != [false, true], "a lower limit let pass what a higher one did not");
}
