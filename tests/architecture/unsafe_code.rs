//! Where `unsafe` may stand. Everywhere else the compiler forbids it, and this test sees that it does.

use crate::workspace::{packages, root};
use std::fs;

/// Crates that may hold `unsafe`, each with its reason.
const ALLOWED: [(&str, &str); 7] = [
    ("bulkhead-engine", "loading compiled code is unsafe, and so are the limits of the compiler child"),
    ("bulkhead-log", "librdkafka is called through its C interface"),
    ("bulkhead-sdk", "the bindings that wit-bindgen generates are"),
    ("bulkhead-test-services", "services are made to die with the test by prctl"),
    ("bulkhead-testbed", "the hosts that it runs are signalled, and die with the test"),
    ("bulkhead-fuzz", "libFuzzer calls its programs by the name of a C function"),
    ("bulkhead-test-guests", "it holds components that were made to misbehave"),
];

#[test]
fn unsafe_code_is_forbidden_where_it_is_not_needed() {
    let (mut seen, mut missing) = (0, Vec::new());
    for package in packages() {
        let stages = ["examples", "tests/peers", "tests/visits", "guest-sdk/harness/archive"];
        if stages.iter().any(|folder| package.folder.starts_with(folder))
            || ALLOWED.iter().any(|(name, _)| *name == package.name)
        {
            continue;
        }
        for file in &package.roots {
            seen += 1;
            let text = fs::read_to_string(root().join(file)).expect("a crate's first file");
            if !text.contains("#![forbid(unsafe_code)]") {
                missing.push(file.display().to_string());
            }
        }
    }
    assert!(missing.is_empty(), "`#![forbid(unsafe_code)]` is missing in {}", missing.join(", "));
    assert!(seen >= 5, "only {seen} crates were looked at");
}
