//! Keeps another mebibyte with each batch.

use crate::{Batch, Guest, Outcome};
use std::hint::black_box;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    black_box(Vec::<u8>::with_capacity(1 << 20)).leak();
    crate::shared::each(&batch, |_, _, _| ())
}
