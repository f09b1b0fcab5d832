//! What an engine needs to know at its start, each limit with its default.
//!
//! Must never: hold a limit that nothing enforces.

use bulkhead_core::limits::{MODULE_BYTES_MAX, SCRATCH_WORKER_BYTES, StageLimits};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

const MIB: u64 = 1 << 20;

/// What an [`Engine`](crate::Engine) is made from.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The folder of compiled code. It is made if missing; nothing but the host may be able to write to it.
    pub cache_dir: PathBuf,
    /// The file with the key that authenticates the folder; it is made if missing, for its owner alone. `None` is
    /// `<cache_dir>.key`, beside the folder.
    pub cache_key: Option<PathBuf>,
    /// Bytes of the folder at most; what was used longest ago is removed above it. Default 4 GiB.
    pub cache_bytes_max: u64,
    /// The folder of stages' scratch files. It is made when the first instance needs it; processes may share it. `None` is
    /// `<cache_dir>.scratch`, beside the cache.
    pub scratch_dir: Option<PathBuf>,
    /// Bytes of all instances' scratch files together, each counted with its limit. Default [`SCRATCH_WORKER_BYTES`].
    pub scratch_bytes_max: u64,
    /// How to start the compiler child.
    pub compiler: CompilerCommand,
    /// What one compilation may use.
    pub compile: CompileLimits,
    /// How many guests there is room for.
    pub pool: PoolSizes,
}

impl EngineConfig {
    /// A configuration with every limit at its default.
    pub fn new(cache_dir: impl Into<PathBuf>, compiler: CompilerCommand) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            cache_key: None,
            cache_bytes_max: 4096 * MIB,
            scratch_dir: None,
            scratch_bytes_max: SCRATCH_WORKER_BYTES,
            compiler,
            compile: CompileLimits::default(),
            pool: PoolSizes::default(),
        }
    }
}

/// The program that runs [`compiler_main`](crate::compiler_main). It gets the wasm on stdin and answers on stdout.
#[derive(Debug, Clone)]
pub struct CompilerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// What compiling one module may use. A module above any of these is refused with
/// [`Code::CompileLimit`](bulkhead_core::code::Code::CompileLimit) or, for its size,
/// [`Code::ModuleTooLarge`](bulkhead_core::code::Code::ModuleTooLarge).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileLimits {
    /// Bytes of the module. Default [`MODULE_BYTES_MAX`].
    pub module_bytes: u64,
    /// Functions in the module. Default 200,000.
    pub functions: u32,
    /// Bytes of one function: the code generator's time rises faster than these. Default 1 MiB.
    pub function_bytes: u32,
    /// Locals of one function, for the same reason. Default 20,000.
    pub locals: u32,
    /// Bytes of address space of the child. Default 4 GiB.
    pub address_space_bytes: u64,
    /// CPU seconds of the child, all threads together. Default 120.
    pub cpu_seconds: u64,
    /// Wall milliseconds of the child, from when it starts. Default 180,000.
    pub wall_ms: u64,
    /// Bytes of compiled code. Default 256 MiB.
    pub output_bytes: u64,
    /// Threads of the child. Default 2.
    pub threads: u32,
    /// Children at a time; more wait, tenants in turn, and the last place is for a tenant that has none. Default 2.
    pub children: u32,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            module_bytes: MODULE_BYTES_MAX,
            functions: 200_000,
            function_bytes: MIB as u32,
            locals: 20_000,
            address_space_bytes: 4096 * MIB,
            cpu_seconds: 120,
            wall_ms: 180_000,
            output_bytes: 256 * MIB,
            threads: 2,
            children: 2,
        }
    }
}

/// How many guests there is room for. Address space is reserved at the start, memory only when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSizes {
    /// Instances at a time; above it `instantiate` is a host fault with
    /// [`Code::Unavailable`](bulkhead_core::code::Code::Unavailable). Default 1,000 (some 4 TiB of address space).
    pub instances: u32,
    /// Calls at a time: a stack each. Default 1,000.
    pub calls: u32,
    /// Bytes of one linear memory at most, whatever a stage's own limit. Default [`StageLimits::MAX`]'s.
    pub memory_bytes: u64,
}

impl Default for PoolSizes {
    fn default() -> Self {
        Self { instances: 1_000, calls: 1_000, memory_bytes: StageLimits::MAX.memory_bytes }
    }
}
