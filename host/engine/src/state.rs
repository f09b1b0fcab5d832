//! What one store keeps beside its guest.
//!
//! Must never: hold anything of another tenant.

use crate::capability::bucket::{GrantedBucket, Uploads};
use crate::capability::secrets::GrantedSecret;
use crate::capability::{self, scratch::Home, state::StateStore, stdio::Pipe};
use crate::deadline::Waits;
use crate::instance::Mode;
use crate::log::LogGate;
use crate::memory::{GuestBytes, MemoryMeter};
use crate::meter::Meter;
use bulkhead_core::limits::StageLimits;
use std::num::NonZeroU64;
use std::sync::Arc;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Streams, pollables and other things of the host that one instance may hold; one more faults it.
pub(crate) const HANDLES_MAX: usize = 1_000;

/// The data of a store.
pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(crate) meter: Meter,
    pub(crate) memory: MemoryMeter,
    pub(crate) log: Arc<LogGate>,
    pub(crate) stdout: Pipe,
    pub(crate) stderr: Pipe,
    /// The stage's own keys and values, for the call under way.
    pub(crate) lent: Option<Arc<dyn StateStore>>,
    /// What the stage was granted, in the order of the handles' numbers.
    pub(crate) buckets: Arc<[GrantedBucket]>,
    /// The secrets that it may read.
    pub(crate) secrets: Arc<[GrantedSecret]>,
    pub(crate) uploads: Uploads,
    /// Whether `process` or `tick` is under way.
    pub(crate) in_call: bool,
    pub(crate) waits: Waits,
    /// The instance's folder, where its stage has that grant.
    pub(crate) scratch: Option<Arc<Home>>,
}

impl State {
    pub(crate) fn new(
        limits: &StageLimits,
        interval: Option<NonZeroU64>,
        log: &Arc<LogGate>,
        mode: Mode,
        buckets: &Arc<[GrantedBucket]>,
        memory: &GuestBytes,
    ) -> Self {
        let (wasi, stdout, stderr) = capability::context(log, mode);
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self {
            wasi,
            table,
            meter: Meter::new(limits.fuel_per_record, interval),
            memory: MemoryMeter::new(limits.memory_bytes, memory.clone()),
            log: Arc::clone(log),
            stdout,
            stderr,
            lent: None,
            buckets: Arc::clone(buckets),
            secrets: Arc::default(),
            uploads: Uploads::default(),
            in_call: false,
            waits: Waits::default(),
            scratch: None,
        }
    }

    /// `process` or `tick` begins.
    pub(crate) fn begin_call(&mut self) {
        self.in_call = true;
    }

    /// It ended well: what was lent for it is given back.
    pub(crate) fn end_call(&mut self) {
        self.in_call = false;
        self.lent = None;
        self.uploads.end_all();
    }

    /// The host's side of the guest's handles, to look at.
    pub(crate) fn handles(&self) -> &ResourceTable {
        &self.table
    }

    /// The host's side of the guest's handles.
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
