//! What is unusual of a pipeline, against its own past: fuel per record, share of dead letters, lag, output per record.
//!
//! In control and not in workers, since several of them run one pipeline, and the tenant's log is here. Each report of a worker adds to its
//! pipelines' current minute; at its end each [`Signal`] is compared with the median of its last [`history::LENGTH`] windows, in units of
//! their spread (1.4826 × the median absolute deviation, which outliers do not move), all of logarithms, so that twice and half weigh the
//! same. [`watch`] says when that is unusual and when no longer. A window of fewer than [`signal::VOLUME_MIN`] records goes on
//! until it has as many; lag has a window each minute. A new revision may cost and write something else: fuel and output begin to learn
//! anew with it, dead letters and lag do not. All of it is in memory, 2 KiB a pipeline, and begins again with this process.
//! Must never: compare a pipeline with another one, count a worker's totals twice, or keep more than [`PIPELINES_MAX`] pipelines.

mod history;
mod series;
mod signal;
mod watch;

#[cfg(test)]
mod simulated;

pub(crate) use series::Series;

use bulkhead_core::assignment::{PipelineKey, PipelineReport, Totals, WorkerReport};
use bulkhead_core::log_line::{LogLevel, LogLine};
use bulkhead_core::time::format_rfc3339_ms;
use parking_lot::Mutex;
use serde::Serialize;
use signal::{Signal, Window};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use utoipa::ToSchema;
use watch::{Change, Watch};

/// How long a window is at least.
const WINDOW_MS: i64 = 60_000;
/// A pipeline that no worker has spoken of for so long is forgotten, and a worker that has not spoken of a pipeline no longer counts for it.
const SILENT_MS: i64 = 10 * WINDOW_MS;
/// The same of one that the worker said is parked: it says nothing more before it wakes.
const SILENT_PARKED_MS: i64 = 24 * 60 * WINDOW_MS;
/// Pipelines that are watched; what comes after them is not.
const PIPELINES_MAX: usize = 10_000;

/// All pipelines that are watched.
#[derive(Debug)]
pub(crate) struct Anomalies {
    pipelines: Mutex<HashMap<PipelineKey, Watched>>,
    swept_ms: AtomicI64,
    series: Series,
}

/// One of them.
#[derive(Debug)]
struct Watched {
    incarnation: String,
    starts: u64,
    revision: u64,
    workers: HashMap<String, Heard>,
    window: Window,
    opened_ms: i64,
    watches: [Watch; Signal::ALL.len()],
}

/// What a worker said last.
#[derive(Debug)]
struct Heard {
    boot: String,
    at_ms: i64,
    totals: Totals,
    lag: Option<i64>,
    parked: bool,
}

impl Heard {
    fn counts(&self, now_ms: i64) -> bool {
        now_ms - self.at_ms < if self.parked { SILENT_PARKED_MS } else { SILENT_MS }
    }
}

/// Something that is unusual now.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Unusual)]
pub(crate) struct UnusualView {
    /// `fuel-per-record`, `error-rate`, `lag` or `output-ratio`.
    signal: &'static str,
    /// The page that says what to do.
    code: &'static str,
    since: String,
    /// As it was in the last window.
    value: f64,
    /// The median of the windows before it began.
    usual: f64,
}

impl Anomalies {
    pub(crate) fn new(series: Series) -> Self {
        Self { pipelines: Mutex::default(), swept_ms: AtomicI64::new(0), series }
    }

    /// Adds a report. Gives lines for the logs of those whose pipelines begin or end to be unusual with it.
    pub(crate) fn hear(&self, report: &WorkerReport, now_ms: i64) -> Vec<LogLine> {
        let mut pipelines = self.pipelines.lock();
        let mut lines = Vec::new();
        for said in &report.pipelines {
            if !pipelines.contains_key(&said.key) && pipelines.len() >= PIPELINES_MAX {
                continue;
            }
            let watched = pipelines.entry(said.key.clone()).or_insert_with(|| Watched::new(said, now_ms));
            let mut changes = watched.turn_to(said);
            watched.add(&report.worker, &report.boot, said, now_ms);
            if now_ms - watched.opened_ms >= WINDOW_MS || now_ms < watched.opened_ms {
                changes.extend(watched.close(now_ms));
            }
            for (signal, change) in changes {
                self.series.changed(&said.key, signal, &change);
                lines.push(line(&said.key, watched.revision, signal, &change, now_ms));
            }
        }
        if now_ms - self.swept_ms.load(Ordering::Relaxed) >= WINDOW_MS {
            self.swept_ms.store(now_ms, Ordering::Relaxed);
            self.sweep(&mut pipelines, now_ms);
        }
        lines
    }

    /// Forgets what no worker speaks of any more.
    fn sweep(&self, pipelines: &mut HashMap<PipelineKey, Watched>, now_ms: i64) {
        pipelines.retain(|key, watched| {
            let heard = watched.workers.values().any(|heard| heard.counts(now_ms));
            if !heard {
                self.series.forget(key);
            }
            heard
        });
    }

    /// What is unusual of a pipeline now.
    pub(crate) fn of(&self, key: &PipelineKey) -> Vec<UnusualView> {
        let pipelines = self.pipelines.lock();
        let Some(watched) = pipelines.get(key) else { return Vec::new() };
        let unusual = Signal::ALL.into_iter().zip(&watched.watches).filter_map(|(signal, watch)| {
            let odd = watch.unusual()?;
            Some(UnusualView {
                signal: signal.name(),
                code: signal.code().id(),
                since: format_rfc3339_ms(odd.since_ms),
                value: odd.value,
                usual: odd.usual,
            })
        });
        unusual.collect()
    }
}

impl Watched {
    fn new(said: &PipelineReport, now_ms: i64) -> Self {
        Self {
            incarnation: said.incarnation.clone(),
            starts: said.starts,
            revision: said.revision,
            workers: HashMap::new(),
            window: Window::default(),
            opened_ms: now_ms,
            watches: Default::default(),
        }
    }

    /// Begins to learn anew where it is another pipeline, or another revision of it.
    fn turn_to(&mut self, said: &PipelineReport) -> Vec<(Signal, Change)> {
        let another = self.incarnation != said.incarnation || self.starts != said.starts;
        if !another && self.revision >= said.revision {
            return Vec::new();
        }
        let mut ended = Vec::new();
        for (signal, watch) in Signal::ALL.into_iter().zip(&mut self.watches) {
            if another || signal.is_of_revision() {
                ended.extend(watch.begin_anew().map(|change| (signal, change)));
            }
        }
        self.window = Window::default();
        self.incarnation.clone_from(&said.incarnation);
        (self.starts, self.revision) = (said.starts, said.revision);
        ended
    }

    fn add(&mut self, worker: &str, boot: &str, said: &PipelineReport, now_ms: i64) {
        let (boot_now, parked) = (boot.to_owned(), said.parked);
        let heard = Heard { boot: boot_now, at_ms: now_ms, totals: said.totals, lag: said.lag, parked };
        let before = self.workers.insert(worker.to_owned(), heard);
        // What a worker had done when it was first heard of was before this window.
        let Some(before) = before else { return };
        // What an earlier revision still commits says nothing of this one.
        if said.revision == self.revision {
            let base = if before.boot == boot { before.totals } else { Totals::default() };
            self.window.add(&said.totals, &base);
        }
    }

    /// Ends the window.
    fn close(&mut self, now_ms: i64) -> Vec<(Signal, Change)> {
        self.opened_ms = now_ms;
        self.workers.retain(|_, heard| heard.counts(now_ms));
        let fresh = self.workers.values().filter(|heard| now_ms - heard.at_ms < WINDOW_MS);
        let lag = fresh.filter_map(|heard| heard.lag).reduce(i64::saturating_add);
        let mut changes = Vec::new();
        for (signal, watch) in Signal::ALL.into_iter().zip(&mut self.watches) {
            let measured = signal.measure(&self.window, lag);
            changes.extend(watch.step(signal, measured, now_ms).map(|change| (signal, change)));
        }
        if self.window.is_full() {
            self.window = Window::default();
        }
        changes
    }
}

/// What a pipeline's owner is told.
fn line(key: &PipelineKey, revision: u64, signal: Signal, change: &Change, now_ms: i64) -> LogLine {
    let minutes = |since_ms: i64| (now_ms - since_ms) / 60_000;
    let (level, message) = match change {
        Change::Began(odd) => {
            let (value, usual) = (signal.show(odd.value), signal.show(odd.usual));
            (LogLevel::Warn, format!("{} is {value} in revision {revision}, usually {usual}", signal.words()))
        }
        Change::Ended(odd) => {
            (LogLevel::Info, format!("{} is as usual again, after {} minutes", signal.words(), minutes(odd.since_ms)))
        }
        Change::Accepted(odd) => (
            LogLevel::Info,
            format!("{} counts as usual from now on: so for {} minutes", signal.words(), minutes(odd.since_ms)),
        ),
    };
    LogLine { key: key.clone(), stage: None, at_ms: now_ms, level, code: Some(signal.code()), message }
}
