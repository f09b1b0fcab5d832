//! What every source file must have, and what none may.

use crate::text::code_lines;
use crate::workspace::{root, sources};
use std::path::Path;

/// Lines of a file at most; 150 to 300 are usual.
const LINES_MAX: usize = 600;
/// Fewer files than this, and the search did not look everywhere.
const FILES_MIN: usize = 60;

/// Calls `rule` with every file, and fails with all that it says.
fn every_file(mut rule: impl FnMut(&Path, &str) -> Vec<String>) {
    let sources = sources();
    assert!(sources.len() >= FILES_MIN, "only {} files were found under {}", sources.len(), root().display());
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| rule(path, text).into_iter().map(|what| format!("{}: {what}", path.display())))
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

fn lines_with(text: &str, found: impl Fn(&str) -> bool, what: &str) -> Vec<String> {
    let lines = code_lines(text);
    let found = lines.iter().enumerate().filter(|(_, line)| found(line));
    found.map(|(i, _)| format!("line {}: {what}", i + 1)).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    every_file(|_, text| match text.starts_with("//! ") {
        true => vec![],
        false => vec!["must begin with `//!`: what it is for, what it promises, what it must never do".to_owned()],
    });
}

#[test]
fn no_file_is_long() {
    every_file(|_, text| match text.lines().count() {
        lines if lines > LINES_MAX => vec![format!("has {lines} lines; split it, {LINES_MAX} are the most")],
        _ => vec![],
    });
}

#[test]
fn nothing_is_left_to_be_done() {
    // Written apart, so that this file keeps its own rule.
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!"));
    every_file(|_, text| {
        lines_with(text, |line| macros.iter().any(|name| line.contains(name.as_str())), "finish this")
    });
}

#[test]
fn no_test_is_left_out() {
    every_file(|_, text| lines_with(text, |line| line.contains("#[ignore"), "a test that never runs tests nothing"));
}

/// A test that sleeps for luck is slow when it passes and fails on a busy machine. A pause in a loop that polls, or one with a name
/// (a constant), is no such sleep; any other has its reason in a comment, on its line or above it.
#[test]
fn a_test_sleeps_only_for_a_reason() {
    every_file(|path, text| {
        let from = first_line_of_tests(path, text);
        let (lines, written) = (code_lines(text), text.lines().collect::<Vec<_>>());
        let mut broken = Vec::new();
        for i in from.min(lines.len())..lines.len() {
            let Some((before, pause)) = lines[i].split_once("sleep(") else { continue };
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let named = pause.trim_start_matches("Self::").starts_with(|c: char| c.is_ascii_uppercase())
                && pause.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().is_some_and(is_constant);
            let defined = lines[i].contains("fn sleep(");
            let explained = written[i].contains("//") || (i > 0 && written[i - 1].trim_start().starts_with("//"));
            if !named && !explained && !defined && !in_loop(&lines[..=i]) {
                broken.push(format!("line {}: wait for what you expect, or say why this pause is right", i + 1));
            }
        }
        broken
    });
}

/// Whether the last line stands directly in a loop, going by its indentation.
fn in_loop(lines: &[String]) -> bool {
    let indent = |line: &String| line.len() - line.trim_start().len();
    let Some((last, before)) = lines.split_last() else { return false };
    let around = before.iter().rev().find(|line| !line.trim().is_empty() && indent(line) < indent(last));
    around.is_some_and(|line| ["while ", "loop ", "for "].iter().any(|word| line.trim_start().starts_with(word)))
}

fn is_constant(name: &str) -> bool {
    name.len() > 1 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The index of the first line that is test code: all of a file of tests, and what follows `#[cfg(test)] mod` elsewhere.
fn first_line_of_tests(path: &Path, text: &str) -> usize {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.starts_with("tests/guests/wasm") {
        // Guests that are tested; one of them sleeps on purpose.
        return usize::MAX;
    }
    let in_folder = path.components().any(|part| part.as_os_str() == "tests");
    if in_folder || name == "tests.rs" || name.ends_with("_tests.rs") {
        return 0;
    }
    let lines: Vec<&str> = text.lines().collect();
    let module = lines.windows(2).position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].ends_with('{'));
    module.unwrap_or(lines.len())
}
