//! The threat model says what holds each claim: that is there, and so is the version of wasmtime that it was written for.

use crate::workspace::root;
use std::fs;
use std::path::PathBuf;

/// Fewer places than this, and the text was not read rightly.
const PLACES_MIN: usize = 40;

fn model() -> String {
    fs::read_to_string(root().join("host/threat-model.md")).expect("the threat model")
}

/// What stands between backquotes and looks like a file, perhaps with `::` and the name of a test behind it.
fn places(text: &str) -> Vec<(&str, Option<&str>)> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_file = |path: &str| {
        let ending = path.rsplit_once('.').is_some_and(|(_, ending)| matches!(ending, "rs" | "cedar" | "txt" | "md"));
        ending && path.contains('/') && !path.contains(' ')
    };
    quoted
        .map(|quoted| quoted.split_once("::").map_or((quoted, None), |(path, test)| (path, Some(test))))
        .filter(|(path, _)| is_file(path))
        .collect()
}

/// The file of a place: below `host`, or from the root.
fn file(path: &str) -> Option<PathBuf> {
    [root().join("host").join(path), root().join(path)].into_iter().find(|file| file.exists())
}

#[test]
fn what_holds_a_claim_is_there() {
    let text = model();
    let places = places(&text);
    assert!(places.len() >= PLACES_MIN, "only {} places were found", places.len());
    let mut missing = Vec::new();
    for (path, test) in places {
        let there = file(path).is_some_and(|file| {
            let code = fs::read_to_string(file).expect("a file of text");
            test.is_none_or(|test| code.contains(&format!("fn {test}(")))
        });
        if !there {
            missing.push(format!("{path} {}", test.unwrap_or_default()));
        }
    }
    assert!(missing.is_empty(), "the threat model names what is not there:\n{}", missing.join("\n"));
}

#[test]
fn it_was_written_for_the_sandbox_that_is_built() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let (_, after) = lock.split_once("\nname = \"wasmtime\"\nversion = \"").expect("wasmtime");
    let version = after.split('"').next().unwrap_or_default();
    assert!(
        model().contains(&format!("**wasmtime {version}**")),
        "host/threat-model.md is not about wasmtime {version}: read its advisories, and change the text"
    );
}

#[test]
fn places_are_found_between_backquotes() {
    let text = "held by `a/b.rs::test`, `c/d.txt` and `e.rs`, `x: y/z.rs`\n| `f/g.md` | code |";
    assert_eq!(places(text), [("a/b.rs", Some("test")), ("c/d.txt", None), ("f/g.md", None)]);
}
