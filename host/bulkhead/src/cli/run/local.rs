//! One stage, one instance after another, batch by batch, with its state and its ticks.
//!
//! Must never: blame a record for what others did: one that fails is run alone, on a fresh instance, before it is called a dead letter; or
//! keep in the state what a record wrote that was not handled.

use super::clock::Moment;
use super::input::START_MS;
use super::report::{Exception, Report, Totals};
use crate::cli::failure::Complaint;
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Action, Outputs, RecordBatch};
use bulkhead_core::fault::{Fault, GuestFault, GuestFaultKind};
use bulkhead_engine::{Confirmed, Failure, Instance, Mode, Processed, Stage};
use bulkhead_flow::{LocalStore, LocalStores};

/// A stage with the instance that runs it.
pub(super) struct Local {
    stage: Stage,
    /// `None` where it is granted none.
    stores: Option<LocalStores>,
    instance: Option<Instance>,
    totals: Totals,
}

impl Local {
    /// A stage with no instance yet, and an empty state of so many bytes at most where it is granted one.
    pub(super) fn new(stage: Stage, state_bytes: Option<u64>) -> Self {
        let stores = state_bytes.map(LocalStores::new);
        Self { stage, stores, instance: None, totals: Totals::default() }
    }

    /// What all runs took.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What its state holds; `None` where it is granted none.
    pub(super) fn stores(&self) -> Option<&LocalStores> {
        self.stores.as_ref()
    }

    /// Whether the stage acts on time.
    pub(super) fn ticks(&self) -> bool {
        self.stage.ticks()
    }

    /// Drops the instance, as a host may at any time; the state stays.
    pub(super) fn restart(&mut self) {
        self.instance = None;
    }

    /// Runs a batch whose first record has this place in the file, and reports what became of each.
    ///
    /// # Errors
    /// Where the stage does not start, or the sandbox fails.
    pub(super) async fn run(&mut self, first: usize, batch: &RecordBatch, report: &mut Report) -> anyhow::Result<()> {
        let store = self.store(batch.topic, batch.partition);
        let ran = self.process(batch, store.as_ref()).await?;
        if batch.len() == 1 {
            return self.end(first, batch, ran, store.as_ref(), report).await;
        }
        if let Ok(processed) = &ran
            && (store.is_none() || processed.outcome.exceptions.is_empty())
        {
            return self.end(first, batch, ran, store.as_ref(), report).await;
        }
        // A failed call has lost the outputs of all, and a state must be as if records that were not handled had never been. So each is run
        // by itself.
        for row in 0..batch.len() {
            let alone = batch.select([row]);
            let ran = self.process(&alone, store.as_ref()).await?;
            self.end(first + row, &alone, ran, store.as_ref(), report).await?;
        }
        Ok(())
    }

    /// Tells the stage the time, and reports what it did. One that fails is told: a host would try again later.
    ///
    /// # Errors
    /// Where the stage has no tick or does not start, or the sandbox fails.
    pub(super) async fn tick(&mut self, moment: Moment, report: &mut Report) -> anyhow::Result<()> {
        if !self.ticks() {
            return Err(Complaint::new(Code::LocalFailure, "the records have a tick, and the stage has none").into());
        }
        let Moment { input, partition, now } = moment;
        let store = self.store(input, partition);
        let mut instance = self.lent(store.as_ref()).await?;
        let ticked = instance.tick_in_time(input, partition, now).await;
        let fuel = ticked.as_ref().map_or_else(|failure| failure.fuel, |ticked| ticked.fuel);
        self.totals.ticks += 1;
        self.totals.tick_fuel += fuel;
        self.measure(&instance);
        match ticked {
            Ok(ticked) => {
                self.instance = Some(instance);
                keep(store.as_ref())?;
                report.tick(moment, fuel, &ticked.outputs, None)
            }
            Err(failure) => report.tick(moment, fuel, &Outputs::default(), Some(guest(failure.fault)?)),
        }
    }

    fn store(&mut self, input: u16, partition: i32) -> Option<LocalStore> {
        self.stores.as_mut().map(|stores| stores.of(input, partition))
    }

    /// What came of a call is final: keeps what it wrote where every record was handled, and reports each.
    async fn end(
        &mut self,
        first: usize,
        batch: &RecordBatch,
        ran: Result<Processed, Failure>,
        store: Option<&LocalStore>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        match ran {
            Ok(processed) => {
                if processed.outcome.exceptions.is_empty() {
                    keep(store)?;
                }
                tell(first, batch, &processed, report)
            }
            Err(failure) => self.fault(first, batch, failure, store, report).await,
        }
    }

    /// A record whose call failed on an instance that may have had others.
    async fn fault(
        &mut self,
        place: usize,
        alone: &RecordBatch,
        failure: Failure,
        store: Option<&LocalStore>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let fault = guest(failure.fault)?;
        let Confirmed { init_fuel, run } = self.stage.confirm(alone, store.map(LocalStore::lend)).await;
        self.totals.init_fuel += init_fuel;
        let (fault, fuel) = match run {
            Err(confirmed) => (guest(confirmed.fault)?, confirmed.fuel),
            Ok(passed) => {
                let message = format!("passes alone, failed after others: {fault}");
                let dependent = GuestFault { kind: GuestFaultKind::StateDependent, message, ..fault };
                (dependent, passed.fuel)
            }
        };
        self.totals.fuel += fuel;
        let exception = Exception { retry: false, fault };
        report.record(place, Some(fuel), alone, 0, &Outputs::default(), Some(exception))
    }

    /// Gives a batch to the instance, or to a new one. The outer error is no record's fault.
    async fn process(
        &mut self,
        batch: &RecordBatch,
        store: Option<&LocalStore>,
    ) -> anyhow::Result<Result<Processed, Failure>> {
        let mut instance = self.lent(store).await?;
        let processed = instance.process_in_time(batch).await;
        self.totals.fuel += processed.as_ref().map_or_else(|failure| failure.fuel, |done| done.fuel);
        self.measure(&instance);
        if processed.is_ok() {
            self.instance = Some(instance);
        }
        Ok(processed)
    }

    /// The instance, or a new one, with its state for the next call. All begin with the same seed and the same clock.
    async fn lent(&mut self, store: Option<&LocalStore>) -> anyhow::Result<Instance> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => {
                let started = self.stage.start_in_time(Mode::Confirm { seed: 0, time_ms: START_MS }).await;
                let instance = started.map_err(|failure| complaint(&failure.fault))?;
                self.totals.init_fuel += instance.init_fuel();
                instance
            }
        };
        if let Some(store) = store {
            instance.with_state(store.lend());
        }
        Ok(instance)
    }

    fn measure(&mut self, instance: &Instance) {
        self.totals.memory_bytes = self.totals.memory_bytes.max(instance.memory_bytes());
    }
}

fn tell(first: usize, batch: &RecordBatch, processed: &Processed, report: &mut Report) -> anyhow::Result<()> {
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

fn keep(store: Option<&LocalStore>) -> anyhow::Result<()> {
    let kept = store.map_or(Ok(()), LocalStore::keep);
    Ok(kept.map_err(|fault| complaint(&fault.into()))?)
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
