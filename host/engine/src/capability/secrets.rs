//! Secrets that a stage was granted, by its own names for them.
//!
//! Must never: keep a copy of a value that outlives the call, or name one in a fault.

use crate::meter;
use crate::state::State;
use bulkhead_core::name::EntryName;
use bulkhead_core::secret::SecretValue;
use std::sync::Arc;
use wasmtime::component::{ComponentType, Linker, Lower, WasmStr};
use wasmtime::{AsContextMut, Result, StoreContextMut};

/// Fuel for one call, beside the bytes of the value.
const CALL_FUEL: u64 = 1_000;

/// A secret that a stage may read.
#[derive(Debug, Clone)]
pub struct GrantedSecret {
    /// The stage's name for it.
    pub name: EntryName,
    /// The value, shared by all instances of the stage.
    pub value: Arc<SecretValue>,
}

/// The contract's `error`.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
enum WitError {
    #[component(name = "not-granted")]
    NotGranted,
}

/// A value on its way to the guest.
type Answer = (std::result::Result<Vec<u8>, WitError>,);

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    linker.instance("bulkhead:stage/secrets@0.1.0")?.func_wrap("get", get)
}

fn get(mut store: StoreContextMut<'_, State>, (name,): (WasmStr,)) -> Result<Answer> {
    let found = {
        let name = name.to_str(&store)?;
        let secrets = &store.data().secrets;
        secrets.iter().find(|granted| granted.name.as_str() == name).map(|granted| Arc::clone(&granted.value))
    };
    let bytes = found.as_ref().map_or(0, |value| value.expose().len());
    meter::charge(store.as_context_mut(), CALL_FUEL + bytes as u64)?;
    Ok((found.map(|value| value.expose().to_vec()).ok_or(WitError::NotGranted),))
}
