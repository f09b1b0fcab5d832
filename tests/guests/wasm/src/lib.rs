//! One component with all guests; the stage's settings name the one that runs.
//!
//! Guests that misbehave do so at a record whose value begins with `!` and pass all others through, so that a test can say which record
//! a fault must name.
//! Must never: use the SDK; these show what any guest may send.

pub mod shared;

wit_bindgen::generate!({ path: "../../../guest-sdk/wit", world: "stage" });

pub use bulkhead::stage::host;
pub use bulkhead::stage::types::{
    Action, Batch, BytesColumn, Config, Exception, Headers, NullColumn, Outcome, Outputs,
};
use exports::bulkhead::stage::processor;
use std::cell::Cell;

/// A guest: what it does at the start and with each batch.
#[derive(Clone, Copy)]
pub struct Guest {
    /// Runs once.
    pub init: fn(&Config) -> Result<(), String>,
    /// Runs for each batch.
    pub process: fn(Batch) -> Outcome,
}

impl Guest {
    /// A guest that starts without ado.
    pub const fn new(process: fn(Batch) -> Outcome) -> Self {
        Self { init: |_| Ok(()), process }
    }
}

mod guests {
    include!(concat!(env!("OUT_DIR"), "/table.rs"));
}

thread_local! {
    static CHOSEN: Cell<Option<Guest>> = const { Cell::new(None) };
}

struct Component;

impl processor::Guest for Component {
    fn init(config: Config) -> Result<(), String> {
        let name = config.settings.trim_matches('"');
        let guest = guests::named(name).ok_or_else(|| format!("there is no guest `{name}`"))?;
        CHOSEN.set(Some(guest));
        (guest.init)(&config)
    }

    fn process(batch: Batch) -> Outcome {
        let guest = CHOSEN.get().expect("init ran before");
        (guest.process)(batch)
    }
}

export!(Component);
