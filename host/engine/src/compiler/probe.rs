//! Tries what the child has given up, confined exactly as it is: for the tests of the confinement.
//!
//! Must never: be reachable from the program that hosts run.

use super::confine;
use crate::config::CompileLimits;
use std::fs::File;
use std::net::TcpListener;
use std::process::{Command, ExitCode};

/// Confines itself, tries `what`, and prints what came of it: `done`, or the kind of the error. Some of it ends the process.
#[doc(hidden)]
pub fn compiler_probe(what: &str) -> ExitCode {
    confine::close_others();
    confine::leave_network();
    if let Err(error) = confine::confine(&CompileLimits::default()) {
        println!("{error}");
        return ExitCode::FAILURE;
    }
    let tried = match what {
        "read" => File::open("/etc/passwd").map(drop),
        "write" => File::create("/tmp/bulkhead-probe").map(drop),
        "socket" => TcpListener::bind("127.0.0.1:0").map(drop),
        "program" => Command::new("/bin/true").status().map(drop),
        "thread" => std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().expect("it ends well")),
        "descriptors" => descriptors(),
        other => Err(std::io::Error::other(format!("nothing called {other}"))),
    };
    println!("{}", tried.map_or_else(|error| format!("{:?}", error.kind()), |()| "done".to_owned()));
    ExitCode::SUCCESS
}

/// Whether any descriptor is open that is not a pipe to the parent.
fn descriptors() -> std::io::Result<()> {
    for number in 3..1_024 {
        // SAFETY: asking for flags changes nothing.
        #[allow(unsafe_code, reason = "asking about a descriptor by number")]
        if unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0 {
            return Err(std::io::ErrorKind::AlreadyExists.into());
        }
    }
    Ok(())
}
