//! The contract of `guest-sdk/wit/stage.wit` as Rust, generated, and the two host functions with a native stand-in.
//!
//! The types exist on every target, so that a stage and its tests compile anywhere; only wasm can call the imports.
//! Must never: be seen by a stage's author.
#![allow(missing_docs, unreachable_pub, reason = "generated from the contract, which carries the documentation")]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks, reason = "generated code is its generator's concern")]

wit_bindgen::generate!({
    path: "../wit",
    world: "stage",
    pub_export_macro: true,
    export_macro_name: "export_stage",
    default_bindings_module: "bulkhead_sdk::__private::bindings",
    runtime_path: "wit_bindgen::rt",
});

pub(crate) use bulkhead::stage::types as contract;

/// Says that work on a row starts now. Outside the sandbox nobody listens.
#[inline]
pub(crate) fn mark(row: u32) {
    #[cfg(target_family = "wasm")]
    bulkhead::stage::host::mark(row);
    #[cfg(not(target_family = "wasm"))]
    let _ = row;
}
