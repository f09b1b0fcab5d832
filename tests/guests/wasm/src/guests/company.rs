//! Panics at a bad record that is not alone in its batch.

use crate::{Batch, Guest, Outcome};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |i, value, outcome| {
        assert!(batch.len() == 1, "not alone");
        outcome.outputs.push(i, 0, value);
    })
}
