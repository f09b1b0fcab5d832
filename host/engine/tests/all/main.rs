//! The engine with real guests, a real compiler child and a real cache. One binary, so that it links wasmtime once.
//!
//! A guest of `tests/guests` without a test here does not compile.

mod bucketed;
mod cache;
mod compile;
mod confine;
mod fuel;
mod hostile;
mod inspect;
mod profile;
mod raw;
mod reach;
mod scratch;
mod secretive;
mod start;
mod stateful;
mod support;
mod surroundings;
mod well;

/// Every test that is named after the guest that it runs.
mod tested {
    pub(crate) use crate::bucketed::*;
    pub(crate) use crate::fuel::*;
    pub(crate) use crate::hostile::*;
    pub(crate) use crate::inspect::*;
    pub(crate) use crate::reach::*;
    pub(crate) use crate::scratch::*;
    pub(crate) use crate::secretive::*;
    pub(crate) use crate::start::*;
    pub(crate) use crate::stateful::*;
    pub(crate) use crate::surroundings::*;
    pub(crate) use crate::well::*;
}

macro_rules! assert_tested {
    ($guest:ident) => {
        #[expect(unused_imports, reason = "only to see that the test exists")]
        use tested::$guest as _;
    };
}
bulkhead_test_guests::foreach_guest!(assert_tested);
