//! The contract of `guest-sdk/wit/stage.wit` as Rust, generated, and `mark` with a native stand-in.
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

/// The export of a stage that acts on time. A world of its own, so that only a stage with a `tick` exports it: a component that has
/// both gets both worlds, merged.
pub mod ticking {
    wit_bindgen::generate!({
        inline: "package bulkhead:sdk; world ticking { export bulkhead:stage/ticker@0.1.0; }",
        path: "../wit",
        world: "bulkhead:sdk/ticking",
        with: { "bulkhead:stage/types@0.1.0": super::bulkhead::stage::types },
        pub_export_macro: true,
        export_macro_name: "export_ticker",
        default_bindings_module: "bulkhead_sdk::__private::bindings::ticking",
        runtime_path: "wit_bindgen::rt",
    });
}

/// Says that work on a row starts now. Outside the sandbox nobody listens.
#[inline]
pub(crate) fn mark(row: u32) {
    #[cfg(target_family = "wasm")]
    bulkhead::stage::host::mark(row);
    #[cfg(not(target_family = "wasm"))]
    let _ = row;
}
