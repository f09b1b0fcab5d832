//! Which crate may know which.
//!
//! `core` knows nobody; `flow` uses `engine`, `log`, `bucket` and `vault`; `control` and `operator` know neither; only `bulkhead` composes. So the
//! process that serves HTTP need not hold a sandbox or a Kafka client, and the one that runs guests no database.

use crate::workspace::{Package, packages};
use std::collections::BTreeMap;
use std::path::Path;

/// For each crate of the host, the crates of the workspace that it may use.
const EDGES: [(&str, &[&str]); 9] = [
    ("bulkhead-core", &[]),
    ("bulkhead-bucket", &["bulkhead-core"]),
    ("bulkhead-engine", &["bulkhead-core"]),
    ("bulkhead-log", &["bulkhead-core"]),
    // What it leaves on disks and in logs is sealed.
    ("bulkhead-flow", &["bulkhead-bucket", "bulkhead-core", "bulkhead-engine", "bulkhead-log", "bulkhead-vault"]),
    ("bulkhead-vault", &["bulkhead-core"]),
    ("bulkhead-control", &["bulkhead-core", "bulkhead-vault"]),
    ("bulkhead-operator", &["bulkhead-core"]),
    (
        "bulkhead",
        // `bulkhead demo` brings its input with it.
        &[
            "bulkhead-bucket",
            "bulkhead-core",
            "bulkhead-engine",
            "bulkhead-log",
            "bulkhead-flow",
            "bulkhead-control",
            "bulkhead-operator",
            "bulkhead-vault",
            "bulkhead-example-data",
        ],
    ),
];

/// Where each heavy dependency lives. One that takes long to compile, or that opens a way to the outside, is known to one
/// crate of the host, so that it can be replaced there; `bulkhead` may serve what control routes, and read its command line.
const HEAVY: [(&str, &[&str]); 23] = [
    ("wasmtime", &["bulkhead-engine"]),
    ("wasmtime-wasi", &["bulkhead-engine"]),
    ("cap-std", &["bulkhead-engine"]),
    ("rdkafka", &["bulkhead-log"]),
    ("rdkafka-sys", &["bulkhead-log"]),
    ("rusqlite", &["bulkhead-log"]),
    ("fjall", &["bulkhead-flow"]),
    ("sqlx", &["bulkhead-control"]),
    ("jsonwebtoken", &["bulkhead-control"]),
    // Modules in control, tenants' objects in workers.
    ("object_store", &["bulkhead-control", "bulkhead-bucket"]),
    ("parquet", &["bulkhead-bucket"]),
    ("cedar-policy", &["bulkhead-control"]),
    ("utoipa", &["bulkhead-control"]),
    ("axum", &["bulkhead-control", "bulkhead"]),
    ("kube", &["bulkhead-operator"]),
    ("clap", &["bulkhead"]),
    ("chacha20poly1305", &["bulkhead-vault"]),
    ("indicatif", &["bulkhead"]),
    ("inferno", &["bulkhead"]),
    ("oauth2", &["bulkhead"]),
    // Control fetches identity providers' keys, and nothing else.
    ("reqwest", &["bulkhead", "bulkhead-control"]),
    ("rustls", &["bulkhead"]),
    ("tracing-subscriber", &["bulkhead"]),
];

/// What `core` may use: nothing that does I/O or brings a runtime.
const CORE: [&str; 8] = ["hex", "serde", "serde_json", "serde_yaml_ng", "sha2", "thiserror", "time", "zeroize"];

/// Crates that exist for tests: nobody may depend on them but for tests.
const FOR_TESTS: [&str; 2] = ["bulkhead-test-services", "bulkhead-test-guests"];

fn host(package: &Package) -> bool {
    package.folder.starts_with("host")
}

fn ours(packages: &[Package]) -> Vec<&str> {
    packages.iter().map(|package| package.name.as_str()).collect()
}

#[test]
fn crates_of_the_host_know_only_whom_they_may() {
    let packages = packages();
    let ours = ours(&packages);
    let edges = BTreeMap::from(EDGES);
    let host: Vec<_> = packages.iter().filter(|package| host(package)).collect();
    assert!(host.len() >= 6, "only {} crates were found in host/", host.len());
    for package in host {
        let allowed = edges.get(package.name.as_str()).unwrap_or_else(|| panic!("{} has no rule here", package.name));
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let for_tests = dependency.only_for_tests && !edges.contains_key(name);
            assert!(
                !ours.contains(&name) || allowed.contains(&name) || for_tests,
                "{} must not know {name}",
                package.name
            );
        }
    }
}

#[test]
fn what_is_for_tests_is_used_by_tests_only() {
    for package in packages() {
        if package.folder.starts_with("tests") {
            continue;
        }
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.only_for_tests) {
            assert!(!FOR_TESTS.contains(&dependency.name.as_str()), "{} ships {}", package.name, dependency.name);
        }
    }
}

#[test]
fn a_heavy_dependency_lives_in_one_crate_of_the_host() {
    let heavy = BTreeMap::from(HEAVY);
    let mut seen = 0;
    for package in packages().iter().filter(|package| host(package)) {
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.only_for_tests) {
            let Some(homes) = heavy.get(dependency.name.as_str()) else { continue };
            seen += 1;
            assert!(
                homes.contains(&package.name.as_str()),
                "{} must not use {}: it lives in {}",
                package.name,
                dependency.name,
                homes.join(" and ")
            );
        }
    }
    assert!(seen >= 5, "only {seen} heavy dependencies were found");
}

#[test]
fn core_does_no_input_or_output() {
    let packages = packages();
    let core = packages.iter().find(|package| package.folder == Path::new("host/core")).expect("host/core");
    for dependency in core.dependencies.iter().filter(|dependency| !dependency.only_for_tests) {
        assert!(CORE.contains(&dependency.name.as_str()), "core must not use {}", dependency.name);
    }
}

#[test]
fn stages_never_reach_into_the_host() {
    let packages = packages();
    let sdk = packages
        .iter()
        .filter(|package| package.folder.starts_with("guest-sdk/rust") || package.folder.starts_with("examples"));
    for package in sdk {
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.only_for_tests) {
            assert!(
                !EDGES.iter().any(|(name, _)| *name == dependency.name),
                "{} is built for WebAssembly and must not know {}",
                package.name,
                dependency.name
            );
        }
    }
}
