//! The compiler child as a program of its own, for tests and for hosts that are not `bulkhead`. `--try THING` is for tests of its confinement.
//!
//! Must never: do more than `bulkhead compiler` does when it is not asked to try something.

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("--try"), Some(what)) => bulkhead_engine::compiler_probe(&what),
        _ => bulkhead_engine::compiler_main(),
    }
}
