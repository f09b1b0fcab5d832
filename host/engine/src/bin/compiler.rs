//! The compiler child as a program of its own, for tests and for hosts that are not `bulkhead`.
//!
//! Must never: do more than `bulkhead compiler` does.

fn main() -> std::process::ExitCode {
    bulkhead_engine::compiler_main()
}
