//! Asks for too much memory at a bad record, gets over it, and panics at the next record for another reason.

use crate::{Batch, Guest, Outcome};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, value, _| {
        if value.starts_with(b"!ask") {
            assert!(Vec::<u8>::new().try_reserve(1 << 30).is_err());
        } else {
            panic!("for another reason");
        }
    })
}
