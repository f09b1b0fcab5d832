//! Mutations that repeat: the same seed of the random numbers, the same bytes.
//!
//! The usual ones of fuzzers, without their coverage: that is what `cargo xtask fuzz` is for.
//! Must never: make an input longer than it is told to.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Mutations of one input at most.
const STEPS_MAX: usize = 6;
/// Bytes that one step inserts, repeats or removes at most.
const RUN_BYTES_MAX: usize = 64;
/// Numbers at which things break.
const NUMBERS: [u32; 12] = [0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

/// Makes inputs of inputs.
pub struct Mutator<'a> {
    random: StdRng,
    words: Vec<&'a str>,
    bytes_max: usize,
}

impl<'a> Mutator<'a> {
    /// One that makes inputs of at most `bytes_max` bytes; `words` has a line `"word"` for each that it may put in.
    pub fn new(seed: u64, words: &'a str, bytes_max: usize) -> Self {
        let words = words.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix('"')).collect();
        Self { random: StdRng::seed_from_u64(seed), words, bytes_max }
    }

    /// An input made of one of `seeds`, and perhaps of a part of another.
    ///
    /// # Panics
    /// Where there are no seeds.
    pub fn of(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(STEPS_MAX) {
            let other = &seeds[self.below(seeds.len())];
            self.step(&mut bytes, other);
        }
        bytes.truncate(self.bytes_max);
        bytes
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end.max(1))
    }

    /// A place in `bytes`, and how many bytes from there.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let most = (bytes.len() - start).min(RUN_BYTES_MAX);
        start..start + self.below(most + 1)
    }

    fn step(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        match self.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.random.random(),
            2 => drop(bytes.drain(self.range(bytes))),
            3 => {
                let again = bytes[self.range(bytes)].to_vec();
                insert(bytes, at, &again);
            }
            4 => {
                let from = other[self.range(other)].to_vec();
                insert(bytes, at, &from);
            }
            5 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                let width = [1, 2, 4][self.below(3)];
                overwrite(bytes, at, &number[..width]);
            }
            6 if !self.words.is_empty() => {
                let word = self.below(self.words.len());
                let word = self.words[word];
                insert(bytes, at, word.as_bytes());
            }
            7 => {
                let (first, last) = (self.range(bytes), self.range(bytes));
                let moved = bytes[first].to_vec();
                overwrite(bytes, last.start, &moved);
            }
            _ => {
                let many = vec![self.random.random(); self.below(RUN_BYTES_MAX)];
                insert(bytes, at, &many);
            }
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    drop(bytes.splice(at..at, more.iter().copied()));
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let room = &mut bytes[at..];
    let fits = room.len().min(with.len());
    room[..fits].copy_from_slice(&with[..fits]);
}
