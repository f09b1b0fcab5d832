//! What the compiler child cannot do: asked to try, it is refused or ended, and nothing of its parent's is open in it.

use crate::support::*;
use rustix::io::FdFlags;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

const SIGSYS: i32 = 31;

fn tried(what: &str) -> Output {
    Command::new(compiler().program).args(["--try", what]).env_clear().output().unwrap()
}

#[test]
fn the_child_opens_no_file_and_starts_no_program() {
    for what in ["read", "write", "program"] {
        let output = tried(what);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "PermissionDenied\n", "{what}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn a_child_that_makes_a_socket_is_ended() {
    let output = tried("socket");
    assert_eq!(output.status.signal(), Some(SIGSYS), "{output:?}");
}

#[test]
fn a_child_may_start_threads() {
    assert_eq!(String::from_utf8_lossy(&tried("thread").stdout), "done\n");
}

#[test]
fn nothing_that_the_parent_has_open_is_open_in_the_child() {
    // Like a library that does not know that programs are started: inherited, unless somebody closes it.
    let (reader, _writer) = std::io::pipe().unwrap();
    rustix::io::fcntl_setfd(&reader, FdFlags::empty()).unwrap();
    assert!(reader.as_raw_fd() > 2);
    let look = format!("test -e /proc/self/fd/{}", reader.as_raw_fd());
    assert!(Command::new("/bin/sh").args(["-c", &look]).status().unwrap().success(), "it is not inherited at all");
    assert_eq!(String::from_utf8_lossy(&tried("descriptors").stdout), "done\n");
}
