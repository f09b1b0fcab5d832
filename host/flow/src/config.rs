//! What an operator may set about the record path, with defaults.
//!
//! Must never: hold a setting that nothing reads.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a worker's record path.
#[derive(Debug, Clone)]
pub struct FlowConfig {
    /// Threads that run guests. Default: one for each core.
    pub executor_threads: usize,
    /// How long a transaction stays open for more batches. Longer costs latency, shorter costs the broker. Default 100 ms.
    pub commit_interval: Duration,
    /// How long a commit may take before its lane gives it up. Bounds what a stalled partition of one tenant costs those that
    /// share its lane. Default 5 s.
    pub commit_timeout: Duration,
    /// Lanes that all pipelines share. Default 1.
    pub shared_lanes: usize,
    /// Lanes for busy pipelines, one each. Default 2.
    pub own_lanes: usize,
    /// Bytes a second over which a pipeline counts as busy. Default 4 MiB.
    pub busy_bytes_per_s: u64,
    /// Commits without a fault after which a pipeline leaves quarantine. Default 20.
    pub clean_commits: u32,
    /// Bytes of batches and held outputs of one pipeline above which its guests wait for a commit. At half of it no more is fetched.
    /// Default [`bulkhead_core::limits::PIPELINE_BUFFER_BYTES`].
    pub buffer_bytes: u64,
    /// Bytes that all tenants together may hold in memory: batches, outputs and guests. Above it the tenant that holds most is set aside.
    /// Default: no bound.
    pub memory_bytes: u64,
    /// How long stopping waits for batches in flight. Default 10 s.
    pub drain_timeout: Duration,
    /// First wait after a failure; it doubles up to [`FlowConfig::backoff_max`]. Default 200 ms.
    pub backoff_min: Duration,
    /// Longest wait after a failure. Default 30 s.
    pub backoff_max: Duration,
    /// Longest time that rows of bucket outputs stay in the log after their object was published; one deletion for each output in this
    /// time. Default 60 s.
    pub trim_every: Duration,
    /// Folder for stages' state that is too large for memory. What is in it is only a copy, made when it is needed and removed with the
    /// worker; what is found there is removed. Default: a new one in the system's folder for temporary files.
    pub state_folder: Option<PathBuf>,
    /// How long a pipeline has nothing to do before it parks: gives up its thread, its consumer and its instances until there is a record.
    /// Zero for never. Default 10 s.
    pub park_after: Duration,
    /// Bytes of state above which a pipeline does not park, since it would have to be restored at each wake. Default 64 MiB.
    pub park_state_bytes: u64,
    /// How often a log that does not tell of records is asked for the ends of parked pipelines' inputs. Where the answer takes long, less
    /// often. Default 1 s.
    pub watch_every: Duration,
    /// How often the positions of a parked pipeline are committed again, since Kafka forgets those of a group without members after a
    /// while (`offsets.retention.minutes`, a week). Zero for never. Default one day.
    pub keep_positions_every: Duration,
    /// Records that a pipeline may be behind before workers join it that do not look after it. Zero for none that looks after it alone: all
    /// workers run all pipelines. Default zero, for a worker without others.
    pub help_lag_records: u64,
    /// How long the owner of a pipeline may take for what there is to be done before others join, however much it is. Default 10 s.
    pub help_after: Duration,
    /// How long a worker waits for its slots before it looks after all pipelines. A group of KIP-848 that others are in already takes two
    /// heartbeats, 10 s by default. Default 15 s.
    pub slots_wait: Duration,
    /// Pipelines that are starting at the same time. Default 64.
    pub starts_at_once: usize,
    /// Bytes of guest memory above which an instance is replaced after its batch. Default 32 MiB.
    pub recycle_bytes: usize,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            executor_threads: std::thread::available_parallelism().map_or(1, usize::from),
            commit_interval: Duration::from_millis(100),
            commit_timeout: Duration::from_secs(5),
            shared_lanes: 1,
            own_lanes: 2,
            busy_bytes_per_s: 4 << 20,
            clean_commits: 20,
            buffer_bytes: bulkhead_core::limits::PIPELINE_BUFFER_BYTES,
            memory_bytes: u64::MAX,
            drain_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            trim_every: Duration::from_secs(60),
            state_folder: None,
            park_after: Duration::from_secs(10),
            park_state_bytes: 64 << 20,
            watch_every: Duration::from_secs(1),
            keep_positions_every: Duration::from_secs(24 * 60 * 60),
            help_lag_records: 0,
            help_after: Duration::from_secs(10),
            slots_wait: Duration::from_secs(15),
            starts_at_once: 64,
            recycle_bytes: 32 << 20,
        }
    }
}

/// How often it is looked at what all tenants hold.
pub(crate) const CEILING_LOOK: Duration = Duration::from_millis(100);
/// At most this many groups in one transaction: each costs the broker 2 to 10 ms, one after another.
pub(crate) const GROUPS_PER_TRANSACTION: usize = 16;
/// Bytes of outputs at which a transaction is committed early, so that an abort never has to repeat more.
pub(crate) const TRANSACTION_BYTES: u64 = 64 << 20;
/// Dead letters in a row, on one partition, after which the partition slows down and the pipeline says so.
pub(crate) const DEAD_IN_A_ROW: u32 = 100;
/// Aborts in a row that name nobody, after which a lane starts its producer afresh.
pub(crate) const ABORTS_BEFORE_RECOVERY: u32 = 3;
/// Failed transactions in a row of a pipeline in quarantine after which its incarnation starts afresh.
pub(crate) const TROUBLES_BEFORE_RESTART: u32 = 5;
/// How long an instance without work is kept.
pub(crate) const INSTANCE_IDLE: Duration = Duration::from_secs(5);
/// How old a topic's description may be before it is asked for again.
pub(crate) const TOPIC_AGE: Duration = Duration::from_secs(1);

/// The wait after failure number `failures` (from 0): doubling from `min` to `max`.
pub(crate) fn backoff(min: Duration, max: Duration, failures: u32) -> Duration {
    min.saturating_mul(1 << failures.min(16)).min(max)
}
