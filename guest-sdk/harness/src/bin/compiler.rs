//! The compiler child that the harness's engine starts: `bulkhead compiler` as a program of its own.
//!
//! It is built from this crate, not from the engine, so that cargo resolves the same features as for the tests that use
//! it, and compiles the sandbox once.
//! Must never: do more than `bulkhead compiler` does.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    bulkhead_engine::compiler_main()
}
