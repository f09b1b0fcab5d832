//! Write a Bulkhead stage in Rust: one function and one attribute.
//!
//! A stage gets records and emits records. This one is complete:
//!
//! ```
//! use bulkhead_sdk::prelude::*;
//!
//! #[stage]
//! fn shout(record: Record, out: &mut Outputs) -> StageResult {
//!     let text = record.text()?.to_uppercase();
//!     out.to("loud").value(text);
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! Built for `wasm32-wasip2` as a `cdylib` it is a component to upload; built for any other target it is an ordinary
//! function, and [`testing`] runs it in an ordinary unit test. A stage that has settings, or keeps something between
//! records, names a function that builds it once for each instance:
//!
//! ```
//! use bulkhead_sdk::prelude::*;
//!
//! #[derive(serde::Deserialize)]
//! struct Settings {
//!     smallest: u64,
//! }
//!
//! struct Filter {
//!     smallest: u64,
//!     large: Port,
//! }
//!
//! fn setup(config: &Config) -> Result<Filter, InitError> {
//!     let settings: Settings = config.settings()?;
//!     Ok(Filter { smallest: settings.smallest, large: config.output("large")? })
//! }
//!
//! #[stage(init = setup)]
//! fn filter(state: &mut Filter, record: Record, out: &mut Outputs) -> StageResult {
//!     let amount: u64 = record.text()?.parse()?;
//!     if amount >= state.smallest {
//!         out.to(state.large).forward();
//!     }
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! What it promises: a record is a view over the batch's columns, an output is written straight into the columns that go
//! back, so neither costs an allocation; the mark that lets the host meter each record is made before each call.
//! Must never: hide a panic (the host names the record of a trap), or need a stage's author to know the columns.

mod bindings;
pub mod bucket;
mod config;
mod draft;
pub mod log;
mod outputs;
#[cfg(test)]
mod outputs_tests;
mod record;
mod reject;
pub mod secrets;
mod stage;
#[cfg(test)]
mod stage_tests;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod tick;
#[cfg(feature = "state")]
pub mod window;

pub use bulkhead_sdk_macros::stage;
pub use config::{Config, InitError, Port};
pub use draft::{Draft, ValueWriter};
pub use outputs::{Outputs, ToPort};
pub use record::{Header, Headers, Record};
pub use reject::{OrReject, Reject, StageResult};
pub use stage::Stage;
pub use tick::Tick;

/// What nearly every stage needs, in one line.
pub mod prelude {
    pub use crate::log;
    pub use crate::{Config, InitError, OrReject, Outputs, Port, Record, Reject, StageResult, Tick, stage};
}

/// What the code that `#[stage]` writes calls. Not for people: it may change in any version.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::export_stage;
    pub use crate::bindings::exports::bulkhead::stage::processor;
    pub use crate::bindings::ticking::export_ticker;
    pub use crate::bindings::ticking::exports::bulkhead::stage::ticker;
    pub use crate::stage::{Instance, IntoResult, component_init, component_process, component_tick};
    /// Where the generated export finds the canonical ABI.
    pub mod bindings {
        pub use crate::bindings::*;
    }
}
