//! The sandbox: compiles, links, limits and meters the stages of tenants.
//!
//! A component goes `bytes → Engine::inspect → Module → Stage → Instance → process`. Each step takes away what the next
//! must not meet: the compiler child ([`compiler_main`]) takes the risk of other people's bytes, [`Engine`] keeps compiled code that only
//! it can have written, [`Module`] is linked to what is granted and nothing else, and [`Instance`] counts fuel, memory, handles and bytes.
//! What goes wrong is a [`Fault`](bulkhead_core::fault::Fault): the guest's or ours.
//!
//! Must never: let a guest run without a limit on each thing that it can take, or load machine code that fails its authentication.
#![deny(unsafe_code)]

mod bindings;
mod cache;
mod capability;
mod columns;
mod compiler;
mod config;
mod confirm;
mod deadline;
mod engine;
mod failure;
mod instance;
mod log;
mod memory;
mod meter;
mod module;
mod profile;
mod settings;
mod state;
mod turns;

pub use capability::bucket::{BucketError, BucketFuture, BucketStore, BucketUpload, GrantedBucket};
pub use capability::secrets::GrantedSecret;
pub use capability::state::{KeyValue, StateError, StateStore};
pub use columns::check_outcome;
pub use compiler::{check_module, compiler_main, compiler_probe};
pub use config::{CompileLimits, CompilerCommand, EngineConfig, PoolSizes};
pub use confirm::Confirmed;
pub use engine::{Engine, Inspection, Refusal};
pub use failure::Failure;
pub use instance::{Instance, Mode, Processed, Ticked};
pub use log::{GuestLog, LOG_LINE_BYTES_MAX, LOG_LINES_BURST, LOG_LINES_PER_SECOND, Level};
pub use memory::GuestBytes;
pub use meter::{INIT_FUEL_MAX, YIELD_INTERVAL_FUEL};
pub use module::{Module, Stage, StageConfig};
pub use profile::{PROFILE_INTERVAL_FUEL, Profile};
pub use turns::take_burnt;
