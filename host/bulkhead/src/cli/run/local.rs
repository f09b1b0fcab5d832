//! One stage, one instance after another, batch by batch.
//!
//! Must never: blame a record for what others did: one that fails is run alone, on a fresh instance, before it is called a dead letter.

use super::input::START_MS;
use super::report::{Exception, Report, Totals};
use crate::cli::failure::Complaint;
use bulkhead_core::columns::{Action, RecordBatch};
use bulkhead_core::fault::{Fault, GuestFault, GuestFaultKind};
use bulkhead_core::limits::StageLimits;
use bulkhead_engine::{Failure, Instance, Mode, Processed, Stage};
use std::time::Duration;

/// A stage with the instance that runs it.
pub(super) struct Local {
    stage: Stage,
    limits: StageLimits,
    instance: Option<Instance>,
    /// Whether the instance has had a record.
    used: bool,
    totals: Totals,
}

impl Local {
    pub(super) fn new(stage: Stage, limits: StageLimits) -> Self {
        Self { stage, limits, instance: None, used: false, totals: Totals::default() }
    }

    /// What all runs took.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Runs a batch whose first record has this place in the file, and reports what became of each.
    ///
    /// # Errors
    /// Where the stage does not start, or the sandbox fails.
    pub(super) async fn run(&mut self, first: usize, batch: RecordBatch, report: &mut Report) -> anyhow::Result<()> {
        match self.process(&batch).await? {
            Ok(processed) => self.tell(first, &batch, &processed, report),
            Err(_) if batch.len() > 1 => {
                // All outputs are lost with the call: each record is run by itself, so that only the bad ones are.
                for row in 0..batch.len() {
                    let alone = batch.select([row]);
                    match self.process(&alone).await? {
                        Ok(processed) => self.tell(first + row, &alone, &processed, report)?,
                        Err(failure) => self.fault(first + row, &alone, failure, report).await?,
                    }
                }
                Ok(())
            }
            Err(failure) => self.fault(first, &batch, failure, report).await,
        }
    }

    fn tell(
        &mut self,
        first: usize,
        batch: &RecordBatch,
        processed: &Processed,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let outcome = &processed.outcome;
        for row in 0..batch.len() {
            let exception = outcome.exceptions.iter().find(|exception| exception.index as usize == row);
            let exception = exception.map(|exception| Exception {
                retry: exception.action == Action::Retry,
                fault: GuestFault::new(GuestFaultKind::Rejected, exception.reason.clone()),
            });
            let fuel = (batch.len() == 1).then_some(processed.fuel);
            report.record(first + row, fuel, batch, row, &outcome.outputs, exception)?;
        }
        Ok(())
    }

    /// A record whose call failed on an instance that may have had others.
    async fn fault(
        &mut self,
        place: usize,
        alone: &RecordBatch,
        failure: Failure,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let fault = guest(failure.fault)?;
        let verdict = match self.process(alone).await? {
            Err(confirmed) => (guest(confirmed.fault)?, confirmed.fuel),
            Ok(passed) => {
                let message = format!("passes alone, failed after others: {fault}");
                let dependent = GuestFault { kind: GuestFaultKind::StateDependent, message, ..fault };
                (dependent, passed.fuel)
            }
        };
        let (fault, fuel) = verdict;
        let exception = Exception { retry: false, fault };
        report.record(place, Some(fuel), alone, 0, &bulkhead_core::columns::Outputs::default(), Some(exception))
    }

    /// Gives a batch to the instance, or to a new one. The outer error is no record's fault.
    async fn process(&mut self, batch: &RecordBatch) -> anyhow::Result<Result<Processed, Failure>> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.start(batch).await?,
        };
        self.used = true;
        let deadline = Duration::from_millis(self.limits.deadline_ms);
        let processed = match tokio::time::timeout(deadline, instance.process(batch)).await {
            Ok(processed) => processed,
            Err(_) => {
                let message = format!("the batch took longer than {} ms", self.limits.deadline_ms);
                let fault = GuestFault::new(GuestFaultKind::Deadline, message).into();
                Err(Failure { fault, record: instance.last_mark(), fuel: instance.fuel_after_drop() })
            }
        };
        self.totals.fuel += processed.as_ref().map_or_else(|failure| failure.fuel, |done| done.fuel);
        self.totals.memory_bytes = self.totals.memory_bytes.max(instance.memory_bytes());
        if processed.is_ok() {
            self.instance = Some(instance);
        }
        Ok(processed)
    }

    /// A fresh instance, with the seed and the clock that a host confirms this record with.
    async fn start(&mut self, batch: &RecordBatch) -> anyhow::Result<Instance> {
        let mode = match self.used {
            false => Mode::Confirm { seed: 0, time_ms: START_MS },
            true => {
                let seed = (batch.offsets[0] as u64) ^ (batch.partition as u64) << 48;
                Mode::Confirm { seed, time_ms: batch.timestamps[0].max(0) }
            }
        };
        let instance = self.stage.instantiate(mode).await.map_err(|failure| complaint(&failure.fault))?;
        self.totals.init_fuel += instance.init_fuel();
        Ok(instance)
    }
}

/// A guest's fault, or what is no record's fault as an error.
fn guest(fault: Fault) -> anyhow::Result<GuestFault> {
    match fault {
        Fault::Guest(fault) if fault.kind != GuestFaultKind::Init => Ok(fault),
        other => Err(complaint(&other).into()),
    }
}

/// A fault that ends the run.
pub(super) fn complaint(fault: &Fault) -> Complaint {
    match fault {
        Fault::Guest(fault) => Complaint::new(fault.kind.code(), fault.message.clone()),
        Fault::Host(fault) => Complaint::new(fault.code, fault.message.clone()),
    }
}
