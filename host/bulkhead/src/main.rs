//! The bulkhead binary: composes the roles and the command line.
//!
//! Exit codes are in `cli/failure.rs`, and at the end of `bulkhead --help`.
//! Must never: hold logic of a role; it joins them.

#![forbid(unsafe_code)]

mod arguments;
mod bench_pipeline;
mod cli;
mod client;
mod database;
mod demo;
mod explain;
mod lines;
mod logging;
mod replay;
mod serve;
mod tls;
mod token;
mod worker;

use arguments::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

/// Exit code where another worker took this worker's slot.
const EXIT_FENCED: u8 = 3;

fn main() -> ExitCode {
    // The compiler runs before anything else exists: no threads, no runtime, no files.
    if std::env::args_os().nth(1).is_some_and(|role| role == arguments::COMPILER) {
        return bulkhead_engine::compiler_main();
    }
    // Keys, tokens and tenants' records: nothing that this process makes is for others, whichever library makes it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Serve(serve) => serve::run(*serve),
        Command::Demo(demo) => demo::run(demo),
        Command::Database(command) => database::run(&command),
        Command::Token(token) => token::run(&token),
        Command::Explain(explain) => explain::run(&explain),
        Command::Developer(command) => return cli::main(command),
        Command::BenchPipeline(bench) => bench_pipeline::run(bench),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bulkhead: {error:#}");
            if error.is::<worker::Fenced>() { ExitCode::from(EXIT_FENCED) } else { ExitCode::FAILURE }
        }
    }
}
