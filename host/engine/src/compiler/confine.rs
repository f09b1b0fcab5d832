//! What the compiler child gives up before it reads a byte of a module: its parent's descriptors, the network, files, other programs.
//!
//! Limits come first and are a must. The rest is as the kernel lets it: what it does not let is told on standard error, which the parent
//! logs, and the child goes on. The code generator needs memory, threads and its pipes. It may not open a file: that fails, since libraries ask
//! for some that they can do without. What no honest compiler would try ends the process.
//! Must never: run where a thread was started already; it would keep what is given up here.

use crate::config::CompileLimits;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::UnshareFlags;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;
use std::io;

/// Files that the child may have open: its three pipes, and what the runtime opens for a moment.
const FILES_MAX: u64 = 16;
/// CPU seconds between the signal that ends the child and the one that it could not ignore.
const CPU_GRACE_SECONDS: u64 = 2;
/// The first descriptor that is not a pipe to the parent.
const FIRST_NOT_OURS: libc::c_uint = 3;
/// What a line on standard error begins with that says what the kernel did not let.
pub(super) const UNCONFINED: &str = "unconfined: ";

/// Memory, threads, time, pipes that are open, and the way out.
const ALLOWED: [i64; 43] = [
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_prlimit64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_tgkill,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

/// What only a compiler would call that is one no longer.
const DEADLY: [i64; 24] = [
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_bpf,
    libc::SYS_connect,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_kill,
    libc::SYS_listen,
    libc::SYS_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_pidfd_open,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_sendmsg,
    libc::SYS_setns,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Closes what the parent had open and did not mean to pass on. Done first, since it needs nothing.
#[allow(unsafe_code, reason = "closing descriptors by number")]
pub(super) fn close_others() {
    // SAFETY: nothing in this process has opened a descriptor yet, so none above the pipes has an owner here.
    if unsafe { libc::close_range(FIRST_NOT_OURS, libc::c_uint::MAX, 0) } != 0 {
        told("descriptors", &io::Error::last_os_error());
    }
}

/// Leaves the network. Best effort: where the system forbids it, the filter still lets no socket be made.
#[allow(unsafe_code, reason = "leaving a name space")]
pub(super) fn leave_network() {
    // SAFETY: only sharing of file descriptors between threads would make this unsafe, and its flag is not given.
    let left = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWIPC) };
    if left.is_err() {
        // Without privileges a user name space has to come first; that fails where threads run, and none do yet.
        // SAFETY: as above.
        _ = unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWIPC)
        };
    }
}

/// Sets the limits, then forbids what is not needed.
///
/// # Errors
/// Where a limit cannot be set.
pub(super) fn confine(limits: &CompileLimits) -> io::Result<()> {
    bound(limits)?;
    if let Err(error) = forbid() {
        told("system calls", &error);
    }
    Ok(())
}

fn told(what: &str, error: &io::Error) {
    eprintln!("{UNCONFINED}{what}: {error}");
}

fn bound(limits: &CompileLimits) -> io::Result<()> {
    let cpu = limits.cpu_seconds;
    let bounds = [
        (Resource::As, limits.address_space_bytes, limits.address_space_bytes),
        (Resource::Cpu, cpu, cpu + CPU_GRACE_SECONDS),
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
        (Resource::Nofile, FILES_MAX, FILES_MAX),
    ];
    for (resource, current, maximum) in bounds {
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    }
    Ok(())
}

/// Puts the filters in place, for this thread and all that it starts. Setting one gives up new privileges, too. Of several filters the
/// hardest answer counts.
fn forbid() -> io::Result<()> {
    let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    for program in filters().map_err(|error| failed(&error))? {
        seccompiler::apply_filter(&program).map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn filters() -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let all = |calls: &[i64]| calls.iter().map(|call| (*call, Vec::new())).collect::<BTreeMap<_, _>>();
    let mut allowed = all(&ALLOWED);
    // Threads, and no processes.
    let threads = u64::try_from(libc::CLONE_THREAD).unwrap_or_default();
    let thread = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(threads), threads)?;
    allowed.insert(libc::SYS_clone, vec![SeccompRule::new(vec![thread])?]);
    let sets = [
        (all(&DEADLY), SeccompAction::Allow, SeccompAction::KillProcess),
        // Its flags lie in memory, where no filter sees them: without it, C libraries take `clone`.
        (all(&[libc::SYS_clone3]), SeccompAction::Allow, errno(libc::ENOSYS)),
        // The last one: under it no other could be set.
        (allowed, errno(libc::EPERM), SeccompAction::Allow),
    ];
    let arch = std::env::consts::ARCH.try_into()?;
    sets.into_iter()
        .map(|(rules, otherwise, then)| SeccompFilter::new(rules, otherwise, then, arch)?.try_into())
        .collect()
}
