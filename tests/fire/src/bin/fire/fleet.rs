//! The workers: who runs in which slot, and what their metrics said before they went.
//!
//! Must never: forget the counters of a worker that is about to be killed.

use anyhow::{Context, Result};
use bulkhead_testbed::{Host, Process, Serve};
use std::collections::BTreeMap;

/// Workers by slot.
#[derive(Default)]
pub(crate) struct Fleet {
    starts: BTreeMap<String, Serve>,
    running: BTreeMap<String, Process>,
    /// Transactions by outcome, over all processes, as far as they could still be asked.
    pub(crate) commits: BTreeMap<String, f64>,
    /// Faults of the host by code, likewise.
    pub(crate) faults: BTreeMap<String, f64>,
}

impl Fleet {
    /// Starts a worker in a slot, again where one ran there before.
    pub(crate) fn start(&mut self, host: &Host, slot: &str) -> Result<()> {
        if !self.starts.contains_key(slot) {
            // All of them at all times, or those without partitions would be killed for nothing.
            let worker = host.worker(slot)?.argument("--help-lag-records").argument("0");
            self.starts.insert(slot.to_owned(), worker);
        }
        let process = host.start_worker(&self.starts[slot])?;
        self.running.insert(slot.to_owned(), process);
        Ok(())
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether a worker runs in this slot.
    pub(crate) fn has(&self, slot: &str) -> bool {
        self.running.contains_key(slot)
    }

    fn take(&mut self, slot: &str) -> Result<Process> {
        let process = self.running.remove(slot).with_context(|| format!("no worker in {slot}"))?;
        // A worker may be too busy to answer; what it counted is then missing, and only the report is poorer.
        if let Ok(scrape) = process.scrape() {
            for (outcome, count) in scrape.by("bulkhead_commits_total", "outcome") {
                *self.commits.entry(outcome).or_default() += count;
            }
            for (kind, count) in scrape.by("bulkhead_faults_total", "kind") {
                *self.faults.entry(kind).or_default() += count;
            }
        }
        Ok(process)
    }

    /// Kills the worker in a slot at once.
    pub(crate) fn kill9(&mut self, slot: &str) -> Result<()> {
        self.take(slot)?.kill9();
        Ok(())
    }

    /// Lets the worker in a slot drain and end.
    pub(crate) fn stop(&mut self, slot: &str) -> Result<()> {
        self.take(slot)?.stop().with_context(|| format!("stopping the worker in {slot}"))
    }

    /// Lets all drain and end.
    pub(crate) fn stop_all(&mut self) -> Result<()> {
        let slots: Vec<String> = self.running.keys().cloned().collect();
        slots.iter().try_for_each(|slot| self.stop(slot))
    }

    /// Fails where a worker has ended that nobody ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (slot, process) in &mut self.running {
            if let Some(status) = process.ended() {
                anyhow::bail!("the worker in {slot} ended with {status}:\n{}", process.log());
            }
        }
        Ok(())
    }
}
