//! The settings of wasmtime, one function for the worker and for the compiler child.
//!
//! Code is only loaded where both were made with the same settings, so what shapes code is in [`base`], and the
//! pool, which does not, is added for the worker alone: it reserves terabytes of address space, which the child may not have.
//! Must never: allow a feature of WebAssembly that is not named here.

use crate::config::PoolSizes;
use sha2::{Digest, Sha256};
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
    WasmFeatures,
};

/// Changes whenever compiled code of an older host must not be used, though wasmtime would take it.
const CACHE_VERSION: u32 = 1;
/// Frames of a backtrace at most.
pub(crate) const BACKTRACE_FRAMES_MAX: usize = 32;
/// Bytes of a guest's stack; deeper recursion traps.
const GUEST_STACK_BYTES: usize = 512 << 10;
/// Bytes of the stack that guest and host functions share.
const CALL_STACK_BYTES: usize = 1 << 20;
/// Address space behind each linear memory, so that the processor checks bounds and the code need not.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
/// Unmapped bytes after each linear memory, for the same reason.
const MEMORY_GUARD_BYTES: u64 = 32 << 20;
/// Core modules of one component at most.
pub(crate) const CORE_INSTANCES_MAX: u32 = 32;
/// Tables of one component at most.
pub(crate) const TABLES_MAX: u32 = 32;
/// Linear memories of one component at most.
pub(crate) const MEMORIES_MAX: u32 = 4;
/// Entries of all tables of one component at most.
pub(crate) const TABLE_ENTRIES_MAX: usize = 100_000;
/// Bytes of wasmtime's own bookkeeping for one component at most.
const INSTANCE_BYTES_MAX: usize = 2 << 20;
/// Bytes of a used stack that are zeroed by hand rather than given back to the system, which costs a system call and page faults.
const STACK_RESIDENT_BYTES: usize = 16 << 10;
/// Bytes of a used memory that are zeroed by hand, for the same reason.
const MEMORY_RESIDENT_BYTES: usize = 128 << 10;

/// What a stage may be written with: what toolchains use today. Left out are threads (one instance is one thread, and shared memory
/// makes fine clocks), garbage collection, exceptions, 64-bit memories, stack switching and the async component model.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Frames of a profile's stack at most.
const PROFILE_FRAMES_MAX: usize = 256;

/// What shapes code. That of a profiling engine has checks that other code has not.
fn base(profiling: bool) -> Config {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift).cranelift_opt_level(OptLevel::Speed);
    config.wasm_features(WasmFeatures::all(), false).wasm_features(FEATURES, true);
    config.consume_fuel(true).epoch_interruption(profiling).concurrency_support(false);
    // A run must repeat to the same bytes on another machine.
    config.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
    config.memory_reservation(MEMORY_RESERVATION_BYTES).memory_guard_size(MEMORY_GUARD_BYTES);
    config.max_wasm_stack(GUEST_STACK_BYTES).async_stack_size(CALL_STACK_BYTES).async_stack_zeroing(true);
    config.generate_address_map(true).debug_info(false);
    // Names come from the module's name section. Debug sections are other people's bytes too, and reading them is slow.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(match profiling {
        true => PROFILE_FRAMES_MAX,
        false => BACKTRACE_FRAMES_MAX,
    }));
    config
}

/// For the compiler child, which runs nothing.
pub(crate) fn compiler(profiling: bool) -> Config {
    base(profiling)
}

/// For the worker, which runs guests in a pool.
pub(crate) fn worker(sizes: &PoolSizes, profiling: bool) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sizes.instances)
        .total_core_instances(sizes.instances.saturating_mul(4))
        .total_memories(sizes.instances)
        .total_tables(sizes.instances.saturating_mul(4))
        .total_stacks(sizes.calls)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(usize::try_from(sizes.memory_bytes).unwrap_or(usize::MAX))
        .table_elements(TABLE_ENTRIES_MAX)
        .async_stack_keep_resident(STACK_RESIDENT_BYTES)
        .linear_memory_keep_resident(MEMORY_RESIDENT_BYTES)
        .table_keep_resident(MEMORY_RESIDENT_BYTES)
        .memory_protection_keys(Enabled::Auto);
    let mut config = base(profiling);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// What code compiled by this host, on this machine's kind of processor, has in common.
pub(crate) fn fingerprint(engine: &wasmtime::Engine) -> [u8; 32] {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut sha = Sha(Sha256::new());
    CACHE_VERSION.hash(&mut sha);
    engine.precompile_compatibility_hash().hash(&mut sha);
    sha.0.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_and_compiler_make_the_same_code() {
        let sizes = PoolSizes { instances: 4, calls: 4, ..PoolSizes::default() };
        let [plain, profiling] = [false, true].map(|profiling| {
            let worker = wasmtime::Engine::new(&worker(&sizes, profiling)).unwrap();
            let compiler = wasmtime::Engine::new(&compiler(profiling)).unwrap();
            assert_eq!(fingerprint(&worker), fingerprint(&compiler));
            fingerprint(&worker)
        });
        assert_ne!(plain, profiling, "a worker would take a profiling engine's code");
    }

    #[test]
    fn features_that_are_not_named_are_off() {
        let engine = wasmtime::Engine::new(&compiler(false)).unwrap();
        let features = engine.get_wasm_features();
        assert!(
            !features.intersects(
                WasmFeatures::THREADS | WasmFeatures::MEMORY64 | WasmFeatures::GC | WasmFeatures::EXCEPTIONS
            )
        );
        assert!(FEATURES.contains(features), "{:?}", features.difference(FEATURES));
    }
}
