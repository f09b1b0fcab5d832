//! Upper case for what it keeps; drops records that begin with `#` and tombstones.

use crate::shared::nothing;
use crate::{Batch, Guest, Outcome, host};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    let mut outcome = nothing();
    for i in 0..batch.len() {
        host::mark(i as u32);
        let null = batch.values.nulls.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        let value = batch.values.row(i);
        if !null && !value.starts_with(b"#") {
            outcome.outputs.push(i, 0, &value.to_ascii_uppercase());
        }
    }
    outcome
}
