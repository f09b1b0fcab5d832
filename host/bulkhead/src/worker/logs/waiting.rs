//! The lines that wait to be sent: a queue for each pipeline, in turns by pipeline and by tenant.
//!
//! What is kept is bounded three times: lines of a pipeline, bytes of a tenant, bytes in all. Above the first the new line goes; above
//! the others the newest of whichever pipeline, or tenant, holds most. So who floods loses its own lines. What went is counted for its
//! pipeline, and told in a line of its own when that pipeline's turn comes.
//! Must never: let a tenant's lines cost another a line, or wait behind more than one line of each other tenant.

use super::now_ms;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::limits::{WAITING_LINE_BYTES, WAITING_LINES_BYTES_MAX, WAITING_LINES_MAX};
use bulkhead_core::log_line::{LogLevel, LogLine};
use bulkhead_core::name::TenantId;
use bulkhead_flow::{Kept, TenantMemory};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Lines, and about how many bytes, that are sent together.
const TOGETHER_MAX: usize = 500;
const TOGETHER_BYTES: u64 = 1 << 20;

/// See the module's documentation.
pub(super) struct Waiting {
    bytes_max: u64,
    bytes: u64,
    tenants: HashMap<TenantId, OfTenant>,
    /// Those of them that hold anything, by how much.
    by_bytes: BTreeSet<(u64, TenantId)>,
    /// All of them, in the order of their turns.
    turns: VecDeque<TenantId>,
}

#[derive(Default)]
struct OfTenant {
    bytes: u64,
    pipelines: BTreeMap<PipelineKey, OfPipeline>,
    /// All of them, in the order of their turns.
    turns: VecDeque<PipelineKey>,
}

#[derive(Default)]
struct OfPipeline {
    bytes: u64,
    lines: VecDeque<(LogLine, Kept)>,
    /// Lines that went since that was last told.
    dropped: u64,
}

/// Lines on their way, which count as their tenants' memory until `kept` is dropped.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) lines: Vec<LogLine>,
    pub(super) kept: Vec<Kept>,
    bytes: u64,
}

/// What keeping this line costs.
fn bytes_of(line: &LogLine) -> u64 {
    WAITING_LINE_BYTES + line.message.len() as u64
}

impl Waiting {
    /// For lines of so many bytes in all.
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, tenants: HashMap::new(), by_bytes: BTreeSet::new(), turns: VecDeque::new() }
    }

    /// Keeps a line, which counts in its tenant's `memory`, or drops one.
    pub(super) fn push(&mut self, line: LogLine, memory: &TenantMemory) {
        let whose = line.key.tenant.clone();
        if !self.tenants.contains_key(&whose) {
            self.turns.push_back(whose.clone());
        }
        self.change(&whose, |lines| {
            lines.push(line, memory);
            while lines.bytes > WAITING_LINES_BYTES_MAX {
                lines.drop_one();
            }
        });
        while self.bytes > self.bytes_max {
            let Some((_, most)) = self.by_bytes.last().cloned() else { return };
            self.change(&most, OfTenant::drop_one);
        }
    }

    /// The next lines to send, with what is to be said of dropped ones.
    pub(super) fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        while taken.lines.len() < TOGETHER_MAX && taken.bytes < TOGETHER_BYTES {
            let Some(whose) = self.turns.pop_front() else { break };
            let more = self.change(&whose, |lines| {
                lines.next(&mut taken);
                !lines.turns.is_empty()
            });
            if more {
                self.turns.push_back(whose);
            } else {
                self.tenants.remove(&whose);
            }
        }
        taken
    }

    /// Changes what a tenant holds.
    fn change<T>(&mut self, whose: &TenantId, change: impl FnOnce(&mut OfTenant) -> T) -> T {
        let lines = self.tenants.entry(whose.clone()).or_default();
        let before = lines.bytes;
        let result = change(lines);
        let after = lines.bytes;
        if before != after {
            self.by_bytes.remove(&(before, whose.clone()));
            if after > 0 {
                self.by_bytes.insert((after, whose.clone()));
            }
            self.bytes = self.bytes - before + after;
        }
        result
    }
}

impl OfTenant {
    fn push(&mut self, line: LogLine, memory: &TenantMemory) {
        if !self.pipelines.contains_key(&line.key) {
            self.turns.push_back(line.key.clone());
        }
        let queue = self.pipelines.entry(line.key.clone()).or_default();
        if queue.lines.len() >= WAITING_LINES_MAX {
            queue.dropped += 1;
            return;
        }
        let bytes = bytes_of(&line);
        queue.lines.push_back((line, memory.keep(bytes)));
        queue.bytes += bytes;
        self.bytes += bytes;
    }

    /// Drops the newest line of the pipeline that holds most.
    fn drop_one(&mut self) {
        let Some(queue) = self.pipelines.values_mut().max_by_key(|queue| queue.bytes) else { return };
        let Some((line, _)) = queue.lines.pop_back() else { return };
        queue.bytes -= bytes_of(&line);
        queue.dropped += 1;
        self.bytes -= bytes_of(&line);
    }

    /// The next line of the pipeline whose turn it is, and what went of it.
    fn next(&mut self, taken: &mut Taken) {
        let Some(key) = self.turns.pop_front() else { return };
        let Some(queue) = self.pipelines.get_mut(&key) else { return };
        if let Some((line, kept)) = queue.lines.pop_front() {
            let bytes = bytes_of(&line);
            queue.bytes -= bytes;
            self.bytes -= bytes;
            taken.bytes += bytes;
            taken.lines.push(line);
            taken.kept.push(kept);
        }
        if queue.dropped > 0 {
            taken.lines.push(told(&key, std::mem::take(&mut queue.dropped)));
        }
        if queue.lines.is_empty() {
            self.pipelines.remove(&key);
        } else {
            self.turns.push_back(key);
        }
    }
}

/// The line that says how many went.
fn told(key: &PipelineKey, dropped: u64) -> LogLine {
    let message = format!("{dropped} lines were dropped: they came faster than they could be kept");
    LogLine { key: key.clone(), stage: None, at_ms: now_ms(), level: LogLevel::Warn, code: None, message }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
