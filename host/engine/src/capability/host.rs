//! The contract's own functions: `mark` and `log`.
//!
//! Must never: do work for a guest that it has not paid for in fuel.

use crate::log::Level;
use crate::meter;
use crate::state::State;
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};
use wasmtime::{AsContextMut, Result, StoreContextMut};

/// Fuel for one line: about what it costs the host.
const LOG_FUEL: u64 = 1_000;

/// The contract's `level`.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[allow(dead_code, reason = "made by lifting alone")]
#[component(enum)]
#[repr(u8)]
enum WitLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    // Only types: nothing to call, but components name it.
    linker.instance("bulkhead:stage/types@0.1.0")?;
    let mut host = linker.instance("bulkhead:stage/host@0.1.0")?;
    host.func_wrap("mark", mark)?;
    host.func_wrap("log", log)
}

fn mark(mut store: StoreContextMut<'_, State>, (index,): (u32,)) -> Result<()> {
    let state = store.data_mut();
    state.memory.forgive();
    state.stderr.begin_record();
    meter::mark(store, index)
}

fn log(mut store: StoreContextMut<'_, State>, (level, message): (WitLevel, WasmStr)) -> Result<()> {
    let bytes = {
        let text = message.to_str(&store)?;
        let level = match level {
            WitLevel::Trace => Level::Trace,
            WitLevel::Debug => Level::Debug,
            WitLevel::Info => Level::Info,
            WitLevel::Warn => Level::Warn,
            WitLevel::Error => Level::Error,
        };
        store.data().log.write(level, &text);
        text.len() as u64
    };
    meter::charge(store.as_context_mut(), LOG_FUEL + bytes)
}
