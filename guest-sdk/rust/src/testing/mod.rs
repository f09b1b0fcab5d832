//! Runs a stage in an ordinary test: records in, outputs and rejections out, as plain values.
//!
//! A [`Case`] is what goes in. [`Case::run`] gives it to the stage natively, in this process and its debugger; the crate
//! `bulkhead-harness` gives the same case to the component in the real sandbox, and compares. Only on targets other than wasm.
//!
//! ```
//! use bulkhead_sdk::prelude::*;
//! use bulkhead_sdk::testing::{Case, Input};
//!
//! #[stage]
//! fn even(record: Record, out: &mut Outputs) -> StageResult {
//!     let number: u64 = record.text()?.parse()?;
//!     if number % 2 == 0 {
//!         out.to("even").forward();
//!     }
//!     Ok(())
//! }
//!
//! let report = Case::new().outputs(["even"]).records(["1", "2", "three"]).run::<even>();
//! assert_eq!(report.texts("even"), ["2"]);
//! assert_eq!(report.rejected[0].record, 2);
//! ```
//!
//! Must never: need a sandbox, a file or a network.

mod bucket;
mod case;
mod report;
mod run;

pub use bucket::{Access, Bucket};
pub(crate) use bucket::{key as bucket_key, prefix as bucket_prefix};
pub use case::{Between, Case, Input, Step};
pub use report::{Emitted, Rejected, Report, Stores};
pub(crate) use run::capture;
#[cfg(test)]
pub(crate) use run::columns;
