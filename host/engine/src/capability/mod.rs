//! What a guest can reach, one file for each capability: the contract's own functions and, of WASI 0.2, clocks, random, stdio and
//! scratch files.
//!
//! Beside these, [`nothing`] links what every toolchain's standard library imports whether it is used or not, with nothing behind it.
//! [`IMPORTS`] names every interface that is linked; an import that is not in it is refused at upload, by name.
//! Must never: link an interface that is not in the list, or one that reaches a file, a socket, a variable or an argument of the host.

pub(crate) mod bucket;
mod clocks;
mod host;
mod io;
mod nothing;
mod random;
pub(crate) mod scratch;
pub(crate) mod secrets;
pub(crate) mod state;
pub(crate) mod stdio;

use crate::instance::Mode;
use crate::log::{Level, LogGate};
use crate::state::State;
use std::sync::Arc;
use stdio::Pipe;
use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

/// Every interface that a guest may import, without its version: 0.2 for `wasi`, 0.1.0 for `bulkhead`. Those of [`bulkhead_core::grant`] are linked
/// too, and a stage without the grant is not made: [`crate::Module::stage`].
const IMPORTS: [&str; 25] = [
    "bulkhead:stage/bucket",
    "bulkhead:stage/host",
    "bulkhead:stage/secrets",
    "bulkhead:stage/state",
    "bulkhead:stage/types",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// The interface that a stage must export.
pub(crate) const EXPORT: &str = "bulkhead:stage/processor@0.1.0";

/// Links every capability.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    bucket::link(linker)?;
    host::link(linker)?;
    clocks::link(linker)?;
    io::link(linker)?;
    random::link(linker)?;
    scratch::link(linker)?;
    secrets::link(linker)?;
    state::link(linker)?;
    stdio::link(linker)?;
    nothing::link(linker)
}

/// The world of one instance.
pub(crate) fn context(log: &Arc<LogGate>, mode: Mode) -> (WasiCtx, Pipe, Pipe) {
    let stdout = Pipe::new(Level::Info, Arc::clone(log));
    let stderr = Pipe::new(Level::Warn, Arc::clone(log));
    let mut builder = WasiCtxBuilder::new();
    builder.allow_tcp(false).allow_udp(false).stdout(stdout.clone()).stderr(stderr.clone());
    random::set(&mut builder, mode);
    clocks::set(&mut builder, mode);
    (builder.build(), stdout, stderr)
}

/// Why an import is refused, or `None` where it is granted.
pub(crate) fn refuse_import(import: &str) -> Option<String> {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    if !IMPORTS.contains(&name) {
        return Some(format!("`{import}` needs {}", missing_grant(name)));
    }
    let wanted = if name.starts_with("wasi:") { "0.2" } else { "0.1.0" };
    let fits = version == wanted || version.strip_prefix("0.2.").is_some_and(|_| wanted == "0.2");
    (!fits).then(|| format!("`{import}` is of a version that this host does not have: it has {wanted}"))
}

/// What would have to be granted for an interface.
fn missing_grant(name: &str) -> &'static str {
    match name.split(['/', '@']).next().unwrap_or(name) {
        "wasi:sockets" => {
            "a grant of network addresses, which stages are not given: take what comes from outside from a topic"
        }
        "wasi:http" => {
            "a grant of hosts to call, which stages are not given: take what comes from outside from a topic"
        }
        "wasi:keyvalue" => "a store that stages are not given: use `bulkhead:stage/state`",
        "wasi:blobstore" => "a store that stages are not given: use `bulkhead:stage/bucket`",
        "wasi:config" => {
            "a grant of configuration: use the stage's own `config` and `configFrom`, which `init` is given"
        }
        "wasi:logging" => "a grant of a log: use `log` of `bulkhead:stage/host`",
        _ => "a grant that stages are not given",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_granted_by_name_and_version() {
        for granted in [
            "wasi:clocks/wall-clock@0.2.0",
            "wasi:io/poll@0.2.12",
            "bulkhead:stage/host@0.1.0",
            "bulkhead:stage/state@0.1.0",
            "bulkhead:stage/bucket@0.1.0",
            "bulkhead:stage/secrets@0.1.0",
        ] {
            assert_eq!(refuse_import(granted), None);
        }
        let refused = [
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:clocks/wall-clock@0.3.0",
            "wasi:clocks/wall-clock",
            "bulkhead:stage/host@0.2.0",
            "bulkhead:stage/host@0.2",
            "bulkhead:secrets/read@0.1.0",
            "env",
            "",
        ];
        for import in refused {
            assert!(refuse_import(import).is_some_and(|why| why.contains(import)), "{import} was granted");
        }
    }
}
