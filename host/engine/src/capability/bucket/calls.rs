//! A container's functions.
//!
//! Must never: begin work for a guest before it has paid for the call, or give it more bytes than it pays for.

use super::{BucketError, BucketMisuse, CALL_FUEL, Container, ENTRY_FUEL, Upload, granted, wait};
use crate::meter;
use crate::state::State;
use bulkhead_core::bucket::{Access, Condition, KeyError, KeyPrefix, ObjectInfo, ObjectKey};
use bulkhead_core::limits::{BUCKET_CALL_BYTES_MAX, BUCKET_LIST_MAX};
use bytes::Bytes;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, WasmList, WasmStr};
use wasmtime::{AsContextMut, Result, StoreContextMut};

/// The contract's `error`.
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
pub(super) enum WitError {
    #[component(name = "no-such-object")]
    NoSuchObject,
    #[component(name = "precondition-failed")]
    PreconditionFailed,
    #[component(name = "key-refused")]
    KeyRefused(String),
}

/// The contract's `object-info`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct WitInfo {
    key: String,
    size: u64,
    etag: String,
    modified: i64,
}

/// The contract's `condition`.
#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
enum WitCondition {
    #[component(name = "none")]
    None,
    #[component(name = "if-absent")]
    IfAbsent,
    #[component(name = "if-match")]
    IfMatch(String),
}

/// What a function of the contract returns that can fail.
pub(super) type Answer<T> = Result<(Result<T, WitError>,)>;
/// A container, given by reference.
type This = Resource<Container>;

impl From<ObjectInfo> for WitInfo {
    fn from(ObjectInfo { key, size, etag, modified_ms }: ObjectInfo) -> Self {
        Self { key, size, etag, modified: modified_ms }
    }
}

impl From<WitCondition> for Condition {
    fn from(condition: WitCondition) -> Self {
        match condition {
            WitCondition::None => Self::None,
            WitCondition::IfAbsent => Self::Absent,
            WitCondition::IfMatch(etag) => Self::Match(etag),
        }
    }
}

impl From<KeyError> for WitError {
    fn from(error: KeyError) -> Self {
        Self::KeyRefused(error.to_string())
    }
}

/// What the guest is told; a fault of the host ends its call instead.
pub(super) fn answer<T>(done: Result<T, BucketError>) -> Answer<T> {
    Ok((match done {
        Ok(done) => Ok(done),
        Err(BucketError::NoSuchObject) => Err(WitError::NoSuchObject),
        Err(BucketError::PreconditionFailed) => Err(WitError::PreconditionFailed),
        Err(BucketError::KeyRefused(why)) => Err(WitError::KeyRefused(why)),
        Err(ours @ BucketError::Host(_)) => return Err(ours.into()),
    },))
}

pub(super) fn link(bucket: &mut LinkerInstance<'_, State>) -> Result<()> {
    bucket.func_wrap_async("[method]container.get", |store, args| Box::new(get(store, args)))?;
    bucket.func_wrap_async("[method]container.info", |store, args| Box::new(info(store, args)))?;
    bucket.func_wrap_async("[method]container.list", |store, args| Box::new(list(store, args)))?;
    bucket.func_wrap_async("[method]container.put", |store, args| Box::new(put(store, args)))?;
    bucket.func_wrap_async("[method]container.delete", |store, args| Box::new(delete(store, args)))?;
    bucket.func_wrap_async("[method]container.upload", |store, args| Box::new(upload(store, args)))
}

/// A key below a grant's prefix.
fn key(store: &StoreContextMut<'_, State>, prefix: &KeyPrefix, text: &WasmStr) -> Result<Result<ObjectKey, KeyError>> {
    let text = text.to_str(store)?;
    Ok(text.parse::<ObjectKey>().and_then(|key| prefix.join(key.as_str()).map(|_| key)))
}

/// The key, or what the function returns.
macro_rules! key {
    ($store:expr, $granted:expr, $text:expr) => {
        match key(&$store, &$granted.prefix, &$text)? {
            Ok(key) => key,
            Err(error) => return Ok((Err(error.into()),)),
        }
    };
}

async fn get(
    mut store: StoreContextMut<'_, State>,
    (this, text, offset, length): (This, WasmStr, u64, u64),
) -> Answer<Vec<u8>> {
    let granted = granted(&store, &this, Access::reads, "read")?;
    meter::charge(store.as_context_mut(), CALL_FUEL)?;
    let key = key!(store, granted, text);
    let end = offset.saturating_add(length.min(BUCKET_CALL_BYTES_MAX));
    let found = wait(&mut store, granted.store.get(key, offset..end)).await;
    meter::charge(store.as_context_mut(), found.as_ref().map_or(0, Vec::len) as u64)?;
    answer(found)
}

async fn info(mut store: StoreContextMut<'_, State>, (this, text): (This, WasmStr)) -> Answer<WitInfo> {
    let granted = granted(&store, &this, Access::reads, "read")?;
    meter::charge(store.as_context_mut(), CALL_FUEL)?;
    let key = key!(store, granted, text);
    let found = wait(&mut store, granted.store.info(key)).await;
    answer(found.map(WitInfo::from))
}

type Listing = (This, WasmStr, Option<WasmStr>, u32);

async fn list(mut store: StoreContextMut<'_, State>, (this, prefix, after, limit): Listing) -> Answer<Vec<WitInfo>> {
    let granted = granted(&store, &this, Access::reads, "read")?;
    meter::charge(store.as_context_mut(), CALL_FUEL)?;
    let prefix = match prefix.to_str(&store)?.parse::<KeyPrefix>() {
        Ok(prefix) => prefix,
        Err(error) => return Ok((Err(error.into()),)),
    };
    let after = match after {
        Some(after) => Some(key!(store, granted, after)),
        None => None,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(BUCKET_LIST_MAX);
    if limit == 0 {
        return Ok((Ok(Vec::new()),));
    }
    let found = wait(&mut store, granted.store.list(prefix, after, limit)).await;
    let entries = found.as_deref().unwrap_or_default();
    let bytes: usize = entries.iter().map(|info| info.key.len() + info.etag.len()).sum();
    let fuel = bytes as u64 + entries.len() as u64 * ENTRY_FUEL;
    meter::charge(store.as_context_mut(), fuel)?;
    answer(found.map(|entries| entries.into_iter().map(WitInfo::from).collect()))
}

type Putting = (This, WasmStr, WasmList<u8>, WitCondition);

async fn put(mut store: StoreContextMut<'_, State>, (this, text, value, condition): Putting) -> Answer<WitInfo> {
    let granted = granted(&store, &this, Access::writes, "write")?;
    let bytes = value.len() as u64;
    if bytes > BUCKET_CALL_BYTES_MAX {
        let words = format!("a put of {bytes} bytes, and at most {BUCKET_CALL_BYTES_MAX} are allowed: use an upload");
        return Err(BucketMisuse::too_much(words));
    }
    meter::charge(store.as_context_mut(), CALL_FUEL + bytes)?;
    let key = key!(store, granted, text);
    let value = Bytes::copy_from_slice(value.as_le_slice(&store));
    let done = wait(&mut store, granted.store.put(key, value, condition.into())).await;
    answer(done.map(WitInfo::from))
}

async fn delete(mut store: StoreContextMut<'_, State>, (this, text): (This, WasmStr)) -> Answer<()> {
    let granted = granted(&store, &this, Access::writes, "write")?;
    meter::charge(store.as_context_mut(), CALL_FUEL)?;
    let key = key!(store, granted, text);
    let done = wait(&mut store, granted.store.delete(key)).await;
    answer(done)
}

async fn upload(mut store: StoreContextMut<'_, State>, (this, text): (This, WasmStr)) -> Answer<Resource<Upload>> {
    let granted = granted(&store, &this, Access::writes, "write")?;
    store.data().uploads.has_room()?;
    meter::charge(store.as_context_mut(), CALL_FUEL)?;
    let key = key!(store, granted, text);
    let begun = wait(&mut store, granted.store.upload(key)).await;
    let begun = begun.map(|upload| Resource::new_own(store.data_mut().uploads.begin(upload)));
    answer(begun)
}
