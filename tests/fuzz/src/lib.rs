//! What other people's bytes meet first in the host, tried with bytes that nobody would write.
//!
//! A *target* takes any bytes and panics where the host would break a promise: what is refused is refused with a code and in bounded words,
//! what is taken can be used without another look, and nothing panics. The same functions are run three ways:
//!
//! * on the seeds and on some thousand mutations of them, by every `cargo test` (`tests/seeds.rs`), in seconds;
//! * guided by coverage, by `cargo xtask fuzz`, for as long as one likes. The project's own crates are instrumented; what they call is not;
//! * on one input that failed, by name: `cargo xtask fuzz TARGET FILE`.
//!
//! An input that was found to break something becomes a seed with the change that mends it.
//! Must never: depend on time, on what ran before, or on anything but the bytes.

#![forbid(unsafe_code)]

pub mod columns;
pub mod fair;
pub mod letter;
pub mod manifest;
pub mod module;
pub mod mutate;

/// Something to try bytes on.
pub struct Target {
    /// Its name: that of its program, and of the folder of its seeds.
    pub name: &'static str,
    /// Takes any bytes. Panics where a promise is broken.
    pub run: fn(&[u8]),
    /// Words that the mutations put in, a line each; empty where its input is no text.
    pub words: &'static str,
    /// Bytes of an input at most.
    pub bytes_max: usize,
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target { name: "columns", run: columns::run, words: "", bytes_max: 4 << 10 },
    Target { name: "fair", run: fair::run, words: "", bytes_max: 4 << 10 },
    Target { name: "letter", run: letter::run, words: "", bytes_max: 4 << 10 },
    Target { name: "manifest", run: manifest::run, words: include_str!("../words/manifest.dict"), bytes_max: 16 << 10 },
    Target { name: "module", run: module::run, words: "", bytes_max: 128 << 10 },
];
