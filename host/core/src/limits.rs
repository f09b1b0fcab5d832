//! Every limit by name, with its default and the attack or accident it stops.
//!
//! Must never: hold a limit that nothing enforces.

use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What one stage may use. A manifest may lower or raise a field up to [`StageLimits::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageLimits {
    /// Fuel for one record, about one unit for each WebAssembly instruction. Stops a loop. Default 50,000,000 (some 50 ms).
    pub fuel_per_record: u64,
    /// Bytes of linear memory of one instance. Default 64 MiB.
    pub memory_bytes: u64,
    /// Wall milliseconds for one batch, waiting included. Stops a guest that sleeps. Default 30,000.
    pub deadline_ms: u64,
    /// Bytes that one batch may return. Default 16 MiB.
    pub output_bytes: u64,
    /// Outputs that one batch may return. Default 100,000.
    pub output_records: u32,
    /// Retries of one record before it becomes a dead letter. Default 3.
    pub retries: u32,
}

impl StageLimits {
    /// What no manifest may exceed.
    pub const MAX: StageLimits = StageLimits {
        fuel_per_record: 10_000_000_000,
        memory_bytes: 256 * MIB,
        deadline_ms: 300_000,
        output_bytes: 64 * MIB,
        output_records: 1_000_000,
        retries: 20,
    };
}

impl Default for StageLimits {
    fn default() -> Self {
        Self {
            fuel_per_record: 50_000_000,
            memory_bytes: 64 * MIB,
            deadline_ms: 30_000,
            output_bytes: 16 * MIB,
            output_records: 100_000,
            retries: 3,
        }
    }
}

/// How records are grouped into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchLimits {
    /// Records at most. Default 1,000, at most 5,000.
    pub records: u32,
    /// Bytes at most; a larger record comes alone. Default 1 MiB, at most 8 MiB.
    pub bytes: u64,
    /// Milliseconds that an unfull batch waits for more. Default 5.
    pub linger_ms: u64,
}

impl BatchLimits {
    /// What no manifest may exceed.
    pub const MAX: BatchLimits = BatchLimits { records: 5_000, bytes: 8 * MIB, linger_ms: 10_000 };
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { records: 1_000, bytes: MIB, linger_ms: 5 }
    }
}

/// Bytes of one uploaded module at most: the default of `serve --module-bytes-max`.
pub const MODULE_BYTES_MAX: u64 = 64 * MIB;
/// Bytes of a manifest at most. A manifest is read whole, before its tenant's quota is known.
pub const MANIFEST_BYTES_MAX: u64 = 256 * KIB;
/// Stages of a pipeline at most: each is an instance in memory for each busy executor thread.
pub const STAGES_MAX: usize = 32;
/// Inputs, or outputs of one stage, at most.
pub const PORTS_MAX: usize = 64;
/// Bytes of a stage's `config`, as JSON, at most.
pub const SETTINGS_BYTES_MAX: usize = 64 * KIB as usize;
/// Bytes of a guest's reason for an exception or a failed `init` that are kept; the rest is cut.
pub const REASON_BYTES_MAX: usize = 2 * KIB as usize;
/// Bytes of batches and held outputs that one pipeline may keep in a worker; its partitions are paused above it.
pub const PIPELINE_BUFFER_BYTES: u64 = 32 * MIB;
/// Headers of one record that is produced over HTTP, at most. A record of headers alone costs far more memory than its bytes.
pub const RECORD_HEADERS_MAX: usize = 1_000;
