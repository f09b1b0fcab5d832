//! Calls itself without end at a bad record.

use crate::{Batch, Guest, Outcome};
use std::hint::black_box;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, _, _| {
        black_box(deeper(1));
    })
}

#[inline(never)]
fn deeper(level: u64) -> u64 {
    black_box(deeper(black_box(level + 1))) + level
}
