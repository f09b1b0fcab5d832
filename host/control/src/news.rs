//! What workers' reports say that a pipeline's owner should find in its log: that its phase changed, that records became dead letters.
//!
//! Must never: say the same twice within a second, or anything that a report does not say.

use bulkhead_core::assignment::{Phase, PipelineKey, PipelineReport, WorkerReport};
use bulkhead_core::code::Code;
use bulkhead_core::log_line::{LogLevel, LogLine};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often dead letters are told of.
const DEAD_EVERY: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct News {
    told: Mutex<HashMap<String, Boot>>,
}

/// What was told of one worker.
#[derive(Debug, Default)]
struct Boot {
    boot: String,
    pipelines: HashMap<PipelineKey, Told>,
}

#[derive(Debug, Clone)]
struct Told {
    phase: Option<(Phase, Option<Code>)>,
    dead: u64,
    dead_at: Option<Instant>,
}

impl News {
    /// Lines about what is new in a report.
    pub(crate) fn of(&self, report: &WorkerReport, now_ms: i64) -> Vec<LogLine> {
        self.at(Instant::now(), report, now_ms)
    }

    fn at(&self, now: Instant, report: &WorkerReport, now_ms: i64) -> Vec<LogLine> {
        let mut workers = self.told.lock();
        let boot = workers.entry(report.worker.clone()).or_default();
        if boot.boot != report.boot {
            *boot = Boot { boot: report.boot.clone(), pipelines: HashMap::new() };
        }
        let mut before = std::mem::take(&mut boot.pipelines);
        let mut lines = Vec::new();
        for pipeline in &report.pipelines {
            let told = before.remove(&pipeline.key).unwrap_or(Told { phase: None, dead: 0, dead_at: None });
            let told = tell(now, now_ms, pipeline, told, &mut lines);
            boot.pipelines.insert(pipeline.key.clone(), told);
        }
        if report.partial {
            boot.pipelines.extend(before);
        }
        lines
    }
}

fn tell(now: Instant, now_ms: i64, report: &PipelineReport, mut told: Told, lines: &mut Vec<LogLine>) -> Told {
    let mut line = |level, code, message| {
        lines.push(LogLine { key: report.key.clone(), stage: None, at_ms: now_ms, level, code, message });
    };
    if told.phase != Some((report.phase, report.code)) {
        told.phase = Some((report.phase, report.code));
        let (level, word) = match report.phase {
            Phase::Starting => (LogLevel::Info, "starting"),
            Phase::Running => (LogLevel::Info, "running"),
            Phase::Paused => (LogLevel::Info, "paused"),
            Phase::Backoff => (LogLevel::Warn, "waiting to try again"),
            Phase::Failed => (LogLevel::Error, "stopped"),
        };
        let why = report.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        line(level, report.code, format!("revision {} is {word}{why}", report.revision));
    }
    let new = report.totals.dead_letters.saturating_sub(told.dead);
    let due = told.dead_at.is_none_or(|at| now.duration_since(at) >= DEAD_EVERY);
    if new > 0 && due {
        (told.dead, told.dead_at) = (report.totals.dead_letters, Some(now));
        let records = if new == 1 {
            "1 record became a dead letter".to_owned()
        } else {
            format!("{new} records became dead letters")
        };
        line(LogLevel::Warn, None, records);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(boot: &str, phase: Phase, dead_letters: u64) -> WorkerReport {
        let code = (phase == Phase::Backoff).then_some(Code::PipelineBackoff);
        let mut report: PipelineReport = serde_json::from_value(serde_json::json!({
            "tenant": "acme", "project": "default", "pipeline": "p", "revision": 3, "phase": "running", "code": code,
            "message": code.map(|_| "it fails always"), "lag": 0, "partitions": 1, "initialised": {},
            "totals": {"records_in": 9, "records_out": 0, "bytes_in": 0, "bytes_out": 0, "dead_letters": dead_letters, "fuel": 0}}))
        .unwrap();
        report.phase = phase;
        WorkerReport {
            worker: "pool-0".into(),
            boot: boot.into(),
            generation: 1,
            settled: 1,
            partial: false,
            tenants: Default::default(),
            pipelines: vec![report],
        }
    }

    #[test]
    fn phases_are_told_when_they_change_and_dead_letters_once_a_second() {
        let (news, start) = (News::default(), Instant::now());
        let told = |ms: u64, boot: &str, phase, dead| {
            let lines = news.at(start + Duration::from_millis(ms), &report(boot, phase, dead), 5);
            lines.into_iter().map(|line| (line.level, line.message)).collect::<Vec<_>>()
        };
        let line = |level, text: &str| (level, text.to_owned());
        assert_eq!(told(0, "a", Phase::Running, 0), [line(LogLevel::Info, "revision 3 is running")]);
        assert_eq!(told(500, "a", Phase::Running, 1), [line(LogLevel::Warn, "1 record became a dead letter")]);
        assert_eq!(told(1_000, "a", Phase::Running, 5), []);
        assert_eq!(told(1_500, "a", Phase::Running, 8), [line(LogLevel::Warn, "7 records became dead letters")]);
        let backoff = line(LogLevel::Warn, "revision 3 is waiting to try again: it fails always");
        assert_eq!(told(1_600, "a", Phase::Backoff, 8), [backoff]);
        assert_eq!(told(1_700, "a", Phase::Backoff, 8), []);
        // A new process counts from nothing again.
        let again = told(1_800, "b", Phase::Running, 2);
        assert_eq!(again.len(), 2, "{again:?}");
    }
}
