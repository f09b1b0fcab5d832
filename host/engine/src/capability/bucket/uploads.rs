//! Uploads under way, and their functions.
//!
//! An upload ends with the call that began it, whether finished or not: the batch commits then, and an object that were to come later
//! could be lost with the instance's memory.
//! Must never: keep the bytes of more than a few uploads.

use super::calls::{Answer, answer};
use super::{BucketMisuse, BucketUpload, CALL_FUEL, Upload, wait, within_call};
use crate::meter;
use crate::state::State;
use bulkhead_core::limits::{BUCKET_UPLOADS_MAX, BUCKET_WRITE_BYTES_MAX};
use bytes::Bytes;
use std::collections::BTreeMap;
use wasmtime::component::{LinkerInstance, Resource, WasmList};
use wasmtime::{AsContextMut, Result, StoreContextMut};

/// Fuel for one write: a copy, and now and then a part that is sent.
const WRITE_FUEL: u64 = CALL_FUEL / 10;

/// An instance's uploads.
#[derive(Default)]
pub(crate) struct Uploads {
    under_way: BTreeMap<u32, Box<dyn BucketUpload>>,
    /// The number of the next.
    next: u32,
}

impl Uploads {
    /// Whether another may begin.
    pub(super) fn has_room(&self) -> Result<()> {
        if self.under_way.len() < BUCKET_UPLOADS_MAX {
            return Ok(());
        }
        Err(BucketMisuse::too_much(format!("more than {BUCKET_UPLOADS_MAX} uploads under way")))
    }

    pub(super) fn begin(&mut self, upload: Box<dyn BucketUpload>) -> u32 {
        let number = self.next;
        // A guest that begins four thousand million of them within a call has run out of fuel long before.
        self.next = self.next.wrapping_add(1);
        self.under_way.insert(number, upload);
        number
    }

    fn take(&mut self, number: u32) -> Result<Box<dyn BucketUpload>> {
        let words = "an upload was used after its end: it ends with `finish`, and with the call that began it";
        self.under_way.remove(&number).ok_or_else(|| BucketMisuse::too_much(words))
    }

    /// The guest has dropped its handle.
    pub(super) fn end(&mut self, number: u32) {
        self.under_way.remove(&number);
    }

    /// The call is over.
    pub(crate) fn end_all(&mut self) {
        self.under_way.clear();
    }
}

pub(super) fn link(bucket: &mut LinkerInstance<'_, State>) -> Result<()> {
    bucket.func_wrap_async("[method]upload.write", |store, args| Box::new(write(store, args)))?;
    bucket.func_wrap_async("[method]upload.finish", |store, args| Box::new(finish(store, args)))
}

async fn write(mut store: StoreContextMut<'_, State>, (this, value): (Resource<Upload>, WasmList<u8>)) -> Result<()> {
    within_call(&store)?;
    let bytes = value.len() as u64;
    if bytes > BUCKET_WRITE_BYTES_MAX {
        let words = format!("a write of {bytes} bytes, and at most {BUCKET_WRITE_BYTES_MAX} are allowed");
        return Err(BucketMisuse::too_much(words));
    }
    meter::charge(store.as_context_mut(), WRITE_FUEL + bytes)?;
    let value = Bytes::copy_from_slice(value.as_le_slice(&store));
    let upload = store.data_mut().uploads.take(this.rep())?;
    let upload = wait(&mut store, upload.write(value)).await?;
    store.data_mut().uploads.under_way.insert(this.rep(), upload);
    Ok(())
}

async fn finish(mut store: StoreContextMut<'_, State>, (this,): (Resource<Upload>,)) -> Answer<u64> {
    within_call(&store)?;
    meter::charge(store.as_context_mut(), CALL_FUEL)?;
    let upload = store.data_mut().uploads.take(this.rep())?;
    let done = wait(&mut store, upload.finish()).await;
    answer(done)
}
