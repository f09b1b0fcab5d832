//! Panics at a bad record.

use crate::{Batch, Guest, Outcome};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, value, _| refuse_to_parse(value))
}

#[inline(never)]
fn refuse_to_parse(value: &[u8]) {
    panic!("cannot parse {}", String::from_utf8_lossy(value));
}
