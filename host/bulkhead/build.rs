//! Puts the guest SDK's sources into the binary, for `bulkhead new`: a project on a machine without this repository needs them.
//!
//! Must never: need anything but the files; what a project makes of them is decided in `src/cli/new`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What a stage's project is given, from the repository's root.
const GIVEN: [&str; 5] =
    ["guest-sdk/README.md", "guest-sdk/wit", "guest-sdk/rust", "guest-sdk/sandbox", "rust-toolchain.toml"];
/// Where versions come from.
const WORKSPACE: [&str; 2] = ["Cargo.toml", "Cargo.lock"];

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for name in GIVEN.iter().chain(&WORKSPACE) {
        println!("cargo::rerun-if-changed={}", root.join(name).display());
        collect(&root.join(name), &mut files)?;
    }
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        let path = file.canonicalize()?;
        let written = writeln!(list, "    ({:?}, include_str!({path:?})),", name.display().to_string());
        written.map_err(io::Error::other)?;
    }
    list.push(']');
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(out.join("sdk.rs"), list)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        let wanted = ["rs", "toml", "md", "wit"].iter().any(|kind| entry.extension().is_some_and(|e| e == *kind));
        if wanted || (entry.is_dir() && entry.file_name().is_some_and(|name| name != "target")) {
            collect(&entry, files)?;
        }
    }
    Ok(())
}
