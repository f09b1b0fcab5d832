//! Runs within the wall deadline, and the run of one record alone that is a verdict's evidence.
//!
//! [`Stage::confirm`] is the one implementation of that run: a worker makes it where a batch fails, and a developer's machine makes it
//! again, to the same verdict and the same fuel.
//! Must never: use anything of the machine, the time or the batch around the record.

use crate::capability::state::StateStore;
use crate::deadline::within;
use crate::failure::Failure;
use crate::instance::{Instance, Mode, Processed, Ticked};
use crate::module::Stage;
use crate::turns::Turns;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::fault::{GuestFault, GuestFaultKind};
use std::sync::Arc;
use std::time::Duration;

/// What a run alone came to.
#[derive(Debug)]
pub struct Confirmed {
    /// Fuel of starting the instance, which no record is charged with. A start that failed has its fuel in `run`.
    pub init_fuel: u64,
    /// What the record came to, with its fuel.
    pub run: Result<Processed, Failure>,
}

impl Stage {
    /// Runs the one record of `alone` on a fresh instance, with random numbers seeded by the record's place, and clocks that begin at its
    /// time. `alone` must have its topic's index, its partition, its offset and its timestamp: they are all that the run depends on.
    /// `state` is what a stage with that grant sees; what the run writes there is for the caller to discard.
    pub async fn confirm(&self, alone: &RecordBatch, state: Option<Arc<dyn StateStore>>) -> Confirmed {
        let mode = Mode::Confirm { seed: seed(alone), time_ms: alone.timestamps.first().copied().unwrap_or(0).max(0) };
        let mut instance = match self.start_in_time(mode).await {
            Ok(instance) => instance,
            Err(failure) => return Confirmed { init_fuel: 0, run: Err(failure) },
        };
        if let Some(state) = state {
            instance.with_state(state);
        }
        let init_fuel = instance.init_fuel();
        Confirmed { init_fuel, run: instance.process_in_time(alone).await }
    }

    /// [`Stage::instantiate`] within the stage's deadline: a start may take as long as a batch.
    ///
    /// # Errors
    /// As [`Stage::instantiate`]; a fault of kind [`GuestFaultKind::Init`] where it takes longer.
    pub async fn start_in_time(&self, mode: Mode) -> Result<Instance, Failure> {
        let (deadline, turns) = (self.deadline(), Turns::default());
        let started = match tokio::time::timeout(deadline, turns.watch(self.instantiate(mode))).await {
            Ok(started) => started,
            Err(_) => {
                let message = format!("`init` took longer than {} ms", deadline.as_millis());
                Err(Failure {
                    fault: GuestFault::new(GuestFaultKind::Init, message).into(),
                    record: None,
                    fuel: turns.charged(),
                })
            }
        };
        turns.end(started.as_ref().map_or_else(|failure| failure.fuel, Instance::init_fuel));
        started
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.config().limits.deadline_ms)
    }
}

impl Instance {
    /// [`Instance::process`] within the stage's deadline, which is checked at each poll, which fuel makes frequent, and by a timer for a
    /// guest that sleeps. What it waits for buckets is not part of it.
    ///
    /// # Errors
    /// As [`Instance::process`]; a fault of kind [`GuestFaultKind::Deadline`] where it takes longer.
    pub async fn process_in_time(&mut self, batch: &RecordBatch) -> Result<Processed, Failure> {
        let deadline = self.stage().deadline();
        let (waits, turns) = (self.waits(), Turns::default());
        let processed = match within(deadline, &waits, turns.watch(self.process(batch))).await {
            Some(done) => done,
            None => {
                let message = format!("the batch took longer than {} ms", deadline.as_millis());
                let fault = GuestFault::new(GuestFaultKind::Deadline, message).into();
                Err(Failure { fault, record: self.last_mark(), fuel: self.fuel_after_drop() })
            }
        };
        turns.end(processed.as_ref().map_or_else(|failure| failure.fuel, |done| done.fuel));
        processed
    }

    /// [`Instance::tick`] within the stage's deadline.
    ///
    /// # Errors
    /// As [`Instance::tick`]; a fault of kind [`GuestFaultKind::Deadline`] where it takes longer.
    pub async fn tick_in_time(&mut self, topic: u16, partition: i32, now: i64) -> Result<Ticked, Failure> {
        let deadline = self.stage().deadline();
        let (waits, turns) = (self.waits(), Turns::default());
        let ticked = match within(deadline, &waits, turns.watch(self.tick(topic, partition, now))).await {
            Some(done) => done,
            None => {
                let message = format!("the tick took longer than {} ms", deadline.as_millis());
                let fault = GuestFault::new(GuestFaultKind::Deadline, message).into();
                Err(Failure { fault, record: None, fuel: self.fuel_after_drop() })
            }
        };
        turns.end(ticked.as_ref().map_or_else(|failure| failure.fuel, |done| done.fuel));
        ticked
    }
}

/// One seed for each record, the same on every machine.
fn seed(alone: &RecordBatch) -> u64 {
    (alone.offsets.first().copied().unwrap_or(0) as u64) ^ (alone.partition as u64) << 48
}
