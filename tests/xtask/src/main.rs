//! Every developer command, so that nothing else need be installed or remembered: `cargo xtask help`.
//!
//! Each command is a module. A command does all that it needs first, so that it can be the first that anybody runs.
//! Must never: ask a question; it also runs where nobody sits.

#![forbid(unsafe_code)]

mod bench;
mod command;
mod data;
mod demo;
mod fuzz;
mod monitoring;
mod mutants;
mod openapi;
mod prerequisites;
mod schemathesis;
mod services;
mod setup;
mod steps;
mod tally;
mod test;
mod wasm;

use anyhow::{Result, bail};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo [--end] [ARGS]      build all and show the main job; ARGS go to `bulkhead demo`
  test [FILTER]            all checks and all tests, those against real services included;
                           with FILTER only the tests whose name contains it
  lint                     formatting, clippy and rustdoc, as `test` does them
  fmt                      put all code in its form
  wasm                     build every stage for WebAssembly and print sizes
  openapi                  write the API's description anew, host/control/openapi.json
  schemathesis [OPTIONS]   requests made up from that description, more than `test` makes: none may be answered
                           with a 5xx, or otherwise than it says
  mutants [FILTER]         breaks one query, check, seal, limit or rate at a time, and sees who notices
  fuzz [OPTIONS] [TARGET]  bytes that nobody would write, on all that takes other people's: `--runs N` or `--seconds N`
  dashboards FOLDER        draw the dashboards of deploy/grafana from a host at work, as pictures into this folder
  setup                    see that this machine has what all the others need
  bench abi                what a record costs across the boundary
  bench anomalies [DAYS]   simulated days of 100 pipelines with ten things gone wrong: found, missed, false alarms
  bench bill [RECORDS]     billed fuel against what the engine counted for committed work, over five SIGKILLs, on each log
  bench corpus [ATTACK]    each hostile guest, upload and client: what stopped it, how long that took, and a neighbour's
                           p50 and p99 beside it
  bench delays             the year's flights by hour, to a topic and a bucket, while processes and the bucket go away
  bench erasure            how long it takes to erase one of 50 tenants, here and on PostgreSQL, Kafka and S3, with
                           a search of every file for what is left
  bench fire [OPTIONS]     exactly once on three real brokers while workers and a broker are killed
  bench isolation [KINDS]  shares by weight, and a victim beside up to 100 attackers of each kind
  bench lane [OPTIONS]     what a hostile tenant on a shared lane costs the others
  bench limits             a tenant at each of its limits in turn, and its neighbour's p50 and p99 meanwhile
  bench sizing [CASES]     what a tenant costs a worker in CPU and memory, all sending 1, 10 or 100 records a second
  bench state [KEYS]       how long much state takes to move to another worker, and what memory
  bench storm              what one tenant's calls cost while another sends twenty times its rate
  bench peers [OPTIONS]    the same work in native Rust, Kafka Streams, Flink and Bulkhead
  help                     this text

`cargo xtask bench NAME --help` lists the options of a benchmark, `cargo xtask fuzz --help` those of fuzzing.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = fuzz::coverage::stand_in(&arguments) {
        return code;
    }
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<ExitCode> {
    match arguments {
        ["help" | "--help" | "-h"] | [] => println!("{HELP}"),
        ["demo", more @ ..] => demo::run(more)?,
        ["test", more @ ..] => return test::run(more),
        ["lint"] => return test::lint(),
        ["fmt"] => command::cargo(["fmt", "--all"]).run()?,
        ["wasm"] => wasm::print_sizes(&wasm::build()?)?,
        ["openapi"] => openapi::run()?,
        ["schemathesis", more @ ..] => schemathesis::run(more)?,
        ["mutants"] => mutants::run("")?,
        ["mutants", filter] => mutants::run(filter)?,
        ["fuzz", more @ ..] => fuzz::run(more)?,
        ["dashboards", folder] => monitoring::draw(folder)?,
        ["setup"] => setup::run(setup::Needs::Everything)?,
        ["bench", more @ ..] => bench::run(more)?,
        [other, ..] => bail!("there is no command `{other}`; `cargo xtask help` lists them"),
    }
    Ok(ExitCode::SUCCESS)
}
