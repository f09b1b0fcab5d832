//! Leaves a pattern in the memory that it takes, or looks for one in memory that it has just been given: `!leave` and `!look`.

use crate::{Batch, Guest, Outcome};

pub const GUEST: Guest = Guest::new(process);

/// What it leaves: no address or length looks like it.
const PATTERN: u64 = 0x5ec2_e75e_c2e7_5ec2;
/// Words of the memory that it takes: 16 MiB.
const WORDS: usize = 2 << 20;

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |i, value, outcome| {
        let mut memory: Vec<u64> = Vec::with_capacity(WORDS);
        let found = match value {
            b"!leave" => {
                memory.resize(WORDS, PATTERN);
                WORDS
            }
            // What a pointer with no allocation behind it reads, and what the allocator gave without clearing it.
            _ => found(memory.as_ptr(), WORDS) + found(std::ptr::without_provenance(8), 1024),
        };
        outcome.outputs.push(i, 0, found.to_string().as_bytes());
        std::mem::forget(std::hint::black_box(memory));
    })
}

fn found(from: *const u64, words: usize) -> usize {
    // All of it lies in the linear memory; what a read gives is the point.
    (0..words).filter(|word| unsafe { from.add(*word).read_volatile() } == PATTERN).count()
}
