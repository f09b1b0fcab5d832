//! One running guest.
//!
//! Must never: be called again after a call that failed or was dropped: its memory may be half way through something.

use crate::bindings::Guest;
use crate::bindings::bulkhead::stage::types::{Config, Outputs as WitOutputs};
use crate::capability::state::StateStore;
use crate::deadline::Waits;
use crate::failure::{Failure, classify, is_out_of_fuel};
use crate::module::Stage;
use crate::state::{HANDLES_MAX, State};
use crate::{columns, meter};
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outcome, Outputs, RecordBatch};
use bulkhead_core::fault::{Fault, GuestFault, GuestFaultKind, HostFault};
use bulkhead_core::grant::Capability;
use bulkhead_core::limits::{
    BUCKET_CALL_BYTES_MAX, REASON_BYTES_MAX, STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX, StageLimits, TICK_FUEL_RECORDS,
};
use std::sync::Arc;
use wasmtime::component::{ComponentType, Lower, TypedFunc};
use wasmtime::{AsContextMut, Error, Store};

/// Bytes beyond a stage's output limit that may cross from the guest in one call, for reasons and log lines.
const CROSSING_BYTES_EXTRA: u64 = 256 << 10;

/// How a guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With real, coarse clocks and real random numbers.
    Live,
    /// So that it can be repeated on any machine, to the same outcome and the same fuel.
    Confirm {
        /// Where its random numbers come from.
        seed: u64,
        /// Milliseconds since 1970 at which its clocks start. They rise by one with each time they are read.
        time_ms: i64,
    },
}

/// What a batch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// Outputs and exceptions, checked.
    pub outcome: Outcome,
    /// Fuel burnt.
    pub fuel: u64,
}

/// What a tick came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticked {
    /// Outputs, checked; each made from row 0 of a batch that holds nothing but the time.
    pub outputs: Outputs,
    /// Fuel burnt.
    pub fuel: u64,
}

/// The contract's `moment`.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct Moment {
    topic: u16,
    partition: i32,
    now: i64,
}

type Ticker = TypedFunc<(Moment,), (WitOutputs,)>;

/// A guest with its own memory, ready for a batch.
pub struct Instance {
    store: Store<State>,
    guest: Guest,
    ticker: Option<Ticker>,
    stage: Stage,
    /// False while a call is under way, and for ever after one that did not end well.
    usable: bool,
    init_fuel: u64,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("usable", &self.usable)
            .field("memory_bytes", &self.memory_bytes())
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// See [`Stage::instantiate`].
    pub(crate) async fn start(stage: &Stage, mode: Mode) -> Result<Self, Failure> {
        let limits = &stage.config().limits;
        let scratch = stage.scratch().await.map_err(Failure::early)?;
        let mut store = stage.store(mode);
        store.data_mut().scratch = scratch;
        // A value of the state crosses whatever the stage may put out, and so does an object.
        let mut crossing = limits.output_bytes.max((STATE_KEY_BYTES_MAX + STATE_VALUE_BYTES_MAX) as u64);
        if stage.config().grants.has(Capability::Buckets) {
            crossing = crossing.max(BUCKET_CALL_BYTES_MAX);
        }
        let crossing = crossing.saturating_add(CROSSING_BYTES_EXTRA);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(usize::try_from(crossing).unwrap_or(usize::MAX));
        store.set_max_component_handles(HANDLES_MAX);
        if let Err(error) = meter::begin_init(store.as_context_mut()) {
            return Err(Failure::early(HostFault::new(Code::Internal, format!("no fuel for a guest: {error:#}"))));
        }
        let (started, guest) = match stage.pre().start(&mut store).await {
            Ok(started) => started,
            Err(error) => return Err(failed_init(&mut store, &error)),
        };
        let ticker = match stage.ticker().map(|ticker| started.get_typed_func(&mut store, ticker)).transpose() {
            Ok(ticker) => ticker,
            Err(error) => return Err(failed_init(&mut store, &error)),
        };
        let mut instance = Self { store, guest, ticker, stage: stage.clone(), usable: true, init_fuel: 0 };
        instance.init().await?;
        Ok(instance)
    }

    async fn init(&mut self) -> Result<(), Failure> {
        let config = self.stage.config();
        let inputs: Vec<&str> = config.inputs.iter().map(String::as_str).collect();
        let outputs: Vec<&str> = config.outputs.iter().map(String::as_str).collect();
        let (pipeline, stage, settings) = (config.pipeline.as_str(), config.stage.as_str(), config.settings.as_str());
        let config = Config { pipeline, stage, inputs: &inputs, outputs: &outputs, settings };
        let told = self.guest.bulkhead_stage_processor().call_init(&mut self.store, config).await;
        self.flush();
        match told {
            Ok(Ok(())) => {
                self.init_fuel = meter::finished(&mut self.store);
                Ok(())
            }
            Ok(Err(reason)) => {
                let reason = crate::log::cut(&reason, REASON_BYTES_MAX);
                let fault = GuestFault::new(GuestFaultKind::Init, crate::log::printable(reason));
                Err(Failure { fault: fault.into(), record: None, fuel: meter::finished(&mut self.store) })
            }
            Err(error) => Err(failed_init(&mut self.store, &error)),
        }
    }

    /// Lends the guest its keys and values for the next call, and only for that.
    pub fn with_state(&mut self, state: Arc<dyn StateStore>) -> &mut Self {
        self.store.data_mut().lent = Some(state);
        self
    }

    /// Gives the guest a batch. The future may be polled from any thread, inside a tokio runtime. It yields each
    /// [`YIELD_INTERVAL_FUEL`](crate::YIELD_INTERVAL_FUEL) or so; dropping it ends the guest, and the instance with it. An empty batch is
    /// not given to the guest.
    ///
    /// # Errors
    /// A guest's fault with the record that was under way, or the host's, [`Code::Internal`] where the instance is used after a failure.
    pub async fn process(&mut self, batch: &RecordBatch) -> Result<Processed, Failure> {
        if !std::mem::replace(&mut self.usable, false) {
            return Err(Failure::early(HostFault::new(Code::Internal, "an instance was used after its failure")));
        }
        let processed = if batch.is_empty() {
            Processed { outcome: Outcome::default(), fuel: 0 }
        } else {
            self.call(batch).await?
        };
        self.usable = true;
        self.store.data_mut().end_call();
        Ok(processed)
    }

    /// Tells the guest the time, for one partition of its input `topic`. Runs as [`Instance::process`] does, for at most the fuel of
    /// [`TICK_FUEL_RECORDS`] records.
    ///
    /// # Errors
    /// A guest's fault, which no record is to blame for, or the host's, [`Code::Internal`] where the stage does not tick.
    pub async fn tick(&mut self, topic: u16, partition: i32, now: i64) -> Result<Ticked, Failure> {
        let Some(ticker) = self.ticker.filter(|_| std::mem::replace(&mut self.usable, false)) else {
            let words = "a tick of a stage without one, or on an instance that failed";
            return Err(Failure::early(HostFault::new(Code::Internal, words)));
        };
        let config = self.stage.config();
        let (limits, ports) = (config.limits, config.outputs.len());
        self.begin();
        let fuel = limits.fuel_per_record.saturating_mul(TICK_FUEL_RECORDS.into());
        if let Err(error) = meter::begin_tick(self.store.as_context_mut(), fuel) {
            return Err(Failure::early(HostFault::new(Code::Internal, format!("no fuel for a tick: {error:#}"))));
        }
        let returned = ticker.call_async(&mut self.store, (Moment { topic, partition, now },)).await;
        self.flush();
        let (outputs,) = match returned {
            Ok(outputs) => outputs,
            Err(error) => return Err(self.failed(&error)),
        };
        let fuel = meter::finished(&mut self.store);
        let outputs = columns::lift_tick(outputs, ports, &limits).map_err(|fault| Failure {
            fault: fault.into(),
            record: None,
            fuel,
        })?;
        self.usable = true;
        self.store.data_mut().end_call();
        Ok(Ticked { outputs, fuel })
    }

    /// A call begins. What happened in an earlier one explains nothing in this.
    fn begin(&mut self) {
        let state = self.store.data_mut();
        state.begin_call();
        state.memory.forgive();
        state.stderr.begin_record();
    }

    async fn call(&mut self, batch: &RecordBatch) -> Result<Processed, Failure> {
        self.begin();
        let records = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        if let Err(error) = meter::begin_batch(self.store.as_context_mut(), records) {
            return Err(Failure::early(HostFault::new(Code::Internal, format!("no fuel for a batch: {error:#}"))));
        }
        let returned = self.guest.bulkhead_stage_processor().call_process(&mut self.store, columns::lower(batch)).await;
        self.flush();
        let outcome = match returned {
            Ok(outcome) => outcome,
            Err(error) => return Err(self.failed(&error)),
        };
        let fuel = meter::finished(&mut self.store);
        let config = self.stage.config();
        columns::lift(outcome, batch.len(), config.outputs.len(), &config.limits)
            .map(|outcome| Processed { outcome, fuel })
            .map_err(|fault| Failure { fault: fault.into(), record: None, fuel })
    }

    fn failed(&mut self, error: &Error) -> Failure {
        let out_of_fuel = is_out_of_fuel(error);
        let fuel = meter::faulted(&mut self.store, out_of_fuel);
        let state = self.store.data();
        let mut fault = classify(error, state);
        let record = match &mut fault {
            Fault::Guest(GuestFault { kind: GuestFaultKind::OutOfFuel, message, .. }) => {
                let record = state.meter.record_out_of_fuel();
                *message = out_of_fuel_message(&self.stage.config().limits, record);
                record
            }
            Fault::Guest(GuestFault {
                kind: GuestFaultKind::MalformedOutput | GuestFaultKind::OutputTooLarge, ..
            }) => None,
            _ => state.meter.record(),
        };
        Failure { fault, record, fuel }
    }

    pub(crate) fn waits(&self) -> Waits {
        self.store.data().waits.clone()
    }

    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The row that the guest has marked last, in the call under way or the last one. For a call whose future was dropped.
    pub fn last_mark(&self) -> Option<u32> {
        self.store.data().meter.record()
    }

    /// Fuel to charge for a call whose future was dropped.
    pub fn fuel_after_drop(&mut self) -> u64 {
        meter::faulted(&mut self.store, false)
    }

    /// Fuel that the guest's start and its `init` burnt.
    pub fn init_fuel(&self) -> u64 {
        self.init_fuel
    }

    /// Bytes of linear memory that the guest holds. It never falls: recycle an instance that has grown.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }

    /// Lines without an end are lines too, once the guest has returned.
    fn flush(&self) {
        let state = self.store.data();
        state.stdout.flush();
        state.stderr.flush();
    }
}

fn out_of_fuel_message(limits: &StageLimits, record: Option<u32>) -> String {
    let cap = limits.fuel_per_record;
    match record {
        Some(_) => format!("the record used up its {cap} fuel"),
        None => format!("the batch used up its fuel, {cap} for each record"),
    }
}

/// Whatever a guest does wrong before its first batch is a failed start: no record is to blame.
fn failed_init(store: &mut Store<State>, error: &Error) -> Failure {
    let fuel = meter::faulted(&mut *store, is_out_of_fuel(error));
    let fault = match classify(error, store.data()) {
        Fault::Guest(fault) => Fault::Guest(GuestFault {
            kind: GuestFaultKind::Init,
            message: format!("`init` failed ({}): {}", fault.kind, fault.message),
            backtrace: fault.backtrace,
        }),
        ours => ours,
    };
    Failure { fault, record: None, fuel }
}
