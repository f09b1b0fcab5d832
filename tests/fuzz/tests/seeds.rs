//! Every target on its seeds, and on mutations of them that are the same each time: what `cargo test` affords of fuzzing.
//!
//! `BULKHEAD_FUZZ_RUNS` says how many mutations of each. The input that fails is kept, to become a seed.

use bulkhead_fuzz::mutate::Mutator;
use bulkhead_fuzz::{TARGETS, Target};
use std::fs;
use std::path::PathBuf;

#[path = "seeds/modules.rs"]
mod modules;

/// Mutations of each target, where nobody says how many: together some seconds of one core.
const RUNS: usize = 2_000;
/// Where the random numbers begin. Another one is another set of inputs.
const SEED: u64 = 7;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The names of a folder's files, sorted.
fn files(folder: &PathBuf) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let folder = folder("seeds").join(target.name);
    let seeds: Vec<_> = files(&folder).iter().map(|name| fs::read(folder.join(name)).unwrap()).collect();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    seeds
}

/// Keeps the input where one fails, and says where.
struct Tried<'a>(&'a str, &'a [u8]);

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = folder("../../target").join(format!("fuzz-{}-failed", self.0));
            match fs::write(&file, self.1) {
                Ok(()) => eprintln!("the input is kept: cargo xtask fuzz {} {}", self.0, file.display()),
                Err(error) => eprintln!("the input cannot be kept: {error}"),
            }
        }
    }
}

fn try_all(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let seeds = seeds(target);
    let runs = std::env::var("BULKHEAD_FUZZ_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"));
    let mut mutator = Mutator::new(SEED, target.words, target.bytes_max);
    let mutations = (0..runs).map(|_| mutator.of(&seeds));
    for input in seeds.iter().cloned().chain(mutations) {
        let tried = Tried(target.name, &input);
        (target.run)(tried.1);
    }
}

#[test]
fn columns() {
    try_all("columns");
}

#[test]
fn fair() {
    try_all("fair");
}

#[test]
fn letter() {
    try_all("letter");
}

#[test]
fn manifest() {
    try_all("manifest");
}

#[test]
fn module() {
    try_all("module");
    bulkhead_fuzz::module::run(bulkhead_test_guests::wasm("secretive"));
}

#[test]
fn every_target_has_a_program_and_a_test() {
    let names: Vec<String> = TARGETS.iter().map(|target| format!("{}.rs", target.name)).collect();
    assert_eq!(files(&folder("fuzz_targets")), names);
    let tests = include_str!("seeds.rs");
    for target in &TARGETS {
        assert!(tests.contains(&format!("try_all(\"{}\")", target.name)), "{} is not tried", target.name);
    }
}
