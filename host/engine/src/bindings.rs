//! The contract's exports, generated from `guest-sdk/wit`. Parameters borrow, so that a batch is written to the guest's memory
//! straight from the host's columns; results are vectors that move on.
//!
//! Must never: be edited beside the contract.
#![allow(unsafe_code, reason = "generated; its checks of types are wasmtime's")]
#![allow(missing_docs, clippy::all, reason = "generated")]

use wasmtime::component::Instance;

impl<T: Send + 'static> GuestPre<T> {
    /// As `instantiate_async`, which keeps the instance to itself: the ticker, which not every component has, is looked for in it.
    pub(crate) async fn start(
        &self,
        mut store: impl wasmtime::AsContextMut<Data = T>,
    ) -> wasmtime::Result<(Instance, Guest)> {
        let mut store = store.as_context_mut();
        let instance = self.instance_pre.instantiate_async(&mut store).await?;
        let guest = self.indices.load(&mut store, &instance)?;
        Ok((instance, guest))
    }
}

wasmtime::component::bindgen!({
    inline: "package bulkhead:engine; world guest { export bulkhead:stage/processor@0.1.0; }",
    path: "../../guest-sdk/wit",
    world: "bulkhead:engine/guest",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});
