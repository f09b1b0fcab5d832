//! The lines of tenants' stages, on their way to control: held for a moment, sent together, bounded.
//!
//! Control may be away; then lines of those that hold most are dropped, counted, and the count is told in a line once it is back
//! ([`waiting`]). A line may come twice where control's answer was lost. What waits counts as its tenant's memory. The process's own log
//! has the lines too.
//! Must never: hold up a guest, or keep a tenant's lines outside of its budget.

mod waiting;

use crate::client::Client;
use crate::logging::GuestEvents;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::limits::WAITING_LINES_WORKER_BYTES_MAX;
use bulkhead_core::log_line::{LogLevel, LogLine, WorkerLines};
use bulkhead_core::name::StageName;
use bulkhead_engine::{GuestLog, Level};
use bulkhead_flow::{GuestLogs, TenantMemory};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;
use waiting::Waiting;

/// The part of a worker's memory that lines may take: who is set aside for want of memory keeps its lines, so they must not be what is short.
const MEMORY_PART: u64 = 8;
/// How often lines are sent.
const SEND_EVERY: Duration = Duration::from_millis(250);
/// Longest pause after a failure.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// See the module's documentation. Clones share the lines.
#[derive(Clone)]
pub(crate) struct TenantLogs {
    waiting: Arc<Mutex<Waiting>>,
}

impl TenantLogs {
    /// For a worker that may hold `memory_bytes` for all tenants together.
    pub(crate) fn new(memory_bytes: u64) -> Self {
        let bytes_max = WAITING_LINES_WORKER_BYTES_MAX.min(memory_bytes / MEMORY_PART);
        Self { waiting: Arc::new(Mutex::new(Waiting::new(bytes_max))) }
    }

    /// Sends lines until `stop`, and what is left after it, once.
    pub(crate) async fn send(self, client: Client, worker: String, stop: CancellationToken) {
        let mut batch = WorkerLines { worker, lines: Vec::new() };
        // Counts what is in the batch as its tenants' memory, until control has it.
        let mut kept = Vec::new();
        let mut pause = SEND_EVERY;
        loop {
            let last = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(pause) => false,
            };
            loop {
                if batch.lines.is_empty() {
                    let taken = self.waiting.lock().take();
                    (batch.lines, kept) = (taken.lines, taken.kept);
                }
                if batch.lines.is_empty() {
                    pause = SEND_EVERY;
                    break;
                }
                if let Err(error) = client.logs(&batch).await {
                    tracing::debug!(error = format!("{error:#}"), "control did not take lines");
                    pause = (pause * 2).min(RETRY_MAX);
                    break;
                }
                batch.lines.clear();
                kept.clear();
            }
            if last {
                return;
            }
        }
    }
}

impl GuestLogs for TenantLogs {
    fn sink(&self, pipeline: &PipelineKey, stage: &StageName, memory: TenantMemory) -> Arc<dyn GuestLog> {
        let events = GuestEvents.sink(pipeline, stage, memory.clone());
        Arc::new(Sink { logs: self.clone(), events, key: pipeline.clone(), stage: stage.clone(), memory })
    }
}

struct Sink {
    logs: TenantLogs,
    events: Arc<dyn GuestLog>,
    key: PipelineKey,
    stage: StageName,
    memory: TenantMemory,
}

impl GuestLog for Sink {
    fn write(&self, level: Level, message: &str) {
        self.events.write(level, message);
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        let (key, stage, message) = (self.key.clone(), Some(self.stage.clone()), message.to_owned());
        let line = LogLine { key, stage, at_ms: now_ms(), level, code: None, message };
        self.logs.waiting.lock().push(line, &self.memory);
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
