//! Streams and polling, which clocks and stdio are made of.
//!
//! Must never: poll a list so long that the guest gets much of the host's time for little fuel.

use crate::failure::Misuse;
use crate::meter;
use crate::state::State;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, WasmList};
use wasmtime::{AsContextMut, Result, StoreContextMut};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::{error, poll, streams};

/// Pollables of one call at most; more faults the guest.
const POLL_MAX: usize = 128;
/// Fuel for each of them: about what it costs the host.
const POLL_FUEL: u64 = 500;
/// The interface's name at the version that wasmtime has; the linker finds older ones by it.
const POLL: &str = "wasi:io/poll@0.2.12";

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    error::add_to_linker::<_, Io>(linker, State::table)?;
    streams::add_to_linker::<_, Io>(linker, State::table)?;
    poll::add_to_linker::<_, Io>(linker, State::table)?;
    linker.allow_shadowing(true);
    linker.instance(POLL)?.func_wrap_async(
        "poll",
        |mut store: StoreContextMut<'_, State>, (list,): (WasmList<Resource<DynPollable>>,)| {
            Box::new(async move {
                if list.len() > POLL_MAX {
                    return Err(Misuse::new(format!("`poll` takes at most {POLL_MAX} pollables")).into());
                }
                meter::charge(store.as_context_mut(), POLL_FUEL * list.len() as u64)?;
                let list = list.iter(&mut store)?.collect::<Result<Vec<_>>>()?;
                Ok((poll::Host::poll(store.data_mut().table(), list).await?,))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
