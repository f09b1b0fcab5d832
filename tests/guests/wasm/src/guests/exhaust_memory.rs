//! Takes memory until there is none, at a bad record.

use crate::{Batch, Guest, Outcome};
use std::hint::black_box;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, _, _| {
        let mut hoard: Vec<Vec<u8>> = vec![];
        loop {
            hoard.push(black_box(Vec::with_capacity(1 << 20)));
        }
    })
}
