//! What operators' rules and dashboards name is what the code exports, and each alert has a test.
//!
//! Must never: know a metric's name by itself: a name that the code changes must fail here.

use crate::text::literals;
use crate::workspace::{root, sources};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What Prometheus makes of a histogram.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_count", "_sum"];
/// Functions in the record path's metrics that put this before a name.
const PREFIX: &str = "bulkhead_";
const PREFIXING: [&str; 3] = ["counter(\"", "gauge(\"", "seconds(\""];

/// Every metric that the host registers: texts of its code that begin as they all do, and those that get their beginning from a function.
fn exported() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let host = sources().into_iter().filter(|(path, _)| path.starts_with("host"));
    for (_, text) in host.filter(|(_, text)| text.contains("use prometheus::")) {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        names.extend(literals(code).into_iter().filter(|text| is_name(text)).map(str::to_owned));
        for begin in PREFIXING {
            let texts = code.split(begin).skip(1).filter_map(|rest| rest.split('"').next());
            names.extend(texts.map(|name| format!("{PREFIX}{name}")).filter(|name| is_name(name)));
        }
    }
    names
}

fn is_name(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// The names of ours in an expression. Recorded series have a colon in theirs and are not of the code.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| is_name(word)).map(str::to_owned).collect()
}

fn base(name: &str) -> &str {
    OF_HISTOGRAMS.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

fn files(folder: &str, end: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there").flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|has| has == end));
    let shown = |path: &Path| path.strip_prefix(root()).expect("it lies below").display().to_string();
    paths.map(|path| (shown(&path), fs::read_to_string(&path).expect("it can be read"))).collect()
}

/// The expressions of a rule file: what follows `expr:`, over as many lines as are further in.
fn rules(text: &str, field: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let begins = |line: &&str| line.trim_start().trim_start_matches("- ").starts_with(field);
    let found = lines.iter().enumerate().filter(|(_, line)| begins(line));
    found
        .map(|(at, line)| {
            let more = lines[at + 1..].iter().take_while(|next| depth(next) > depth(line));
            std::iter::once(line).chain(more).copied().collect::<Vec<_>>().join("\n")
        })
        .collect()
}

/// Every expression and query of a dashboard.
fn queries(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if ["expr", "query", "definition"].contains(&name.as_str()) => {
                        found.push(text.to_owned());
                    }
                    _ => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn rules_and_dashboards_name_what_is_exported() {
    let exported = exported();
    let mut asked: Vec<(String, String)> = Vec::new();
    for (file, text) in files("deploy/prometheus/rules", "yml") {
        asked.extend(rules(&text, "expr:").into_iter().map(|expression| (file.clone(), expression)));
    }
    for (file, text) in files("deploy/grafana", "json") {
        let mut found = Vec::new();
        queries(&serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}")), &mut found);
        asked.extend(found.into_iter().map(|expression| (file.clone(), expression)));
    }
    let mut seen = BTreeSet::new();
    for (file, expression) in &asked {
        for name in named(expression) {
            let known = exported.contains(&name) || exported.contains(base(&name));
            assert!(known, "{file} asks for `{name}`, which nothing exports; there are {exported:?}");
            seen.insert(base(&name).to_owned());
        }
    }
    assert!(exported.len() >= 20 && seen.len() >= 15, "{} exported, {} named", exported.len(), seen.len());
}

#[test]
fn recorded_series_that_are_asked_for_are_recorded() {
    let rule_files = files("deploy/prometheus/rules", "yml");
    let recorded: Vec<_> = rule_files.iter().flat_map(|(_, text)| rules(text, "record:")).collect();
    let first = |rule: &String| rule.lines().next().and_then(|line| line.split("record:").nth(1)).map(str::to_owned);
    let recorded: BTreeSet<String> = recorded.iter().filter_map(first).map(|name| name.trim().to_owned()).collect();
    let mut seen = 0;
    for (file, text) in rule_files.iter().cloned().chain(files("deploy/grafana", "json")) {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        for word in words.filter(|word| word.contains(":bulkhead_")) {
            assert!(recorded.contains(word), "{file} asks for `{word}`, which no rule records");
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} were found");
}

#[test]
fn every_alert_has_a_test() {
    let tests: String = files("deploy/prometheus/tests", "yml").into_iter().map(|(_, text)| text).collect();
    let mut seen = 0;
    for (file, text) in files("deploy/prometheus/rules", "yml") {
        for rule in rules(&text, "alert:") {
            let name = rule.lines().next().and_then(|line| line.split("alert:").nth(1)).unwrap_or_default().trim();
            assert!(tests.contains(name), "{file}: `{name}` is in no test of deploy/prometheus/tests");
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} alerts were found");
}
