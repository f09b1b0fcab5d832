//! Asks for random bytes without end at a bad record, or once for a gigabyte.

use crate::{Batch, Guest, Outcome};
use std::hint::black_box;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, value, _| {
        let bytes = if value == b"!once" { 1 << 30 } else { 4096 };
        loop {
            black_box(wasip2::random::random::get_random_bytes(bytes));
        }
    })
}
