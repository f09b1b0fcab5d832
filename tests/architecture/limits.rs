//! The tables of limits in `host/README.md` are made of `host/core/src/limits.rs` and `tenant_limits.rs`, and cannot drift from them.
//!
//! `BULKHEAD_BLESS=1 cargo test -p bulkhead-architecture limits` writes it anew.
//! Must never: know a limit by name; a new one appears by itself.

use std::collections::BTreeMap;
use std::path::Path;

const BEGIN: &str = "<!-- limits: made by tests/architecture/limits.rs -->\n";
const END: &str = "<!-- end of limits -->\n";
const TENANT_BEGIN: &str = "<!-- limits of tenants: made by tests/architecture/limits.rs -->\n";
const TENANT_END: &str = "<!-- end of limits of tenants -->\n";
/// What a manifest calls the fields of each struct.
const STRUCTS: [(&str, &str); 3] = [("StageLimits", "limits."), ("BatchLimits", "batch."), ("RollLimits", "roll.")];

/// A limit as the source has it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Limit {
    default: u64,
    max: Option<u64>,
    doc: String,
}

/// The text of an expression such as `16 * 1024 * MIB` or `64 * KIB as usize`, computed.
fn value(text: &str) -> u64 {
    let factor = |word: &str| match word.trim() {
        "KIB" => 1024,
        "MIB" => 1024 * 1024,
        "GIB" => 1024 * 1024 * 1024,
        "UNBOUNDED" => 1_000_000_000_000_000_000,
        number => number.replace('_', "").parse().unwrap_or_else(|_| panic!("`{number}` in `{text}` is no number")),
    };
    text.split(" as ").next().unwrap_or_default().split('*').map(factor).product()
}

/// `name: expression` pairs of a struct's literal.
fn fields(literal: &str) -> BTreeMap<String, u64> {
    let pairs = literal.split(',').filter_map(|field| field.split_once(':'));
    let is_field = |(name, _): &(&str, &str)| name.trim().bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    pairs.filter(is_field).map(|(name, expression)| (name.trim().to_owned(), value(expression))).collect()
}

/// The braces that follow `head`, without them.
fn block<'a>(source: &'a str, head: &str) -> &'a str {
    let start = source.find(head).unwrap_or_else(|| panic!("limits.rs has no `{head}`")) + head.len();
    let end = source[start..].find('}').expect("a block ends");
    &source[start..start + end]
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| all + &word[..1].to_uppercase() + &word[1..])
}

/// The limits that a manifest sets, then those that are built in, each in the order of the source.
fn limits(source: &str) -> Vec<(String, Limit)> {
    let (mut found, mut doc) = (Vec::new(), String::new());
    let (mut of_struct, mut built_in) = (None, Vec::new());
    for line in source.lines() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("/// ") {
            doc = format!("{doc} {text}").trim().to_owned();
            continue;
        }
        let doc = std::mem::take(&mut doc);
        if let Some(name) = line.strip_prefix("pub struct ") {
            of_struct = STRUCTS.iter().find(|row| name.starts_with(row.0));
            assert!(of_struct.is_some(), "`{line}`: tell tests/architecture/limits.rs what a manifest calls it");
        } else if line.starts_with("impl") {
            of_struct = None;
        } else if let (Some((name, prefix)), Some((field, _))) =
            (of_struct, line.strip_prefix("pub ").and_then(|field| field.split_once(':')))
        {
            let default = fields(block(block_of_default(source, name), "Self {"))[field];
            let max = fields(block(source, &format!("{name} = {name} {{")))[field];
            found.push((format!("{prefix}{}", camel(field)), Limit { default, max: Some(max), doc }));
        } else if let Some((name, expression)) = constant(line) {
            built_in.push((name.to_owned(), Limit { default: value(expression), max: None, doc }));
        }
    }
    found.extend(built_in);
    found
}

fn block_of_default<'a>(source: &'a str, name: &str) -> &'a str {
    let head = format!("impl Default for {name} {{");
    let of_name = source.split_once(&head).unwrap_or_else(|| panic!("limits.rs has no `{head}`")).1;
    of_name.split_once("-> Self {").expect("it has a function").1
}

/// Name and expression of a number that is public.
fn constant(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("pub const ")?.split_once(": ")?;
    let (kind, expression) = rest.split_once(" = ")?;
    let is_number = ["u64", "u32", "usize"].contains(&kind);
    is_number.then(|| (name, expression.trim_end_matches(';')))
}

/// A number for people: bytes in MiB and KiB where they come out even and the name says so.
fn shown(number: u64, name: &str) -> String {
    let is_bytes = name.to_lowercase().contains("bytes");
    match number {
        n if is_bytes && n >= 1 << 30 && n.is_multiple_of(1 << 30) => format!("{} GiB", n >> 30),
        n if is_bytes && n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if is_bytes && n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => {
            let digits = n.to_string();
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().map(|g| str::from_utf8(g).expect("digits")).collect();
            groups.join(",")
        }
    }
}

fn table(source: &str) -> String {
    let mut table = String::from("| limit | default | at most | what it is |\n|---|--:|--:|---|\n");
    for (name, limit) in limits(source) {
        let max = limit.max.map_or("built in".to_owned(), |max| shown(max, &name));
        let doc = limit.doc.replace('|', "\\|").replace("[`", "`").replace("`]", "`");
        table += &format!("| `{name}` | {} | {max} | {doc} |\n", shown(limit.default, &name));
    }
    table
}

/// The limits of tenants: `name = "limitName", Unit, default, least, most;` below what is said of it.
fn tenant_table(source: &str) -> String {
    let mut table =
        String::from("| limit | unit | default | at least | at most | what it is |\n|---|---|--:|--:|--:|---|\n");
    let mut doc = String::new();
    let rows = source.split_once("\ntenant_limits! {\n").expect("there is a table of tenants' limits").1;
    for line in rows.split_once("\n}\n").expect("it ends").0.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            doc = format!("{doc} {text}").trim().to_owned();
            continue;
        }
        let cells: Vec<&str> = line.trim_end_matches(';').split(", ").collect();
        let [name, unit, default, min, max] = cells[..] else { panic!("`{line}` is no row") };
        let name = name.split('"').nth(1).expect("a name in quotes");
        let [default, min, max] = [default, min, max].map(|number| shown(value(number), name));
        let unit = unit_shown(source, unit);
        table += &format!("| `{name}` | {unit} | {default} | {min} | {max} | {} |\n", std::mem::take(&mut doc));
    }
    table
}

/// What a unit is called in answers.
fn unit_shown<'a>(source: &'a str, unit: &str) -> &'a str {
    let arm = format!("Self::{unit} => \"");
    source.split_once(&arm).and_then(|(_, rest)| rest.split('"').next()).unwrap_or_else(|| panic!("no unit `{unit}`"))
}

/// Compares a table of the map, or writes it anew where that is asked for.
fn compare((begin, end): (&str, &str), wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/README.md");
    let readme = std::fs::read_to_string(&path).expect("the host has a map");
    let (before, rest) = readme.split_once(begin).expect("the map has a table of limits");
    let (found, after) = rest.split_once(end).expect("the table ends");
    if std::env::var_os("BULKHEAD_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{wanted}{end}{after}")).expect("the map can be written");
    } else {
        assert!(
            found == wanted,
            "host/README.md has other limits than the source: run this test with BULKHEAD_BLESS=1\n{wanted}"
        );
    }
}

#[test]
fn the_readme_has_every_limit_as_it_is() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/core/src");
    let source = |file: &str| std::fs::read_to_string(core.join(file)).expect("there are limits");
    compare((BEGIN, END), &table(&source("limits.rs")));
    compare((TENANT_BEGIN, TENANT_END), &tenant_table(&source("tenant_limits.rs")));
}

#[test]
fn a_limit_is_read_with_its_value_and_its_text() {
    let source = "/// What one stage may use.\npub struct StageLimits {\n/// Bytes of memory.\npub memory_bytes: u64,\n}\n\
        impl StageLimits {\npub const MAX: StageLimits = StageLimits {\nmemory_bytes: 2 * MIB,\n};\n}\n\
        impl Default for StageLimits {\nfn default() -> Self {\nSelf { memory_bytes: 64 * KIB }\n}\n}\n\
        /// Bytes of\n/// a thing.\npub const THING_BYTES: usize = 3 * KIB as usize;\n";
    let table = table(source);
    assert!(table.contains("| `limits.memoryBytes` | 64 KiB | 2 MiB | Bytes of memory. |"), "{table}");
    assert!(table.contains("| `THING_BYTES` | 3 KiB | built in | Bytes of a thing. |"), "{table}");
    assert_eq!(shown(10_000_000, "fuel"), "10,000,000");
}
