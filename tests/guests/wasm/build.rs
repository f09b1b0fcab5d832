//! Makes the table of guests from the files in `src/guests`.
//!
//! Must never: leave out a file; then a guest would exist that no test can run.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets this"));
    let folder = here.join("src/guests");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut rust = String::new();
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("the folder of guests")
        .filter_map(|entry| entry.expect("an entry").file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    for name in &names {
        let path = folder.join(format!("{name}.rs"));
        writeln!(rust, "#[path = {:?}] mod {name};", path.display().to_string()).unwrap();
    }
    writeln!(rust, "pub fn named(name: &str) -> Option<crate::Guest> {{ match name {{").unwrap();
    for name in &names {
        writeln!(rust, "{name:?} => Some({name}::GUEST),").unwrap();
    }
    writeln!(rust, "_ => None }} }}").unwrap();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets this"));
    fs::write(out.join("table.rs"), rust).expect("writing into OUT_DIR");
}
