//! The guests' half of the isolation matrix: everything that a guest can call has a test that it does not reach another tenant's side.
//!
//! What there is comes from the contract (`guest-sdk/wit/stage.wit`) and from the engine's list of linked interfaces; `denials.txt` names
//! a test for each.
//! Must never: be satisfied by the name of a test that is not there.

use crate::workspace::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const DENIALS: &str = include_str!("denials.txt");
const CONTRACT: &str = include_str!("../../guest-sdk/wit/stage.wit");
const LINKED: &str = include_str!("../../host/engine/src/capability/mod.rs");

/// The functions of the contract's imports: `state.get`, `bucket.container.put`.
fn functions(contract: &str) -> BTreeSet<String> {
    let world = contract.split("world stage {").nth(1).and_then(|rest| rest.split('}').next()).expect("a world");
    let imports: BTreeSet<_> =
        world.lines().filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';')).collect();
    let (mut within, mut found) = (Vec::<&str>::new(), BTreeSet::new());
    for line in contract.lines().map(str::trim).filter(|line| !line.starts_with("///")) {
        if let Some((name, rest)) = line.split_once(": func(")
            && within.first().is_some_and(|interface| imports.contains(interface))
        {
            assert!(rest.ends_with(';'), "a function over several lines: {line}");
            let path = within.iter().copied().chain([name.trim_start_matches('%')]);
            found.insert(path.collect::<Vec<_>>().join("."));
        } else if line.ends_with('{') {
            within.push(line.split_whitespace().nth(1).unwrap_or_default());
        } else if line == "}" {
            within.pop();
        }
    }
    found
}

/// The interfaces of WASI that the engine links.
fn interfaces() -> BTreeSet<String> {
    let list = LINKED.split("const IMPORTS").nth(1).and_then(|rest| rest.split("];").next()).expect("a list");
    list.split('"').filter(|text| text.starts_with("wasi:")).map(str::to_owned).collect()
}

#[test]
fn everything_that_a_guest_can_call_has_a_test_that_it_reaches_no_other_tenant() {
    let lines = DENIALS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let listed: BTreeMap<String, (&str, &str)> = lines
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            assert_eq!(words.len(), 3, "{line}");
            (words[0].to_owned(), (words[1], words[2]))
        })
        .collect();
    let mut there = functions(CONTRACT);
    assert!(there.len() >= 15, "only {there:?} were found in the contract");
    let wasi = interfaces();
    assert!(wasi.len() >= 20, "only {wasi:?} are linked");
    there.extend(wasi);
    let missing: Vec<_> = there.iter().filter(|import| !listed.contains_key(*import)).collect();
    assert!(missing.is_empty(), "name in tests/architecture/denials.txt a test for {missing:#?}");
    for (import, (file, test)) in &listed {
        assert!(there.contains(import), "{import} is nothing that a guest can call");
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let (before, _) =
            text.split_once(&format!("fn {test}(")).unwrap_or_else(|| panic!("{file} has no test {test}"));
        let attributes = before.rsplit("\n}").next().unwrap_or_default();
        assert!(attributes.contains("test]"), "{test} in {file} is no test");
    }
}

#[test]
fn functions_are_found_in_interfaces_and_in_their_resources() {
    let contract = "interface a {\n /// b: func();\n record r { x: u32 }\n resource c {\n  %d: func() -> r;\n }\n e: func(x: u32);\n}\n\
                    interface other {\n f: func();\n}\nworld stage {\n import a;\n export other;\n}\n";
    assert_eq!(functions(contract), ["a.c.d", "a.e"].map(str::to_owned).into());
}
