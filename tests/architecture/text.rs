//! A Rust file as lines of code, with comments and string literals taken out, so that a rule about code is not broken by prose.
//!
//! Must never: try to be a parser; it knows line comments, block comments, strings, raw strings and characters, no more.

/// The code of each line; a line of comment or text is empty.
pub(crate) fn code_lines(source: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped(rest, lines.last().is_some_and(|line| line.ends_with(is_word)));
        let taken = if skipped == 0 { first.len_utf8() } else { skipped };
        for c in rest[..taken].chars() {
            match c {
                '\n' => lines.push(String::new()),
                c if skipped == 0 => lines.last_mut().expect("there is a line").push(c),
                _ => {}
            }
        }
        rest = &rest[taken..];
    }
    lines
}

/// The texts of a file: what stands between quotation marks.
pub(crate) fn literals(source: &str) -> Vec<&str> {
    let (mut found, mut rest, mut in_word) = (Vec::new(), source, false);
    while let Some(first) = rest.chars().next() {
        let skipped = skipped(rest, in_word);
        let taken = if skipped == 0 { first.len_utf8() } else { skipped };
        if skipped > 0 && first == '"' {
            found.push(rest[..taken].trim_matches('"'));
        }
        in_word = skipped == 0 && is_word(first);
        rest = &rest[taken..];
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How many bytes at the start of `rest` are a comment or a literal; 0 where it is code.
fn skipped(rest: &str, in_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(text) = rest.strip_prefix('"') {
        return 1 + escaped_until(text, '"');
    }
    if !in_word && (rest.starts_with("r\"") || rest.starts_with("r#") || rest.starts_with("br")) {
        return raw_string(rest);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn escaped_until(text: &str, end: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == end => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn raw_string(rest: &str) -> usize {
    let prefix = if rest.starts_with("br") { 2 } else { 1 };
    let hashes = rest[prefix..].bytes().take_while(|byte| *byte == b'#').count();
    let open = prefix + hashes;
    // `r#name` is an identifier.
    if !rest[open..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    rest[open + 1..].find(&close).map_or(rest.len(), |at| open + 1 + at + close.len())
}

/// `'a'`, `'\n'` and `'"'` are characters; `'a` is a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest[1..].chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => 1 + escaped_until(&rest[1..], '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

#[test]
fn code_is_told_from_prose() {
    let source =
        "let a = 1; // todo!()\nlet b = \"// todo!() \\\" \"; c();\nlet q = '\"'; d::<'a>();\n/* x\n todo!() */ e();";
    let lines = code_lines(source);
    assert_eq!(lines, ["let a = 1; ", "let b = ; c();", "let q = ; d::<'a>();", "", " e();"]);
    assert_eq!(literals(source), [r#"// todo!() \" "#]);
    assert_eq!(code_lines("f(r#\"todo!() \"x\" \"#); r#type"), ["f(); r#type"]);
}
