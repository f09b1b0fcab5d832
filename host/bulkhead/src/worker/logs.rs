//! The lines of tenants' stages, on their way to control: held for a moment, sent together, bounded.
//!
//! Control may be away; then the newest lines are dropped, counted, and the count is told in a line once it is back. A line may come
//! twice where control's answer was lost. The process's own log has them too.
//! Must never: hold up a guest, or let one pipeline's lines take the room of another's.

use crate::client::Client;
use crate::logging::GuestEvents;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::log_line::{LogLevel, LogLine, WorkerLines};
use bulkhead_core::name::StageName;
use bulkhead_engine::{GuestLog, Level};
use bulkhead_flow::GuestLogs;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// Lines that wait, of all pipelines and of one.
const WAITING_MAX: usize = 10_000;
const WAITING_OF_ONE_MAX: usize = 1_000;
/// Lines, and about how many bytes, that are sent together.
const TOGETHER_MAX: usize = 500;
const TOGETHER_BYTES: usize = 1 << 20;
/// How often lines are sent.
const SEND_EVERY: Duration = Duration::from_millis(250);
/// Longest pause after a failure.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// See the module's documentation. Clones share the lines.
#[derive(Clone, Default)]
pub(crate) struct TenantLogs {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<LogLine>,
    of: BTreeMap<PipelineKey, Of>,
}

/// What waits of one pipeline.
#[derive(Default)]
struct Of {
    lines: usize,
    dropped: u64,
}

impl Waiting {
    fn push(&mut self, line: LogLine) {
        let full = self.lines.len() >= WAITING_MAX;
        let of = self.of.entry(line.key.clone()).or_default();
        if full || of.lines >= WAITING_OF_ONE_MAX {
            of.dropped += 1;
            return;
        }
        of.lines += 1;
        self.lines.push_back(line);
    }

    /// The next lines to send, with what is to be said of dropped ones.
    fn take(&mut self) -> Vec<LogLine> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < TOGETHER_MAX && bytes < TOGETHER_BYTES {
            let Some(line) = self.lines.pop_front() else { break };
            bytes += line.message.len();
            if let Some(of) = self.of.get_mut(&line.key) {
                of.lines -= 1;
            }
            taken.push(line);
        }
        for (key, of) in &mut self.of {
            let room = taken.len() < 2 * TOGETHER_MAX;
            if of.dropped > 0 && of.lines < WAITING_OF_ONE_MAX && room {
                let message = format!("{} lines were dropped: they came faster than they could be kept", of.dropped);
                of.dropped = 0;
                let (key, at_ms) = (key.clone(), now_ms());
                taken.push(LogLine { key, stage: None, at_ms, level: LogLevel::Warn, code: None, message });
            }
        }
        self.of.retain(|_, of| of.lines > 0 || of.dropped > 0);
        taken
    }
}

impl TenantLogs {
    /// Sends lines until `stop`, and what is left after it, once.
    pub(crate) async fn send(self, client: Client, worker: String, stop: CancellationToken) {
        let mut batch = WorkerLines { worker, lines: Vec::new() };
        let mut pause = SEND_EVERY;
        loop {
            let last = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(pause) => false,
            };
            loop {
                if batch.lines.is_empty() {
                    batch.lines = self.waiting.lock().take();
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
            }
            if last {
                return;
            }
        }
    }
}

impl GuestLogs for TenantLogs {
    fn sink(&self, pipeline: &PipelineKey, stage: &StageName) -> Arc<dyn GuestLog> {
        let events = GuestEvents.sink(pipeline, stage);
        Arc::new(Sink { logs: self.clone(), events, key: pipeline.clone(), stage: stage.clone() })
    }
}

struct Sink {
    logs: TenantLogs,
    events: Arc<dyn GuestLog>,
    key: PipelineKey,
    stage: StageName,
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
        self.logs.waiting.lock().push(LogLine { key, stage, at_ms: now_ms(), level, code: None, message });
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pipeline: &str, message: &str) -> LogLine {
        let key = PipelineKey {
            tenant: "acme".parse().unwrap(),
            project: "default".parse().unwrap(),
            pipeline: pipeline.parse().unwrap(),
        };
        LogLine { key, stage: None, at_ms: 1, level: LogLevel::Info, code: None, message: message.to_owned() }
    }

    #[test]
    fn a_flood_costs_only_its_own_pipeline_and_is_told() {
        let mut waiting = Waiting::default();
        (0..WAITING_OF_ONE_MAX + 7).for_each(|n| waiting.push(line("loud", &n.to_string())));
        waiting.push(line("quiet", "heard"));
        let mut sent = Vec::new();
        loop {
            let taken = waiting.take();
            if taken.is_empty() {
                break;
            }
            sent.extend(taken);
        }
        assert!(sent.iter().any(|line| line.message == "heard"));
        let told: Vec<_> = sent.iter().filter(|line| line.message.contains("dropped")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].message.starts_with("7 lines") && told[0].key.pipeline.as_str() == "loud");
        assert_eq!(sent.len(), WAITING_OF_ONE_MAX + 2);
        assert!(waiting.of.is_empty(), "nothing is remembered of what is gone");
    }

    #[test]
    fn what_is_sent_together_is_bounded_in_bytes() {
        let mut waiting = Waiting::default();
        (0..10).for_each(|_| waiting.push(line("p", &"x".repeat(TOGETHER_BYTES / 2))));
        assert_eq!(waiting.take().len(), 2);
    }
}
