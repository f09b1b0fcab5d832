//! A stage's own keys and values, which survive restarts, moves and new revisions.
//!
//! Needs the manifest's grant `state` (see `guest-sdk/README.md`). There is one store for each partition of the input: what one
//! partition's records wrote, no other partition's read, so what belongs together must have the same key in its topic. Writes commit with
//! the records that made them, in one transaction. State is in reach while a record is worked on and in a tick, not in `init`.
//!
//! [`get`], [`set`], [`delete`] and [`scan`] work on bytes; [`Value`], [`Map`] and [`Counters`] on your own types;
//! [`window`](crate::window) on time.
//!
//! ```
//! use bulkhead_sdk::prelude::*;
//! use bulkhead_sdk::state::Counters;
//! use bulkhead_sdk::testing::{Case, Input};
//!
//! fn setup(_: &Config) -> Result<Counters, InitError> {
//!     Ok(Counters::named("visits"))
//! }
//!
//! #[stage(init = setup)]
//! fn count(visits: &mut Counters, record: Record, out: &mut Outputs) -> StageResult {
//!     let visitor = record.key().or_dead_letter("a visit has a key")?;
//!     let visit = visits.add(visitor, 1)?;
//!     out.to("out").value(format!("visit {visit}"));
//!     Ok(())
//! }
//!
//! let visits = [Input::new("").key("ann"), Input::new("").key("bob"), Input::new("").key("ann")];
//! assert_eq!(Case::new().records(visits).run::<count>().texts("out"), ["visit 1", "visit 1", "visit 2"]);
//! ```
//!
//! # Encoding
//!
//! Version 1. A key that this crate makes is the name given by the author, a zero byte, a letter for the kind (`v` a value, `m` an entry of a
//! map, `c` a counter; those of windows are in [`window`](crate::window)), and what tells entries apart. A value is the byte 1, the
//! version, and the author's type by [postcard](https://postcard.jamesmunns.com). That is compact and quick, but knows no field names: a type whose
//! fields change needs a new name, for instance `visits-2`. A value of another shape or version is a dead letter that says so,
//! never a guess. Keys that a stage makes itself with [`set`] stay clear of these where they hold no zero byte.
//!
//! What it promises: a record that is rejected leaves no trace; a key is read from the host once in a batch, and a value that does not
//! grow is written back once.
//! Must never: keep anything from one call to the next. Another instance may have written since.

mod overlay;
mod store;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(feature = "state")]
mod typed;

pub(crate) mod call;
#[cfg(feature = "state")]
pub(crate) mod codec;
pub(crate) mod key;

pub(crate) use overlay::Overlay;
#[cfg(feature = "state")]
pub(crate) use overlay::Place;
#[cfg(not(target_family = "wasm"))]
pub(crate) use store::native;
#[cfg(feature = "state")]
pub(crate) use typed::read;
#[cfg(feature = "state")]
pub use typed::{Counters, Map, Value};

use crate::Reject;

/// Bytes of a key at most; it has at least one.
pub const KEY_BYTES_MAX: usize = 1024;
/// Bytes of a value at most.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The value of a key, with all that was written before.
///
/// # Errors
/// A dead letter where the key is empty or over [`KEY_BYTES_MAX`].
///
/// # Panics
/// Outside a record and a tick.
pub fn get(key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Reject> {
    call::with(|overlay| {
        let place = overlay.read(key.as_ref())?;
        Ok(overlay.value(place).map(<[u8]>::to_vec))
    })
}

/// Writes a value.
///
/// A store that would grow over the manifest's `state.maxBytes` stops the stage at this record, which becomes a dead letter.
///
/// # Errors
/// A dead letter where the key is empty or over [`KEY_BYTES_MAX`], or the value over [`VALUE_BYTES_MAX`].
///
/// # Panics
/// Outside a record and a tick.
pub fn set(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Reject> {
    call::with(|overlay| {
        let place = overlay.place(key.as_ref())?;
        overlay.write(place, |bytes| {
            bytes.extend_from_slice(value.as_ref());
            Ok(())
        })
    })
}

/// Removes a key; one that is not there is no fault.
///
/// # Errors
/// A dead letter where the key is empty or over [`KEY_BYTES_MAX`].
///
/// # Panics
/// Outside a record and a tick.
pub fn delete(key: impl AsRef<[u8]>) -> Result<(), Reject> {
    call::with(|overlay| {
        let place = overlay.place(key.as_ref())?;
        overlay.delete(place);
        Ok(())
    })
}

/// At most `limit` entries with `start` <= key < `end`, in the order of their bytes, with all that was written before. No `end` says: to
/// the last. To go on, start at the last key with a zero byte appended.
///
/// # Panics
/// Outside a record and a tick.
pub fn scan(start: impl AsRef<[u8]>, end: Option<&[u8]>, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    call::with(|overlay| overlay.scan(start.as_ref(), end, limit))
}
