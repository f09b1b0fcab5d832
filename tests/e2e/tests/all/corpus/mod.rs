//! The corpus of attacks on a real server: what each is told, that the server lives, and that a neighbour's records all arrive once.
//!
//! Each attack of `bulkhead_test_guests::corpus` is a test here, and its scene says how it is done: an attack without one does not compile.
//! Those of one server take turns, so that what the neighbour sees is that attack's doing. `BULKHEAD_CORPUS_PROBES` says how many
//! records of the neighbour for each, and prints a table; `cargo xtask bench corpus` takes 100.
//! Must never: let an attack pass that did not take place, or judge a time.

mod arena;
mod broker;
mod buckets;
mod checks;
mod forged;
mod moved;
mod play;
mod scenes;

use anyhow::Result;
use bulkhead_test_guests::corpus::Attack;

macro_rules! test {
    ($name:ident, $variant:ident) => {
        #[test]
        fn $name() -> Result<()> {
            play::play(Attack::$variant)
        }
    };
}
bulkhead_test_guests::foreach_attack!(test);
