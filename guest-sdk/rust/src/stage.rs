//! From the contract's batch to the author's function and back.
//!
//! What it promises: every record is marked before the author's code sees it, so that the host charges its fuel to it and can
//! name it when it traps; a record that is rejected leaves no output behind.
//! Must never: catch a panic.

use crate::bindings::contract;
use crate::bindings::mark;
use crate::bindings::ticking::exports::bulkhead::stage::ticker::Moment;
use crate::config::{Config, InitError};
use crate::outputs::Outputs;
use crate::record::Record;
use crate::reject::{Reject, StageResult};
use crate::state::call;
use crate::tick::Tick;

/// What `#[stage]` makes of a function: a type with the function's name that runs it.
///
/// Authors write the attribute, not this. It is public so that tests can name a stage: `Case::run::<enrich>()`.
pub trait Stage {
    /// What the `init` function builds; `()` where the attribute names none.
    type State: 'static;

    /// Builds the state of an instance.
    ///
    /// # Errors
    /// What the `init` function says.
    fn init(config: &Config) -> Result<Self::State, InitError>;

    /// Works on one record.
    ///
    /// # Errors
    /// What the function says.
    fn process(state: &mut Self::State, record: Record<'_>, out: &mut Outputs<'_>) -> StageResult;

    /// Whether the attribute names a `tick` function.
    const TICKS: bool = false;

    /// Acts on time.
    ///
    /// # Errors
    /// What the `tick` function says, which stops the stage.
    fn tick(state: &mut Self::State, at: Tick, out: &mut Outputs<'_>) -> StageResult {
        let _ = (state, at, out);
        Ok(())
    }
}

/// What a stage's function may return: nothing, or a result whose error becomes a [`Reject`].
pub trait IntoResult {
    #[doc(hidden)]
    fn into_result(self) -> StageResult;
}

impl IntoResult for () {
    #[inline]
    fn into_result(self) -> StageResult {
        Ok(())
    }
}

impl<E: Into<Reject>> IntoResult for Result<(), E> {
    #[inline]
    fn into_result(self) -> StageResult {
        self.map_err(Into::into)
    }
}

/// One running instance of a stage: its state and what it has learned about sizes.
#[doc(hidden)]
#[derive(Debug)]
pub struct Instance<S: Stage> {
    state: S::State,
    inputs: Vec<String>,
    outputs: Vec<String>,
    seen: Seen,
}

/// Bytes of value and outputs of all batches so far, to make room for the next in one step.
#[derive(Debug, Default)]
struct Seen {
    records: u64,
    outputs: u64,
    value_bytes: u64,
}

impl Seen {
    /// Outputs and value bytes to expect of this many records, an eighth more than on average.
    fn expect(&self, records: usize, bytes: usize) -> (usize, usize) {
        if self.records == 0 {
            return (records, bytes);
        }
        let scale = |total: u64| {
            let expected = total.saturating_mul(records as u64) / self.records;
            usize::try_from(expected + expected / 8 + 64).unwrap_or(0)
        };
        (scale(self.outputs), scale(self.value_bytes))
    }

    fn learn(&mut self, records: usize, outputs: &contract::Outputs) {
        // Halving keeps the average young, and the sums small.
        if self.records > 1 << 20 {
            self.records /= 2;
            self.outputs /= 2;
            self.value_bytes /= 2;
        }
        self.records += records as u64;
        self.outputs += outputs.source.len() as u64;
        self.value_bytes += outputs.values.data.len() as u64;
    }
}

impl<S: Stage> Instance<S> {
    pub(crate) fn start(config: contract::Config) -> Result<Self, InitError> {
        let config = Config::new(config);
        let state = S::init(&config)?;
        Ok(Self { state, inputs: config.inputs().to_vec(), outputs: config.outputs().to_vec(), seen: Seen::default() })
    }

    pub(crate) fn process(&mut self, batch: &contract::Batch) -> contract::Outcome {
        let rows = batch.offsets.len();
        let mut out = Outputs::new(&self.outputs, Record::new(batch, &self.inputs, 0));
        let (expected, bytes) = self.seen.expect(rows, batch.values.data.len());
        out.reserve(expected, bytes);
        let mut exceptions = Vec::new();
        call::begin(batch.topic, batch.partition);
        for row in 0..rows {
            let index = crate::outputs::end(row);
            let record = Record::new(batch, &self.inputs, row);
            mark(index);
            out.begin(record, index);
            if let Err(reject) = S::process(&mut self.state, record, &mut out) {
                out.take_back();
                call::reject();
                let stop = reject.is_retry();
                exceptions.push(reject.into_exception(index));
                if stop {
                    break; // the host discards what lies behind a retry, and sends it again
                }
            } else {
                call::accept();
            }
        }
        call::finish();
        let outputs = out.finish();
        self.seen.learn(rows, &outputs);
        contract::Outcome { outputs, exceptions }
    }

    pub(crate) fn tick(&mut self, at: Moment) -> contract::Outputs {
        let at = Tick::new(at);
        let row = at.row();
        let mut out = Outputs::of_tick(&self.outputs, Record::new(&row, &self.inputs, 0), at.now());
        call::begin(row.topic, row.partition);
        if let Err(reject) = S::tick(&mut self.state, at, &mut out) {
            panic!("the tick failed: {}", reject.reason()); // there is no record to blame, and no half of a tick to keep
        }
        call::accept();
        call::finish();
        out.finish()
    }
}

/// The component's `init`.
///
/// # Errors
/// What the stage's `init` function says, for the host.
#[doc(hidden)]
pub fn component_init<S: Stage>(slot: &mut Option<Instance<S>>, config: contract::Config) -> Result<(), String> {
    log_panics();
    let instance = Instance::start(config).map_err(|error| error.reason().to_owned())?;
    *slot = Some(instance);
    Ok(())
}

/// The component's `process`.
///
/// # Panics
/// Where `init` was not called, or failed: that is a broken host.
#[doc(hidden)]
pub fn component_process<S: Stage>(slot: &mut Option<Instance<S>>, batch: contract::Batch) -> contract::Outcome {
    slot.as_mut().expect("init comes before process").process(&batch)
}

/// The component's `tick`.
///
/// # Panics
/// Where `init` was not called, or failed: that is a broken host; or where the stage's `tick` fails.
#[doc(hidden)]
pub fn component_tick<S: Stage>(slot: &mut Option<Instance<S>>, at: Moment) -> contract::Outputs {
    slot.as_mut().expect("init comes before tick").tick(at)
}

/// Sends the words of a panic to the tenant's log. The trap that follows carries only a stack.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| crate::log::error(panic)));
}
