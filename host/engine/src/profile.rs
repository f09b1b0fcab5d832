//! Where fuel goes: a guest's stack, sampled by the fuel that it burns.
//!
//! A profiling engine compiles with a check at each function's entry and each loop's head, and lets fuel run out every
//! `interval`. At the first check after that, the stack is taken, and all fuel since the sample before is charged to it. So a sample says "this
//! much was burnt up to here", not "by this function alone": straight-line code is charged to the check that follows it, which may be in
//! the function that it calls or in the loop that it returns to. Over many samples that evens out, as in any sampling profiler; with
//! few it does not. Fuel itself is counted as ever: a profiled run burns what an unprofiled one does.
//! Must never: be used by a worker: the checks cost time, and stacks of one tenant do not belong into a process of many.

use crate::meter;
use crate::state::State;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use wasmtime::{Store, StoreContextMut, UpdateDeadline, WasmBacktrace};

/// Fuel between two samples. Shorter ones cost more time and show more.
pub const PROFILE_INTERVAL_FUEL: u64 = 100;
/// Bytes of a function's name that are kept.
const NAME_BYTES_MAX: usize = 200;

/// What a profiling engine has seen, over all its instances.
#[derive(Debug, Default)]
pub struct Profile {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Fuel by stack: functions from the outermost to the innermost, joined by `;`.
    stacks: BTreeMap<String, u64>,
    samples: u64,
}

impl Profile {
    /// Fuel by stack, a line each: functions from the outermost to the innermost joined by `;`, a space, and the fuel. This is what
    /// flame graph tools call folded stacks.
    pub fn folded(&self) -> Vec<String> {
        self.seen.lock().stacks.iter().map(|(stack, fuel)| format!("{stack} {fuel}")).collect()
    }

    /// How many samples were taken.
    pub fn samples(&self) -> u64 {
        self.seen.lock().samples
    }

    /// Fuel of all samples together. What a call burns after its last sample is not in it.
    pub fn fuel(&self) -> u64 {
        self.seen.lock().stacks.values().sum()
    }

    fn add(&self, stack: String, fuel: u64) {
        let mut seen = self.seen.lock();
        *seen.stacks.entry(stack).or_default() += fuel;
        seen.samples += 1;
    }
}

/// Makes a store's guest report to its profile.
pub(crate) fn watch(store: &mut Store<State>, profile: &std::sync::Arc<Profile>, interval: u64) {
    let profile = std::sync::Arc::clone(profile);
    // Burnt in the call under way when the last sample was taken and at the last check; and unsampled in the calls before.
    let (mut sampled, mut seen, mut before) = (0, 0, 0);
    store.set_epoch_deadline(0);
    store.epoch_deadline_callback(move |store: StoreContextMut<'_, State>| {
        let burnt = meter::burnt(&store);
        if burnt < seen {
            // Another call began to count.
            before += seen - sampled;
            sampled = 0;
        }
        seen = burnt;
        let due = before + burnt - sampled;
        if due >= interval {
            profile.add(stack(&store), due);
            (sampled, before) = (burnt, 0);
        }
        // The deadline stays reached, so that the next check comes here too.
        Ok(UpdateDeadline::Continue(0))
    });
}

fn stack(store: &StoreContextMut<'_, State>) -> String {
    let trace = WasmBacktrace::force_capture(store);
    let mut text = String::new();
    for frame in trace.frames().iter().rev() {
        let name = match frame.func_name() {
            Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
            None => format!("function {}", frame.func_index()),
        };
        let name = crate::log::cut(&name, NAME_BYTES_MAX).replace([';', '\n'], ",");
        let separator = if text.is_empty() { "" } else { ";" };
        _ = write!(text, "{separator}{}", crate::log::printable(&name));
    }
    text
}
