//! Starts processes that die with this one.
//!
//! The kernel sends a child its parent-death signal when the *thread* that made it ends, and a test's thread ends long before
//! the process does; so one thread, which lives as long as the process, makes all children.
//! Must never: leave a service running after the process that wanted it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

type Request = (Command, Sender<io::Result<Child>>);

static SPAWNER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();

/// Starts `command`, to be killed when this process ends, however it ends.
///
/// # Errors
/// Where the system does not start it.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    // SAFETY: between fork and exec only prctl and getppid are called, which are async-signal-safe.
    unsafe {
        let parent = libc::getpid();
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the line above.
            if libc::getppid() != parent {
                return Err(io::Error::other("the parent process ended"));
            }
            Ok(())
        });
    }
    let (reply, answer) = channel();
    let sender = SPAWNER.get_or_init(start).lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    sender.send((command, reply)).map_err(io::Error::other)?;
    drop(sender);
    answer.recv().map_err(io::Error::other)?
}

fn start() -> Mutex<Sender<Request>> {
    let (sender, requests) = channel::<Request>();
    std::thread::Builder::new()
        .name("service-spawner".to_owned())
        .spawn(move || {
            for (mut command, reply) in requests {
                let _ = reply.send(command.spawn());
            }
        })
        .expect("a thread can be started");
    Mutex::new(sender)
}
