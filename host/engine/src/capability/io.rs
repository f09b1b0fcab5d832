//! Streams and polling, which clocks, stdio and scratch files are made of.
//!
//! Must never: poll a list so long that the guest gets much of the host's time for little fuel.

use super::scratch::settle;
use crate::failure::Misuse;
use crate::meter;
use crate::state::State;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, WasmList};
use wasmtime::{AsContextMut, Result, StoreContextMut};
use wasmtime_wasi::p2::bindings::io::streams::{Host as _, HostInputStream as _, HostOutputStream as _};
use wasmtime_wasi::p2::bindings::io::{error, poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamResult};

/// Pollables of one call at most; more faults the guest.
const POLL_MAX: usize = 128;
/// Fuel for each of them: about what it costs the host.
const POLL_FUEL: u64 = 500;
/// The interface's name at the version that wasmtime has; the linker finds older ones by it.
const POLL: &str = "wasi:io/poll@0.2.12";
const STREAMS: &str = "wasi:io/streams@0.2.12";

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
                let ready = poll::Host::poll(store.data_mut().table(), list).await?;
                settle(store)?;
                Ok((ready,))
            })
        },
    )?;
    paid_streams(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A method of a stream that moves bytes: as wasmtime has it, and then what it did is paid.
macro_rules! paid {
    ($streams:ident, $name:literal, ($($type:ty),*), |$table:ident, $arguments:ident| $call:expr) => {
        $streams.func_wrap_async(
            concat!("[method]", $name),
            |mut store: StoreContextMut<'_, State>, $arguments: ($($type,)*)| {
                Box::new(async move {
                    let $table = store.data_mut().table();
                    let done = $call;
                    settled(store, done)
                })
            },
        )?
    };
}

type In = Resource<DynInputStream>;
type Out = Resource<DynOutputStream>;

fn paid_streams(linker: &mut Linker<State>) -> Result<()> {
    let mut streams = linker.instance(STREAMS)?;
    paid!(streams, "input-stream.read", (In, u64), |table, it| table.read(it.0, it.1));
    paid!(streams, "input-stream.blocking-read", (In, u64), |table, it| table.blocking_read(it.0, it.1).await);
    paid!(streams, "input-stream.skip", (In, u64), |table, it| table.skip(it.0, it.1));
    paid!(streams, "input-stream.blocking-skip", (In, u64), |table, it| table.blocking_skip(it.0, it.1).await);
    paid!(streams, "output-stream.write", (Out, Vec<u8>), |table, it| table.write(it.0, it.1));
    paid!(streams, "output-stream.blocking-write-and-flush", (Out, Vec<u8>), |table, it| {
        table.blocking_write_and_flush(it.0, it.1).await
    });
    paid!(streams, "output-stream.write-zeroes", (Out, u64), |table, it| table.write_zeroes(it.0, it.1));
    paid!(streams, "output-stream.blocking-write-zeroes-and-flush", (Out, u64), |table, it| {
        table.blocking_write_zeroes_and_flush(it.0, it.1).await
    });
    paid!(streams, "output-stream.splice", (Out, In, u64), |table, it| table.splice(it.0, it.1, it.2));
    paid!(streams, "output-stream.blocking-splice", (Out, In, u64), |table, it| {
        table.blocking_splice(it.0, it.1, it.2).await
    });
    Ok(())
}

type Answer<T> = Result<(std::result::Result<T, streams::StreamError>,)>;

fn settled<T>(mut store: StoreContextMut<'_, State>, done: StreamResult<T>) -> Answer<T> {
    let done = match done {
        Ok(done) => Ok(done),
        Err(error) => Err(store.data_mut().table().convert_stream_error(error)?),
    };
    settle(store)?;
    Ok((done,))
}
