//! WASI's interface of files, function by function: charge, go to the disk in the instance's turn, answer.
//!
//! What asks the disk to last does nothing: scratch files are gone with their instance. Times and links are refused.
//! Must never: do work that the guest has not paid for, whatever it passes.

use super::descriptor::{Descriptor, Listing};
use super::failure::{Failed, StreamFailed, answer};
use super::stream::{Input, Output};
use crate::failure::Misuse;
use crate::meter;
use crate::state::State;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType, WasmStr};
use wasmtime::{AsContextMut, Error, Result, StoreContextMut};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DirectoryEntry, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

/// Fuel for one operation on the disk, beside its bytes: about what the way to another thread and back costs.
pub(super) const CALL_FUEL: u64 = 10_000;
/// Fuel for a call that does not go there.
const LOOK_FUEL: u64 = 500;
/// The path of an instance's folder, as the guest sees it.
const PATH: &str = "/scratch";
/// The interfaces' names at the version that wasmtime has; the linker finds older ones by it.
const PREOPENS: &str = "wasi:filesystem/preopens@0.2.12";
const TYPES: &str = "wasi:filesystem/types@0.2.12";

/// What an argument weighs: bytes that the host copied.
trait Weigh {
    fn weight(&self) -> u64 {
        0
    }
}

impl Weigh for String {
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

impl Weigh for Vec<u8> {
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

impl Weigh for u64 {}
impl Weigh for PathFlags {}
impl Weigh for OpenFlags {}
impl Weigh for DescriptorFlags {}

type Answer<T> = Result<(std::result::Result<T, ErrorCode>,)>;
type Types<'a> = LinkerInstance<'a, State>;

/// A method that goes to the disk.
macro_rules! on_disk {
    ($types:ident, $name:literal, |$on:ident $(, $argument:ident: $type:ty)*| $work:expr) => {
        $types.func_wrap_async(
            concat!("[method]descriptor.", $name),
            |mut store: StoreContextMut<'_, State>, (on, $($argument,)*): (Resource<Descriptor>, $($type,)*)| {
                Box::new(async move {
                    meter::charge(store.as_context_mut(), CALL_FUEL $(+ $argument.weight())*)?;
                    let $on = store.data_mut().table().get(&on)?.clone();
                    let done = $on.home().clone().run(move |_| $work).await;
                    settle(store.as_context_mut())?;
                    answer(done)
                })
            },
        )?
    };
}

/// A method that does not. Its arguments are left in the guest's memory.
macro_rules! at_once {
    ($types:ident, $name:literal, ($($type:ty),*), |$on:ident| $work:expr) => {
        $types.func_wrap(
            concat!("[method]descriptor.", $name),
            |mut store: StoreContextMut<'_, State>, arguments: (Resource<Descriptor>, $($type,)*)| {
                meter::charge(store.as_context_mut(), LOOK_FUEL)?;
                let $on = store.data_mut().table().get(&arguments.0)?;
                answer($work)
            },
        )?
    };
}

pub(in crate::capability) fn link(linker: &mut Linker<State>) -> Result<()> {
    linker.instance(PREOPENS)?.func_wrap("get-directories", get_directories)?;
    let mut types = linker.instance(TYPES)?;
    resources(&mut types)?;
    of_files(&mut types)?;
    of_folders(&mut types)?;
    opening(&mut types)?;
    types.func_wrap("filesystem-error-code", |store: StoreContextMut<'_, State>, (error,): (Resource<Error>,)| {
        let code = store.data().handles().get(&error)?.downcast_ref().map(|StreamFailed(code)| *code);
        Ok((code,))
    })
}

/// Charges what streams did.
pub(crate) fn settle(store: StoreContextMut<'_, State>) -> Result<()> {
    match store.data().scratch.as_ref().map_or(0, |home| home.take_debt()) {
        0 => Ok(()),
        fuel => meter::charge(store, fuel),
    }
}

/// Folders, each with its path.
type Preopens = Vec<(Resource<Descriptor>, String)>;

fn get_directories(mut store: StoreContextMut<'_, State>, (): ()) -> Result<(Preopens,)> {
    let Some(home) = store.data().scratch.clone() else { return Ok((Vec::new(),)) };
    meter::charge(store.as_context_mut(), LOOK_FUEL)?;
    let root = match Descriptor::root(&home) {
        Ok(root) => root,
        Err(Failed::Guest(_)) => return Err(Misuse::new("the stage holds too many scratch files open").into()),
        Err(Failed::Host(fault)) => return Err(fault.into()),
    };
    Ok((vec![(store.data_mut().table().push(root)?, PATH.to_owned())],))
}

fn resources(types: &mut Types<'_>) -> Result<()> {
    types.resource("descriptor", ResourceType::host::<Descriptor>(), |mut store, handle| {
        store.data_mut().table().delete(Resource::<Descriptor>::new_own(handle))?;
        Ok(())
    })?;
    types.resource("directory-entry-stream", ResourceType::host::<Listing>(), |mut store, handle| {
        store.data_mut().table().delete(Resource::<Listing>::new_own(handle))?;
        Ok(())
    })?;
    types.func_wrap("[method]directory-entry-stream.read-directory-entry", next_entry)
}

fn next_entry(
    mut store: StoreContextMut<'_, State>,
    (listing,): (Resource<Listing>,),
) -> Answer<Option<DirectoryEntry>> {
    meter::charge(store.as_context_mut(), LOOK_FUEL)?;
    Ok((Ok(store.data_mut().table().get_mut(&listing)?.entries.next()),))
}

fn of_files(types: &mut Types<'_>) -> Result<()> {
    at_once!(types, "advise", (u64, u64, Advice), |_on| Ok(()));
    at_once!(types, "sync-data", (), |_on| Ok(()));
    at_once!(types, "sync", (), |_on| Ok(()));
    at_once!(types, "get-flags", (), |on| Ok(on.flags()));
    at_once!(types, "get-type", (), |on| Ok(on.kind()));
    at_once!(types, "metadata-hash", (), |on| Ok(on.hash()));
    at_once!(types, "set-times", (NewTimestamp, NewTimestamp), |_on| refused());
    on_disk!(types, "stat", |on| on.stat());
    on_disk!(types, "set-size", |on, bytes: u64| on.set_size(bytes));
    on_disk!(types, "read", |on, bytes: u64, at: u64| on.read(bytes, at));
    on_disk!(types, "write", |on, bytes: Vec<u8>, at: u64| on.write(&bytes, at));
    types.func_wrap(
        "[method]descriptor.is-same-object",
        |mut store: StoreContextMut<'_, State>, (one, other): (Resource<Descriptor>, Resource<Descriptor>)| {
            meter::charge(store.as_context_mut(), LOOK_FUEL)?;
            let table = store.data().handles();
            Ok((table.get(&one)?.same(table.get(&other)?),))
        },
    )
}

fn of_folders(types: &mut Types<'_>) -> Result<()> {
    at_once!(types, "set-times-at", (PathFlags, WasmStr, NewTimestamp, NewTimestamp), |_on| refused());
    at_once!(types, "link-at", (PathFlags, WasmStr, Resource<Descriptor>, WasmStr), |_on| refused());
    at_once!(types, "symlink-at", (WasmStr, WasmStr), |_on| refused());
    on_disk!(types, "create-directory-at", |on, path: String| on.create_folder_at(&path));
    on_disk!(types, "stat-at", |on, _follow: PathFlags, path: String| on.stat_at(&path));
    on_disk!(types, "readlink-at", |on, path: String| on.read_link_at(&path));
    on_disk!(types, "remove-directory-at", |on, path: String| on.remove_folder_at(&path));
    on_disk!(types, "unlink-file-at", |on, path: String| on.remove_file_at(&path));
    on_disk!(types, "metadata-hash-at", |on, _follow: PathFlags, path: String| on.hash_at(&path));
    types.func_wrap_async("[method]descriptor.rename-at", |store: StoreContextMut<'_, State>, arguments| {
        Box::new(rename(store, arguments))
    })
}

type Rename = (Resource<Descriptor>, String, Resource<Descriptor>, String);

async fn rename(mut store: StoreContextMut<'_, State>, (on, from, to, new): Rename) -> Answer<()> {
    meter::charge(store.as_context_mut(), CALL_FUEL + from.weight() + new.weight())?;
    let table = store.data().handles();
    let (on, to) = (table.get(&on)?.clone(), table.get(&to)?.clone());
    answer(on.home().clone().run(move |_| on.rename_at(&from, &to, &new)).await)
}

/// What makes a handle.
fn opening(types: &mut Types<'_>) -> Result<()> {
    types.func_wrap_async("[method]descriptor.open-at", |store: StoreContextMut<'_, State>, arguments| {
        Box::new(open(store, arguments))
    })?;
    types.func_wrap_async("[method]descriptor.read-directory", |store: StoreContextMut<'_, State>, arguments| {
        Box::new(list(store, arguments))
    })?;
    types.func_wrap(
        "[method]descriptor.read-via-stream",
        |mut store: StoreContextMut<'_, State>, (on, at): (Resource<Descriptor>, u64)| {
            // A stream may have been polled, and dropped before it was read.
            settle(store.as_context_mut())?;
            meter::charge(store.as_context_mut(), LOOK_FUEL)?;
            let stream = store.data().handles().get(&on)?.file().and_then(|open| Input::new(open, at));
            push(store, stream.map(|stream| Box::new(stream) as DynInputStream))
        },
    )?;
    types.func_wrap("[method]descriptor.write-via-stream", |store: StoreContextMut<'_, State>, (on, at)| {
        output(store, &on, Some(at))
    })?;
    types.func_wrap("[method]descriptor.append-via-stream", |store: StoreContextMut<'_, State>, (on,)| {
        output(store, &on, None)
    })
}

type Open = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

async fn open(mut store: StoreContextMut<'_, State>, (on, _, path, how, flags): Open) -> Answer<Resource<Descriptor>> {
    meter::charge(store.as_context_mut(), CALL_FUEL + path.weight())?;
    let on = store.data().handles().get(&on)?.clone();
    let opened = on.home().clone().run(move |_| on.open_at(&path, how, flags)).await;
    push(store, opened)
}

async fn list(mut store: StoreContextMut<'_, State>, (on,): (Resource<Descriptor>,)) -> Answer<Resource<Listing>> {
    meter::charge(store.as_context_mut(), CALL_FUEL)?;
    let on = store.data().handles().get(&on)?.clone();
    let listing = on.home().clone().run(move |_| on.list()).await;
    settle(store.as_context_mut())?;
    push(store, listing)
}

fn output(
    mut store: StoreContextMut<'_, State>,
    on: &Resource<Descriptor>,
    at: Option<u64>,
) -> Answer<Resource<DynOutputStream>> {
    meter::charge(store.as_context_mut(), LOOK_FUEL)?;
    let stream = store.data().handles().get(on)?.file().and_then(|open| Output::new(open, at));
    push(store, stream.map(|stream| Box::new(stream) as DynOutputStream))
}

fn push<T: Send + 'static>(
    mut store: StoreContextMut<'_, State>,
    made: std::result::Result<T, Failed>,
) -> Answer<Resource<T>> {
    match made {
        Ok(made) => Ok((Ok(store.data_mut().table().push(made)?),)),
        Err(failed) => answer(Err(failed)),
    }
}

fn refused() -> std::result::Result<(), Failed> {
    Err(ErrorCode::Unsupported.into())
}
