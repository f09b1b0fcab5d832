//! Compiling, in a child process: other people's bytes meet the code generator where a crash or an endless loop costs nothing.
//!
//! [`parent`] starts a child for each module, feeds it, bounds its wall time and what it answers, and always reaps it; [`child`] bounds itself
//! before it reads the first byte ([`confine`]), then checks and compiles. The child has no environment, no descriptor but its pipes, no
//! network and no files, and can start no program.
//!
//! What the child answers is loaded as machine code: the child stops bombs and crashes, not a module that could take over the code
//! generator itself. That risk is what wasmtime's own care is for, and what a silo does not share.
//! Must never: compile in the host's own process.

mod check;
mod child;
mod confine;
mod parent;
mod probe;
mod protocol;

pub use check::check_module;
pub(crate) use parent::Compiler;
pub use probe::compiler_probe;

/// The whole of the compiler child: reads a request on stdin, answers on stdout. Call it first thing in `main`, before any
/// thread is started. Started by hand it waits for input.
pub fn compiler_main() -> std::process::ExitCode {
    child::run()
}
