//! The compiler child, for the tests of this crate only.
//!
//! Must never: do more than `bulkhead compiler` does.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    bulkhead_engine::compiler_main()
}
