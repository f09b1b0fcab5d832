//! State of the author's own types: one value, a map, counters.
//!
//! Must never: read or write outside the keys of its name and kind.

use super::{Overlay, Place, call, codec, key};
use crate::Reject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

const VALUE: u8 = b'v';
const MAP: u8 = b'm';
const COUNTER: u8 = b'c';

thread_local! {
    /// Where keys are put together.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn at<R>(
    name: &str,
    kind: u8,
    rest: &[u8],
    work: impl FnOnce(&mut Overlay, &[u8]) -> Result<R, Reject>,
) -> Result<R, Reject> {
    KEY.with_borrow_mut(|buffer| {
        key::start(buffer, name, kind);
        buffer.extend_from_slice(rest);
        call::with(|overlay| work(overlay, buffer))
    })
}

/// Reads a value; its place stays good for a write in the same call.
pub(crate) fn read<T: DeserializeOwned>(overlay: &mut Overlay, key: &[u8]) -> Result<(Place, Option<T>), Reject> {
    let place = overlay.read(key)?;
    let value = overlay.value(place).map(codec::decode).transpose()?;
    Ok((place, value))
}

fn write<T: Serialize>(overlay: &mut Overlay, key: &[u8], value: &T) -> Result<(), Reject> {
    let place = overlay.place(key)?;
    overlay.write(place, |bytes| codec::encode(value, bytes))
}

/// One value that is kept.
///
/// ```
/// use bulkhead_sdk::prelude::*;
/// use bulkhead_sdk::state::Value;
/// use bulkhead_sdk::testing::Case;
///
/// fn setup(_: &Config) -> Result<Value<u64>, InitError> {
///     Ok(Value::named("largest"))
/// }
///
/// #[stage(init = setup)]
/// fn records(largest: &mut Value<u64>, record: Record, out: &mut Outputs) -> StageResult {
///     let amount: u64 = record.text()?.parse()?;
///     if largest.get()?.is_none_or(|before| amount > before) {
///         largest.set(&amount)?;
///         out.to("out").forward();
///     }
///     Ok(())
/// }
///
/// let report = Case::new().records(["3", "2", "5"]).batch_records(1).run::<records>();
/// assert_eq!(report.texts("out"), ["3", "5"]);
/// ```
pub struct Value<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Value<T> {
    /// The value of this name.
    ///
    /// # Panics
    /// Where the name is empty, longer than 64 bytes or holds a zero byte.
    pub const fn named(name: &'static str) -> Self {
        Self { name: key::checked(name), of: PhantomData }
    }

    /// The value; `None` where none was set.
    ///
    /// # Errors
    /// A dead letter where what is there is of another type.
    pub fn get(&self) -> Result<Option<T>, Reject> {
        at(self.name, VALUE, &[], |overlay, key| Ok(read(overlay, key)?.1))
    }

    /// Sets it.
    ///
    /// # Errors
    /// A dead letter where it is too long, or of a type that cannot be written.
    pub fn set(&self, value: &T) -> Result<(), Reject> {
        at(self.name, VALUE, &[], |overlay, key| write(overlay, key, value))
    }

    /// Removes it.
    pub fn delete(&self) {
        let deleted = at(self.name, VALUE, &[], |overlay, key| {
            let place = overlay.place(key)?;
            overlay.delete(place);
            Ok(())
        });
        debug_assert!(deleted.is_ok(), "a name is short enough for a key");
    }
}

impl<T> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.name).finish()
    }
}

/// Values by key.
///
/// ```
/// use bulkhead_sdk::prelude::*;
/// use bulkhead_sdk::state::Map;
/// use bulkhead_sdk::testing::{Case, Input};
///
/// fn setup(_: &Config) -> Result<Map<String>, InitError> {
///     Ok(Map::named("last"))
/// }
///
/// /// Forwards what differs from the last record with that key.
/// #[stage(init = setup)]
/// fn changes(last: &mut Map<String>, record: Record, out: &mut Outputs) -> StageResult {
///     let (key, text) = (record.key().or_dead_letter("no key")?, record.text()?);
///     if last.get(key)?.is_none_or(|last| last != text) {
///         last.set(key, &text.to_owned())?;
///         out.to("out").forward();
///     }
///     Ok(())
/// }
///
/// let lines = [("a", "on"), ("b", "on"), ("a", "on"), ("a", "off")].map(|(key, text)| Input::new(text).key(key));
/// assert_eq!(Case::new().records(lines).run::<changes>().texts("out"), ["on", "on", "off"]);
/// ```
pub struct Map<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Map<T> {
    /// The map of this name.
    ///
    /// # Panics
    /// Where the name is empty, longer than 64 bytes or holds a zero byte.
    pub const fn named(name: &'static str) -> Self {
        Self { name: key::checked(name), of: PhantomData }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// A dead letter where the key is too long, or what is there is of another type.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T>, Reject> {
        at(self.name, MAP, key.as_ref(), |overlay, key| Ok(read(overlay, key)?.1))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// A dead letter where the key or the value is too long.
    pub fn set(&self, key: impl AsRef<[u8]>, value: &T) -> Result<(), Reject> {
        at(self.name, MAP, key.as_ref(), |overlay, key| write(overlay, key, value))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// A dead letter where the key is too long.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Reject> {
        at(self.name, MAP, key.as_ref(), |overlay, key| {
            let place = overlay.place(key)?;
            overlay.delete(place);
            Ok(())
        })
    }

    /// At most `limit` entries from `from` on, that key included, in the order of the keys' bytes. To go on, give the last key with a zero
    /// byte appended.
    ///
    /// # Errors
    /// A dead letter where what is there is of another type.
    pub fn scan(&self, from: impl AsRef<[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, T)>, Reject> {
        let (mut start, mut end) = (Vec::new(), Vec::new());
        key::start(&mut start, self.name, MAP);
        key::start(&mut end, self.name, MAP + 1);
        let own = start.len();
        start.extend_from_slice(from.as_ref());
        let entries = call::with(|overlay| overlay.scan(&start, Some(&end), limit));
        entries.into_iter().map(|(mut key, value)| Ok((key.split_off(own), codec::decode(&value)?))).collect()
    }
}

impl<T> fmt::Debug for Map<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Map").field(&self.name).finish()
    }
}

/// Whole numbers by key, each 0 until something is added; see [`state`](crate::state) for an example.
#[derive(Debug)]
pub struct Counters {
    name: &'static str,
}

impl Counters {
    /// The counters of this name.
    ///
    /// # Panics
    /// Where the name is empty, longer than 64 bytes or holds a zero byte.
    pub const fn named(name: &'static str) -> Self {
        Self { name: key::checked(name) }
    }

    /// Adds to a counter, and gives what it is then.
    ///
    /// # Errors
    /// A dead letter where the key is too long, or the sum passes what 64 bits hold.
    pub fn add(&self, key: impl AsRef<[u8]>, more: i64) -> Result<i64, Reject> {
        at(self.name, COUNTER, key.as_ref(), |overlay, key| {
            let (place, count) = read::<i64>(overlay, key)?;
            let sum = count.unwrap_or(0).checked_add(more);
            let sum = sum.ok_or_else(|| Reject::dead_letter("a counter passes what 64 bits hold"))?;
            overlay.write(place, |bytes| codec::encode(&sum, bytes))?;
            Ok(sum)
        })
    }

    /// What a counter is.
    ///
    /// # Errors
    /// A dead letter where the key is too long.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<i64, Reject> {
        at(self.name, COUNTER, key.as_ref(), |overlay, key| Ok(read(overlay, key)?.1.unwrap_or(0)))
    }

    /// Sets a counter back to 0, which frees its place in the store.
    ///
    /// # Errors
    /// A dead letter where the key is too long.
    pub fn reset(&self, key: impl AsRef<[u8]>) -> Result<(), Reject> {
        at(self.name, COUNTER, key.as_ref(), |overlay, key| {
            let place = overlay.place(key)?;
            overlay.delete(place);
            Ok(())
        })
    }
}
