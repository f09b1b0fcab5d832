//! Random numbers: real where a guest runs live, from a seed where a run must repeat.
//!
//! Must never: give a guest many bytes for little fuel, or use a seed for a live run.

use crate::instance::Mode;
use crate::meter;
use crate::state::State;
use sha2::{Digest, Sha256};
use wasmtime::component::Linker;
use wasmtime::{AsContextMut, Result, StoreContextMut};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::{Deterministic, WasiCtxBuilder};

/// Bytes of one request at most; more faults the guest. Stops one that has the host make a gigabyte.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Seeded bytes after which a confirming run sees the same again.
const SEEDED_BYTES: usize = 8 << 10;
/// The interfaces' name at the version that wasmtime has; the linker finds older ones by it.
const RANDOM: &str = "wasi:random/random@0.2.12";
const INSECURE: &str = "wasi:random/insecure@0.2.12";

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    random::add_to_linker::<_, WasiRandom>(linker, WasiRandomView::random)?;
    insecure::add_to_linker::<_, WasiRandom>(linker, WasiRandomView::random)?;
    insecure_seed::add_to_linker::<_, WasiRandom>(linker, WasiRandomView::random)?;
    // The two that make bytes at length are paid for by the byte.
    linker.allow_shadowing(true);
    linker.instance(RANDOM)?.func_wrap(
        "get-random-bytes",
        |mut store: StoreContextMut<'_, State>, (bytes,): (u64,)| {
            meter::charge(store.as_context_mut(), bytes)?;
            Ok((random::Host::get_random_bytes(store.data_mut().random(), bytes)?,))
        },
    )?;
    linker.instance(INSECURE)?.func_wrap(
        "get-insecure-random-bytes",
        |mut store: StoreContextMut<'_, State>, (bytes,): (u64,)| {
            meter::charge(store.as_context_mut(), bytes)?;
            Ok((insecure::Host::get_insecure_random_bytes(store.data_mut().random(), bytes)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

pub(super) fn set(builder: &mut WasiCtxBuilder, mode: Mode) {
    builder.max_random_size(RANDOM_BYTES_MAX);
    if let Mode::Confirm { seed, .. } = mode {
        let bytes = seeded(seed);
        let hash_seed = bytes[..16].iter().fold(0, |all, byte| all << 8 | u128::from(*byte));
        builder.insecure_random_seed(hash_seed);
        builder.insecure_random(Deterministic::new(bytes.clone()));
        builder.secure_random(Deterministic::new(bytes));
    }
}

/// The bytes that a seed stands for, the same on every machine.
fn seeded(seed: u64) -> Vec<u8> {
    (0_u64..)
        .flat_map(|block| Sha256::new().chain_update(seed.to_le_bytes()).chain_update(block.to_le_bytes()).finalize())
        .take(SEEDED_BYTES)
        .collect()
}
