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
/// Bytes of a manifest's texts once its aliases are followed, and one for each value. Stops a short manifest that repeats a long text.
pub const MANIFEST_EXPANDED_BYTES_MAX: u64 = MIB;
/// Mistakes of a manifest that are told at once, at most. Stops an answer that is much longer than the manifest.
pub const MANIFEST_ERRORS_MAX: usize = 100;
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
/// Bytes of a stage's state in one partition where the manifest says only `state: {}`. Stops a stage that never deletes.
pub const STATE_BYTES: u64 = 64 * MIB;
/// The most that a manifest may ask for.
pub const STATE_BYTES_MAX: u64 = 16 * 1024 * MIB;
/// What an entry of the state counts beside its key and value: about what it costs to keep. Stops a million empty entries.
pub const STATE_ENTRY_BYTES: u64 = 64;
/// Bytes of a key of the state; at least one.
pub const STATE_KEY_BYTES_MAX: usize = KIB as usize;
/// Bytes of a value of the state.
pub const STATE_VALUE_BYTES_MAX: usize = MIB as usize;
/// Bytes that one scan of the state gives at most, each entry counted as [`STATE_ENTRY_BYTES`] says.
pub const STATE_SCAN_BYTES_MAX: u64 = MIB;
/// Bytes of state that a stage may write in one batch, entries counted as above: they stay in memory until their commit.
pub const STATE_BATCH_BYTES_MAX: u64 = 32 * MIB;
/// Milliseconds between two ticks of a stage where the manifest names none.
pub const TICK_MS: u64 = 1_000;
/// The shortest that a manifest may ask for. Stops a stage that does nothing but tick.
pub const TICK_MS_MIN: u64 = 100;
/// The longest.
pub const TICK_MS_MAX: u64 = 3_600_000;
/// A tick may burn as much fuel as this many records: it may close many windows at once.
pub const TICK_FUEL_RECORDS: u32 = 100;
/// Bytes of an instance's scratch files where the manifest says only `scratch: {}`.
pub const SCRATCH_BYTES: u64 = 16 * MIB;
/// The least that a manifest may ask for.
pub const SCRATCH_BYTES_MIN: u64 = 64 * KIB;
/// The most. An instance that starts reserves what its manifest says, of what a worker lends in all.
pub const SCRATCH_BYTES_MAX: u64 = 256 * MIB;
/// What a scratch file or folder counts beside its bytes: the block that even an empty one may take. Stops a million empty files.
pub const SCRATCH_ENTRY_BYTES: u64 = 4 * KIB;
/// Scratch files and folders of one instance at most. Bounds the names in a folder, and the work of removing it.
pub const SCRATCH_ENTRIES_MAX: usize = 1_000;
/// Open scratch files, folders and streams on them that one instance may hold; a `std::fs::File` is up to three. Bounds the worker's
/// descriptors, and what its streams hold in memory.
pub const SCRATCH_OPEN_MAX: usize = 64;
/// Bytes of a path of a scratch file at most.
pub const SCRATCH_PATH_BYTES_MAX: usize = 1_024;
/// Bytes of scratch files that a worker lends in all: the default of `serve --scratch-bytes-max`. An instance that finds none left waits.
pub const SCRATCH_WORKER_BYTES: u64 = 64 * 1024 * MIB;
/// Headers of one record that is produced over HTTP, at most. A record of headers alone costs far more memory than its bytes.
pub const RECORD_HEADERS_MAX: usize = 1_000;
/// Bytes of an object's key, or of a prefix, at most: what S3 takes.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Bytes of one part of a key at most: what file systems take.
pub const KEY_PART_BYTES_MAX: usize = 255;
/// Parts of buckets that one stage may be granted, at most.
pub const BUCKET_GRANTS_MAX: usize = 16;
/// Bytes that a stage reads from or writes to a bucket in one call at most: they are in memory twice. Longer objects are read in ranges and
/// written as uploads.
pub const BUCKET_CALL_BYTES_MAX: u64 = 8 * MIB;
/// Bytes of one write to an upload at most.
pub const BUCKET_WRITE_BYTES_MAX: u64 = MIB;
/// Objects that one listing gives a stage at most.
pub const BUCKET_LIST_MAX: usize = 1_000;
/// Uploads that one instance may have under way: each holds up to 9 MiB of the host's memory.
pub const BUCKET_UPLOADS_MAX: usize = 4;
/// Milliseconds that a bucket may take for one call of a stage before it counts as away. They are not part of the stage's deadline.
pub const BUCKET_CALL_MS: u64 = 30_000;
/// Bytes of a secret at most: a key with its chain of certificates.
pub const SECRET_BYTES_MAX: usize = 64 * KIB as usize;
/// Bytes of a config entry at most, as JSON.
pub const CONFIG_ENTRY_BYTES_MAX: usize = 16 * KIB as usize;
/// Secrets that one stage may be granted at most, and config entries that it may take: each is held in memory.
pub const STAGE_ENTRIES_MAX: usize = 64;
/// Columns of a bucket output at most.
pub const COLUMNS_MAX: usize = 200;
/// Different values of an output's `by` column that one roll gathers; with one more it ends early. Bounds the objects of a commit.
pub const BY_VALUES_MAX: usize = 256;
/// Bytes of gathered rows, as they are in memory, that one bucket output may hold in a worker. Above it the largest roll ends early.
pub const SINK_BUFFER_BYTES: u64 = 64 * MIB;
/// Log lines of one pipeline that wait in a worker to be sent to control. Above it the newest are dropped, and counted.
pub const WAITING_LINES_MAX: usize = 1_000;
/// What such a line counts beside its text: names, times, and its place among the others.
pub const WAITING_LINE_BYTES: u64 = 256;
/// Bytes of lines that wait of one tenant; they are part of its `memoryBytes`. Above it the newest go of its pipeline that holds most.
pub const WAITING_LINES_BYTES_MAX: u64 = MIB;
/// Bytes of lines that wait of all tenants together, and no more than an eighth of what a worker may hold. Above it the newest go of the tenant that holds most.
pub const WAITING_LINES_WORKER_BYTES_MAX: u64 = 32 * MIB;

/// When the rows that a bucket output has gathered become an object: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollLimits {
    /// Rows. Default 100,000, at most 1,000,000.
    pub records: u32,
    /// Bytes of the rows as the stage returned them. Default and most 64 MiB.
    pub bytes: u64,
    /// Milliseconds since the first row was read. Default 60,000; 100 to 3,600,000.
    pub every_ms: u64,
}

impl RollLimits {
    /// What no manifest may exceed.
    pub const MAX: RollLimits = RollLimits { records: 1_000_000, bytes: 64 * MIB, every_ms: 3_600_000 };
    /// What `every_ms` must not be below.
    pub const EVERY_MS_MIN: u64 = 100;
}

impl Default for RollLimits {
    fn default() -> Self {
        Self { records: 100_000, bytes: 64 * MIB, every_ms: 60_000 }
    }
}
