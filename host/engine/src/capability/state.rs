//! The contract's own keys and values: `get`, `set`, `delete` and `scan`, on a store that the host lends for one call.
//!
//! What a store is, and where it is kept, is for the record path: [`StateStore`] is the port. Here is what holds whatever the store:
//! limits of keys and values, and that a guest pays in fuel for what the host does, the same on every machine.
//! Must never: reach a store that was not lent for the call under way.

use crate::failure::Misuse;
use crate::meter;
use crate::state::State;
use bulkhead_core::fault::HostFault;
use bulkhead_core::limits::{STATE_KEY_BYTES_MAX, STATE_SCAN_BYTES_MAX, STATE_VALUE_BYTES_MAX};
use std::sync::Arc;
use wasmtime::component::{ComponentType, Linker, Lower, WasmList};
use wasmtime::{AsContextMut, Result, StoreContextMut};

/// Fuel for one call: about what finding a key costs the host, some microseconds at most where it is in memory.
const CALL_FUEL: u64 = 2_000;
/// Fuel for each entry that a scan gives, beside its bytes.
const ENTRY_FUEL: u64 = 200;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// One stage's keys and values in one partition, lent to an instance for one call with
/// [`Instance::with_state`](crate::Instance::with_state).
///
/// Keys and values that come here keep their limits.
pub trait StateStore: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// Where the host fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// Writes a value.
    ///
    /// # Errors
    /// [`StateError::Full`] where the store would grow over its limit.
    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), StateError>;

    /// Removes a key that may be there.
    ///
    /// # Errors
    /// [`StateError::Full`] where so much was written in one batch that no more can be.
    fn delete(&self, key: &[u8]) -> Result<(), StateError>;

    /// Entries from `start` to before `end`, in the order of their keys: at most `limit` and, counted with
    /// [`STATE_ENTRY_BYTES`](bulkhead_core::limits::STATE_ENTRY_BYTES) each, `bytes`; but always one where there is one and `limit`
    /// allows it.
    ///
    /// # Errors
    /// Where the host fails.
    fn scan(&self, start: &[u8], end: Option<&[u8]>, limit: usize, bytes: u64) -> Result<Vec<KeyValue>, StateError>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The stage's fault: it would keep more than it may. In words for its author.
    #[error("{0}")]
    Full(String),
    /// Ours.
    #[error("{0}")]
    Host(HostFault),
}

/// The contract's `entry`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct Entry {
    key: Vec<u8>,
    value: Vec<u8>,
}

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    let mut state = linker.instance("bulkhead:stage/state@0.1.0")?;
    state.func_wrap("get", get)?;
    state.func_wrap("set", set)?;
    state.func_wrap("delete", delete)?;
    state.func_wrap("scan", scan)
}

fn get(mut store: StoreContextMut<'_, State>, (key,): (WasmList<u8>,)) -> Result<(Option<Vec<u8>>,)> {
    let lent = lent(&store)?;
    let key = checked_key(key.as_le_slice(&store))?;
    let value = lent.get(key)?;
    let bytes = key.len() + value.as_ref().map_or(0, Vec::len);
    charge(&mut store, bytes)?;
    Ok((value,))
}

fn set(mut store: StoreContextMut<'_, State>, (key, value): (WasmList<u8>, WasmList<u8>)) -> Result<()> {
    let lent = lent(&store)?;
    let (key, value) = (checked_key(key.as_le_slice(&store))?, value.as_le_slice(&store));
    if value.len() > STATE_VALUE_BYTES_MAX {
        let text = format!("a value of {} bytes, and at most {STATE_VALUE_BYTES_MAX} are allowed", value.len());
        return Err(Misuse::new(format!("`set` of {text}")).into());
    }
    lent.set(key, value)?;
    let bytes = key.len() + value.len();
    charge(&mut store, bytes)
}

fn delete(mut store: StoreContextMut<'_, State>, (key,): (WasmList<u8>,)) -> Result<()> {
    let lent = lent(&store)?;
    let key = checked_key(key.as_le_slice(&store))?;
    lent.delete(key)?;
    let bytes = key.len();
    charge(&mut store, bytes)
}

type Range = (WasmList<u8>, Option<WasmList<u8>>, u32);

fn scan(mut store: StoreContextMut<'_, State>, (start, end, limit): Range) -> Result<(Vec<Entry>,)> {
    let lent = lent(&store)?;
    let (start, end) = (start.as_le_slice(&store), end.as_ref().map(|end| end.as_le_slice(&store)));
    // One more than a key may have, to go on behind the longest.
    let too_long = |bound: &[u8]| bound.len() > STATE_KEY_BYTES_MAX + 1;
    if too_long(start) || end.is_some_and(too_long) {
        let text = format!("`scan` with a bound of more than {} bytes", STATE_KEY_BYTES_MAX + 1);
        return Err(Misuse::new(text).into());
    }
    let found = lent.scan(start, end, usize::try_from(limit).unwrap_or(usize::MAX), STATE_SCAN_BYTES_MAX)?;
    let bytes: usize = found.iter().map(|(key, value)| key.len() + value.len()).sum();
    let fuel = bytes + found.len() * ENTRY_FUEL as usize;
    charge(&mut store, fuel)?;
    Ok((found.into_iter().map(|(key, value)| Entry { key, value }).collect(),))
}

/// The store of the call under way.
fn lent(store: &StoreContextMut<'_, State>) -> Result<Arc<dyn StateStore>> {
    let words = "the state was asked for where there is none: only `process` and `tick` of a stage with the grant `state` have one";
    store.data().lent.clone().ok_or_else(|| Misuse::new(words).into())
}

fn checked_key(key: &[u8]) -> Result<&[u8]> {
    if (1..=STATE_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(key);
    }
    let text = format!("a key of the state has 1 to {STATE_KEY_BYTES_MAX} bytes, not {}", key.len());
    Err(Misuse::new(text).into())
}

fn charge(store: &mut StoreContextMut<'_, State>, bytes: usize) -> Result<()> {
    meter::charge(store.as_context_mut(), CALL_FUEL + bytes as u64)
}
