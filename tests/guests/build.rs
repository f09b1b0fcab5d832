//! Compiles the guests in `wasm/` for wasm32-wasip2 and lists them, so that a guest without a test does not compile.
//!
//! The guests are a workspace of their own with a target folder of their own: cargo holds a lock on the outer one while this runs.
//! Must never: pass the flags of the outer build on; they are for another machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Flags and wrappers of the outer build (for instance clippy's).
const NOT_FOR_GUESTS: [&str; 6] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
];

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets this"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets this"));
    for input in ["build.rs", "wasm/Cargo.toml", "wasm/Cargo.lock", "wasm/build.rs", "wasm/src", "wasm/examples"] {
        println!("cargo::rerun-if-changed={}", here.join(input).display());
    }
    println!("cargo::rerun-if-changed={}", here.join("../../guest-sdk/wit").display());

    let target = build(&here);
    let guests = names(&here.join("wasm/src/guests"));
    let components = names(&here.join("wasm/examples"));
    fs::write(out.join("guests.rs"), list(&target, &guests, &components)).expect("writing into OUT_DIR");
}

fn build(here: &Path) -> PathBuf {
    let outer = env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../../target"), PathBuf::from);
    let target = outer.join("guests");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets this"));
    cargo.current_dir(here.join("wasm")).args([
        "build",
        "--release",
        "--target",
        "wasm32-wasip2",
        "--lib",
        "--examples",
    ]);
    cargo.arg("--target-dir").arg(&target);
    for name in NOT_FOR_GUESTS {
        cargo.env_remove(name);
    }
    let status = cargo.status().expect("running cargo");
    assert!(status.success(), "the guests did not compile; `rustup target add wasm32-wasip2` adds the target");
    target.join("wasm32-wasip2/release")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder of guests")
        .filter_map(|entry| entry.expect("an entry").file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn list(target: &Path, guests: &[String], components: &[String]) -> String {
    let mut rust = String::new();
    let path = |file: String| target.join(file).display().to_string();
    let steered = path("bulkhead_guests.wasm".to_owned());
    writeln!(rust, "/// The component that holds all guests which the settings choose among.").unwrap();
    writeln!(rust, "pub static STEERED: &[u8] = include_bytes!({steered:?});").unwrap();
    writeln!(rust, "fn component(name: &str) -> Option<&'static [u8]> {{ match name {{").unwrap();
    for name in guests {
        writeln!(rust, "{name:?} => Some(STEERED),").unwrap();
    }
    for name in components {
        writeln!(rust, "{name:?} => Some(include_bytes!({:?})),", path(format!("examples/{name}.wasm"))).unwrap();
    }
    writeln!(rust, "_ => None }} }}").unwrap();
    rust.push_str(&variants(guests.iter().chain(components)));
    writeln!(rust, "/// Calls the macro `$each` with the name of each guest.").unwrap();
    writeln!(rust, "#[macro_export] macro_rules! foreach_guest {{ ($each:ident) => {{").unwrap();
    for name in guests.iter().chain(components) {
        writeln!(rust, "$each!({name});").unwrap();
    }
    writeln!(rust, "}}; }}").unwrap();
    rust
}

/// An enum with a variant for each guest.
fn variants<'a>(names: impl Iterator<Item = &'a String> + Clone) -> String {
    let mut rust = String::new();
    let camel = |name: &str| name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect::<String>();
    writeln!(rust, "/// A guest: a file in `wasm/src/guests` or `wasm/examples`.").unwrap();
    writeln!(rust, "#[derive(Debug, Clone, Copy, PartialEq, Eq)] pub enum Guest {{").unwrap();
    for name in names.clone() {
        writeln!(rust, "/// `{name}`\n{},", camel(name)).unwrap();
    }
    writeln!(rust, "}} impl Guest {{ /// All of them.\n pub const ALL: &'static [Guest] = &[").unwrap();
    for name in names.clone() {
        writeln!(rust, "Guest::{},", camel(name)).unwrap();
    }
    writeln!(rust, "]; /// Its name.\n pub const fn name(self) -> &'static str {{ match self {{").unwrap();
    for name in names {
        writeln!(rust, "Guest::{} => {name:?},", camel(name)).unwrap();
    }
    writeln!(rust, "}} }} }}").unwrap();
    rust
}
