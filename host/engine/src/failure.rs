//! Turns what wasmtime reports into whose fault it is.
//!
//! Must never: call the guest's doing ours, which would retry it for ever, or ours the guest's, which would cost its record.

use crate::capability::bucket::{BucketError, BucketMisuse};
use crate::capability::state::StateError;
use crate::columns::{malformed, too_large};
use crate::log::{cut, printable};
use crate::settings::BACKTRACE_FRAMES_MAX;
use crate::state::State;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, GuestFault, GuestFaultKind, HostFault};
use std::fmt::Write as _;
use wasmtime::component::ResourceTableError;
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Bytes of a fault's message at most.
const MESSAGE_BYTES_MAX: usize = 1 << 10;
/// Bytes of a backtrace's frame at most.
const FRAME_BYTES_MAX: usize = 200;
/// How wasmtime says that a guest passes more than `set_hostcall_fuel` allows; its type is private. A test sees it happen.
const TOO_MUCH_DATA: &str = "fuel allocated for hostcalls has been exhausted";

/// A call that failed. Its instance is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Failure {
    /// What happened, and whose fault it is.
    pub fault: Fault,
    /// Row of the batch that was under way, by the guest's own marks. `None` where it never marked, and where the fault is the batch's:
    /// an outcome that breaks the contract, or fuel that earlier records had used up.
    pub record: Option<u32>,
    /// Fuel to charge for the call.
    pub fuel: u64,
}

impl Failure {
    /// A failure before anything ran.
    pub(crate) fn early(fault: impl Into<Fault>) -> Self {
        Self { fault: fault.into(), record: None, fuel: 0 }
    }
}

/// A host function that was called wrongly.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(String);

impl Misuse {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Whether the store's fuel was used up.
pub(crate) fn is_out_of_fuel(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(Trap::OutOfFuel))
}

/// Whose fault an error is that a call into the guest gave.
pub(crate) fn classify(error: &Error, state: &State) -> Fault {
    if let Some(ours) = host_fault(error) {
        return ours.into();
    }
    let mut fault = guest_fault(error, state);
    fault.message = cut(&printable(&fault.message), MESSAGE_BYTES_MAX).to_owned();
    fault.backtrace = backtrace(error);
    fault.into()
}

fn host_fault(error: &Error) -> Option<HostFault> {
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return Some(HostFault::new(Code::Unavailable, format!("no room for another guest: {error:#}")));
    }
    if let Some(StateError::Host(fault)) = error.downcast_ref() {
        return Some(fault.clone());
    }
    if let Some(BucketError::Host(fault)) = error.downcast_ref() {
        return Some(fault.clone());
    }
    if let Some(fault) = error.downcast_ref::<HostFault>() {
        return Some(fault.clone());
    }
    let ours =
        error.downcast_ref::<std::io::Error>().is_some() || error.downcast_ref::<wasmtime::OutOfMemory>().is_some();
    ours.then(|| HostFault::new(Code::Internal, format!("the sandbox failed: {error:#}")))
}

fn guest_fault(error: &Error, state: &State) -> GuestFault {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return trapped(*trap, state);
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return GuestFault::new(GuestFaultKind::Trap, format!("the stage ended itself with status {}", exit.0));
    }
    if let Some(StateError::Full(words)) = error.downcast_ref() {
        return GuestFault::new(GuestFaultKind::StateFull, words.clone());
    }
    if let Some(misuse) = error.downcast_ref::<BucketMisuse>() {
        return misuse.fault().clone();
    }
    let cause = error.root_cause().to_string();
    if cause.contains(TOO_MUCH_DATA) {
        return too_large("more bytes than are allowed");
    }
    if error.downcast_ref::<ResourceTableError>().is_some_and(|full| matches!(full, ResourceTableError::Full)) {
        return GuestFault::new(GuestFaultKind::Misuse, "the stage holds too many handles of streams and pollables");
    }
    // An error of a host function has passed through the guest and carries its frames; one of reading the result has not.
    if error.downcast_ref::<WasmBacktrace>().is_some_and(|trace| !trace.frames().is_empty()) {
        return GuestFault::new(GuestFaultKind::Misuse, cause);
    }
    if state.memory.denied() {
        return out_of_memory(state);
    }
    malformed(format!("the outcome cannot be read: {cause}"))
}

fn trapped(trap: Trap, state: &State) -> GuestFault {
    if trap == Trap::OutOfFuel {
        return GuestFault::new(GuestFaultKind::OutOfFuel, "the fuel was used up");
    }
    let mut fault = if state.memory.denied() {
        out_of_memory(state)
    } else {
        GuestFault::new(GuestFaultKind::Trap, trap.to_string().trim_start_matches("wasm trap: "))
    };
    if let Some(words) = state.stderr.last_words() {
        _ = write!(fault.message, "; it said: {words}");
    }
    fault
}

fn out_of_memory(state: &State) -> GuestFault {
    let held = state.memory.bytes() >> 10;
    GuestFault::new(GuestFaultKind::OutOfMemory, format!("was denied more memory; it held {held} KiB"))
}

/// The guest's frames, innermost first.
fn backtrace(error: &Error) -> Vec<String> {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frame = |frame: &wasmtime::FrameInfo| {
        let name = match frame.func_name() {
            Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
            None => format!("function {}", frame.func_index()),
        };
        cut(&printable(&name), FRAME_BYTES_MAX).to_owned()
    };
    trace.frames().iter().take(BACKTRACE_FRAMES_MAX).map(frame).collect()
}
