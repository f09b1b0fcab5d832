//! Runs the tests of a stage in the real sandbox, and compares with the native run.
//!
//! A test natively is quick and has a debugger; a test in the sandbox sees what the host will see: the component's imports,
//! its fuel, its memory and its traps. Both take the same [`Case`]:
//!
//! ```no_run
//! use bulkhead_harness::Sandbox;
//! use bulkhead_sdk::prelude::*;
//! use bulkhead_sdk::testing::Case;
//!
//! #[stage]
//! pub fn shout(record: Record, out: &mut Outputs) -> StageResult {
//!     out.to("loud").value(record.text()?.to_uppercase());
//!     Ok(())
//! }
//!
//! # fn main() -> anyhow::Result<()> {
//! let sandbox = Sandbox::of_crate(env!("CARGO_MANIFEST_DIR"))?; // compiles it for wasm32-wasip2
//! let run = sandbox.assert_agrees::<shout>(&Case::new().outputs(["loud"]).records(["hello", "world"]));
//! assert!(run.fuel / 2 < 10_000, "{} fuel for two records", run.fuel);
//! # Ok(())
//! # }
//! ```
//!
//! The sandbox is the host's own: `bulkhead-engine`, with the same limits. Its clocks and random numbers are fixed, so that a
//! run repeats to the same fuel.
//! The first run builds the engine's compiler child; the environment variable `BULKHEAD_COMPILER` names one that is there.
//! Must never: be a second implementation of anything that the host does.
#![forbid(unsafe_code)]

mod bucket;
mod build;
mod convert;
mod sandbox;
mod state;

pub use bulkhead_core::limits::StageLimits;
pub use bulkhead_sdk::testing::{Case, Emitted, Input, Rejected, Report};
pub use sandbox::{Run, Sandbox, Stopped};
