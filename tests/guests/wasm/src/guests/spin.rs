//! Loops for ever at a bad record.

use crate::{Batch, Guest, Outcome};
use std::hint::black_box;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, _, _| spin())
}

pub fn spin() {
    let mut i = 0_u64;
    loop {
        i = black_box(i.wrapping_add(1));
    }
}
