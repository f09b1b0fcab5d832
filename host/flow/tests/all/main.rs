//! The record path with the real engine, the real embedded log and real guests. One binary, so that it links wasmtime once.
//!
//! Each test has a log of its own in a folder of its own; the engine and the runtime are shared. Nothing waits for a fixed time:
//! [`support::until`] looks again and again, and fails after a minute.

mod apart;
mod bucketed;
mod buckets;
mod exactly_once;
mod faults;
mod idle;
mod life;
mod metrics;
mod neighbours;
mod parking;
mod pressure;
mod records;
mod retries;
mod sealed;
mod slots;
mod state;
mod support;
mod ticks;
mod usage;
mod workers;
