//! Runs the tests of a stage in the sandbox of the installed `bulkhead`, and compares with the native run.
//!
//! A [`Case`](bulkhead_sdk::testing::Case) is what goes in; [`Sandbox::assert_agrees`] gives it to the stage natively and to its component by
//! `bulkhead run`, whose engine and limits are the host's. The crate `bulkhead-harness` does the same with an engine that is
//! compiled into the test, which takes minutes at first and needs this repository; this one needs the program `bulkhead`: on the `PATH`, or
//! named by `BULKHEAD_BIN`. Projects that `bulkhead new` makes use it.
//!
//! Must never: judge a stage by itself; what `bulkhead run` says is what the host would say.
#![forbid(unsafe_code)]

mod build;
mod records;
mod sandbox;

pub use sandbox::{Run, Sandbox, Stopped};
