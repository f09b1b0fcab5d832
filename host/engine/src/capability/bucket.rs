//! The contract's own buckets: objects below granted prefixes, by way of stores that the host gives a stage.
//!
//! What a store is, and where objects are kept, is for the record path: [`BucketStore`] is the port. Here is what holds whatever the
//! store: what a grant allows, which keys there are, limits, that a guest pays in fuel for what the host does, and that a bucket which
//! is away or slow is never the guest's fault: its call ends as a fault of the host, and the time that it took is not the guest's.
//! Must never: reach a store that was not granted, do what its access does not allow, or keep an upload longer than the call that began it.

mod calls;
mod uploads;

use crate::failure::Misuse;
use crate::meter;
use crate::state::State;
use bulkhead_core::bucket::{Access, Condition, KeyPrefix, ObjectInfo, ObjectKey};
use bulkhead_core::code::Code;
use bulkhead_core::fault::{GuestFault, GuestFaultKind, HostFault};
use bulkhead_core::limits::BUCKET_CALL_MS;
use bulkhead_core::name::GrantName;
use bytes::Bytes;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime::{AsContextMut, Result, StoreContextMut};

pub(crate) use uploads::Uploads;

/// Fuel for one call: about what it costs the host, some 50 microseconds whatever the store.
const CALL_FUEL: u64 = 50_000;
/// Fuel for each object that a listing gives.
const ENTRY_FUEL: u64 = 1_000;

/// What a [`BucketStore`] gives, later.
pub type BucketFuture<T> = Pin<Box<dyn Future<Output = Result<T, BucketError>> + Send>>;

/// The part of a bucket that a grant opens. Keys are relative to its prefix, and are what they should be.
///
/// A future that is dropped may have done its work or not. It is polled on the threads that run guests, so it must not work there, only
/// wait.
pub trait BucketStore: Send + Sync {
    /// Bytes `range` of an object, fewer where it ends before.
    fn get(&self, key: ObjectKey, range: Range<u64>) -> BucketFuture<Vec<u8>>;
    /// What is known of an object.
    fn info(&self, key: ObjectKey) -> BucketFuture<ObjectInfo>;
    /// Objects whose keys begin with `prefix`, after the key `after`, in the order of their bytes, at most `limit`.
    fn list(&self, prefix: KeyPrefix, after: Option<ObjectKey>, limit: usize) -> BucketFuture<Vec<ObjectInfo>>;
    /// Writes an object whole.
    fn put(&self, key: ObjectKey, bytes: Bytes, condition: Condition) -> BucketFuture<ObjectInfo>;
    /// Removes an object; one that is not there is no error.
    fn delete(&self, key: ObjectKey) -> BucketFuture<()>;
    /// Begins an object that comes in pieces.
    fn upload(&self, key: ObjectKey) -> BucketFuture<Box<dyn BucketUpload>>;
}

/// An object on its way. Nobody sees it before it is finished; dropped before, it leaves nothing.
pub trait BucketUpload: Send {
    /// Adds bytes to its end, and gives it back.
    fn write(self: Box<Self>, bytes: Bytes) -> BucketFuture<Box<dyn BucketUpload>>;
    /// Makes the object be seen. Gives its bytes.
    fn finish(self: Box<Self>) -> BucketFuture<u64>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// There is no such object.
    #[error("there is no such object")]
    NoSuchObject,
    /// The condition of a put does not hold.
    #[error("the condition does not hold")]
    PreconditionFailed,
    /// The store cannot hold the key. In words for the stage's author.
    #[error("{0}")]
    KeyRefused(String),
    /// Ours: the bucket is away, full, or refuses this host.
    #[error("{0}")]
    Host(HostFault),
}

/// A grant with its store, for [`Stage::with_buckets`](crate::Stage::with_buckets).
#[derive(Clone)]
pub struct GrantedBucket {
    /// The name under which the stage opens it.
    pub name: GrantName,
    /// What comes before its keys: counted with them where their length is checked.
    pub prefix: KeyPrefix,
    /// What the stage may do.
    pub access: Access,
    /// Where the objects are.
    pub store: Arc<dyn BucketStore>,
}

/// What a guest's `container` is on this side: the index of its grant is the handle's number, so nothing is kept for it.
pub(crate) struct Container;
/// What a guest's `upload` is: a number in [`Uploads`].
pub(crate) struct Upload;

/// A fault of the guest's that has a page of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BucketMisuse(GuestFault);

impl BucketMisuse {
    pub(crate) fn fault(&self) -> &GuestFault {
        &self.0
    }

    fn not_granted(words: String) -> wasmtime::Error {
        Self(GuestFault::new(GuestFaultKind::BucketNotGranted, words)).into()
    }

    fn too_much(words: impl Into<String>) -> wasmtime::Error {
        Self(GuestFault::new(GuestFaultKind::BucketMisused, words)).into()
    }
}

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    let mut bucket = linker.instance("bulkhead:stage/bucket@0.1.0")?;
    bucket.resource("container", ResourceType::host::<Container>(), |_, _| Ok(()))?;
    bucket.resource("upload", ResourceType::host::<Upload>(), |mut store, number| {
        store.data_mut().uploads.end(number);
        Ok(())
    })?;
    bucket.func_wrap("open", open)?;
    calls::link(&mut bucket)?;
    uploads::link(&mut bucket)
}

fn open(
    mut store: StoreContextMut<'_, State>,
    (name,): (wasmtime::component::WasmStr,),
) -> Result<(Resource<Container>,)> {
    within_call(&store)?;
    let found = {
        let name = name.to_str(&store)?;
        store.data().buckets.iter().position(|granted| granted.name.as_str() == name).ok_or_else(|| {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
            BucketMisuse::not_granted(format!("no bucket is granted under the name `{shown}`"))
        })?
    };
    meter::charge(store.as_context_mut(), CALL_FUEL)?;
    Ok((Resource::new_own(found as u32),))
}

/// Buckets are for `process` and `tick`: what `init` read would be a cache that nobody renews.
fn within_call(store: &StoreContextMut<'_, State>) -> Result<()> {
    if store.data().in_call {
        return Ok(());
    }
    Err(BucketMisuse::too_much("a bucket was asked for outside of `process` and `tick`"))
}

/// The grant behind a handle, where it allows what is asked.
fn granted(
    store: &StoreContextMut<'_, State>,
    container: &Resource<Container>,
    allows: fn(Access) -> bool,
    what: &str,
) -> Result<GrantedBucket> {
    within_call(store)?;
    let granted = store.data().buckets.get(container.rep() as usize);
    let granted = granted.ok_or_else(|| Misuse::new("a container that was never opened"))?;
    if !allows(granted.access) {
        let words = format!("the bucket `{}` is not granted to {what}", granted.name);
        return Err(BucketMisuse::not_granted(words));
    }
    Ok(granted.clone())
}

/// Waits for a store: at most [`BUCKET_CALL_MS`], of which nothing counts for the guest's deadline.
async fn wait<T>(store: &mut StoreContextMut<'_, State>, work: BucketFuture<T>) -> Result<T, BucketError> {
    let _waiting = store.data().waits.begin();
    answered_within(Duration::from_millis(BUCKET_CALL_MS), work).await
}

async fn answered_within<T>(limit: Duration, work: BucketFuture<T>) -> Result<T, BucketError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            let words = format!("a bucket did not answer within {} ms", limit.as_millis());
            Err(BucketError::Host(HostFault::new(Code::BucketUnavailable, words)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bucket_that_never_answers_is_away() {
        let never: BucketFuture<()> = Box::pin(std::future::pending());
        let Err(BucketError::Host(fault)) = answered_within(Duration::from_millis(1), never).await else {
            panic!("it answered")
        };
        assert_eq!(fault.code, Code::BucketUnavailable);
    }
}
