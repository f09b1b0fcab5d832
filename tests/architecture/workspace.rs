//! The crates of the workspace and its source files, as Cargo and the folders have them.
//!
//! Must never: look into `target`, or at files that Git ignores for another reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, from the root.
    pub(crate) folder: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    /// The files with which its library and its programs begin.
    pub(crate) roots: Vec<PathBuf>,
}

/// What a crate depends on.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only for its tests, examples and benchmarks.
    pub(crate) only_for_tests: bool,
}

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// All crates of the workspace.
pub(crate) fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").iter().map(package).collect()
}

fn package(value: &serde_json::Value) -> Package {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
    let inside = |path: String| {
        let path = PathBuf::from(path);
        path.strip_prefix(root()).map(Path::to_owned).unwrap_or(path)
    };
    let dependencies = list("dependencies")
        .iter()
        .map(|dependency| Dependency { name: text(&dependency["name"]), only_for_tests: dependency["kind"] == "dev" })
        .collect();
    let roots = list("targets")
        .iter()
        .filter(|target| {
            let kinds = target["kind"].as_array().cloned().unwrap_or_default();
            kinds.iter().any(|kind| ["lib", "rlib", "cdylib", "proc-macro", "bin"].iter().any(|known| kind == known))
        })
        .map(|target| inside(text(&target["src_path"])))
        .collect();
    let manifest = inside(text(&value["manifest_path"]));
    let folder = manifest.parent().expect("a manifest is in a folder").to_owned();
    Package { name: text(&value["name"]), folder, dependencies, roots }
}

/// Every Rust file of the repository, from the root, with its text.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    found.sort();
    found.into_iter().map(|path| (path.strip_prefix(root()).expect("inside").to_owned(), read(&path))).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let entry = entry.expect("an entry");
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
