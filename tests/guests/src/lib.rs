//! Stages that behave and stages that do not, compiled to WebAssembly for the tests.
//!
//! Most guests live in one component, and the stage's settings name the one that runs: [`settings`]. A suite that tests them all uses
//! [`foreach_guest`] to make a guest without a test a compile error:
//!
//! ```
//! mod trap {} // a test module, named as its guest
//! macro_rules! tested {
//!     (trap) => { use trap as _; };
//!     ($other:ident) => {};
//! }
//! bulkhead_test_guests::foreach_guest!(tested);
//! ```
//!
//! Must never: be a dependency of anything but tests and benchmarks.

pub mod bombs;
pub mod corpus;
pub mod raw;

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The component that holds a guest.
///
/// # Panics
/// Where there is no such guest.
pub fn wasm(name: &str) -> &'static [u8] {
    component(name).unwrap_or_else(|| panic!("there is no guest `{name}`"))
}

/// The stage's settings that choose this guest.
pub fn settings(name: &str) -> String {
    format!("\"{name}\"")
}
