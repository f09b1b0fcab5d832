//! What standard libraries import whether it is used or not: environment, exit, terminals. Behind these is nothing: no variable, no
//! argument, no terminal.
//!
//! Must never: get something behind it; a capability that does is a file of its own, with a grant.

use crate::state::State;
use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p2::bindings::cli;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    cli::environment::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, State::cli)
}
