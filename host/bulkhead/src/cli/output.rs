//! What commands print: tables for people, the API's JSON for programs.
//!
//! Colours are written only where standard output is a terminal, and not where `NO_COLOR` is set: `anstream` takes them out elsewhere.
//! Must never: print a control character that came from a server or a record: it could rewrite what the terminal shows.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::io::Write;

/// How answers are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people. It may change in any version.
    #[default]
    Table,
    /// For programs: the API's answer, or one JSON object a line where there is no end.
    Json,
}

/// Text with what a terminal would obey made visible.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control();
    if text.contains(bad) { text.replace(bad, "\u{fffd}").into() } else { text.into() }
}

/// Prints a line.
///
/// # Errors
/// Where standard output is closed.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    writeln!(anstream::stdout().lock(), "{text}")?;
    Ok(())
}

/// Prints JSON, as one line.
///
/// # Errors
/// As [`line()`].
pub(crate) fn json(value: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Prints rows under headings, or `nothing` where there is none.
///
/// # Errors
/// As [`line()`].
pub(crate) fn table(headings: &[&str], rows: Vec<Vec<String>>, nothing: &str) -> anyhow::Result<()> {
    if rows.is_empty() {
        return line(nothing);
    }
    let rows = rows.into_iter().map(|row| row.iter().map(|cell| printable(cell).into_owned()).collect::<Vec<_>>());
    let text = aligned(headings, rows);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    line(&bold(first))?;
    line(rest)
}

/// Prints names with their values, one below the other; a value that is empty is left out.
///
/// # Errors
/// As [`line()`].
pub(crate) fn fields(rows: &[(&str, String)]) -> anyhow::Result<()> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let value = if *name == "phase" { phase(value) } else { printable(value).into_owned() };
        line(&format!("{}  {value}", bold(&format!("{name:width$}"))))?;
    }
    Ok(())
}

fn aligned(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.to_vec()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A JSON value as a cell: texts without quotes, nothing for `null`.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number of things: `1 partition`, `2 partitions`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A digest's first digits.
pub(crate) fn short_digest(digest: &str) -> String {
    digest.get(..19).unwrap_or(digest).to_owned()
}

const BOLD: anstyle::Style = anstyle::Style::new().bold();
const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
const GREEN: anstyle::Style = anstyle::AnsiColor::Green.on_default();
const YELLOW: anstyle::Style = anstyle::AnsiColor::Yellow.on_default();

fn painted(style: anstyle::Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// For what a reader's eye should find.
pub(crate) fn bold(text: &str) -> String {
    painted(BOLD, text)
}

/// For what went wrong.
pub(crate) fn red(text: &str) -> String {
    painted(RED, text)
}

/// A pipeline's phase in the colour of its gravity.
fn phase(phase: &str) -> String {
    let text = printable(phase);
    match phase {
        "running" | "running (parked)" => painted(GREEN, &text),
        "failed" | "backoff" => painted(RED, &text),
        _ => painted(YELLOW, &text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_spaces() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), String::new()]];
        assert_eq!(aligned(&["NAME", "N"], rows.into_iter()), "NAME    N\na       1\nlonger");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|n| count(n, "record")), ["0 records", "1 record", "2 records"]);
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(printable("a\u{1b}]0;x\u{7}\n"), "a\u{fffd}]0;x\u{fffd}\u{fffd}");
        assert!(matches!(printable("plain €"), Cow::Borrowed(_)));
    }
}
