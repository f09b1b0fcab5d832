//! How a command ends that did not do what it was asked: what it says, and its exit code.
//!
//! What is said: the code, a sentence that says what to do, each single error, and how to read more. With `--output json` it is the
//! problem as JSON (RFC 9457), one line, for programs: control's own, or one of the same shape made here.
//! Must never: end with 0 where something was not done, or print a token.

use super::output::{Format, printable, red};
use crate::client::Refused;
use bulkhead_core::code::Code;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

/// Control refused, or something failed on this machine.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line is wrong. Clap ends with the same.
pub(crate) const EXIT_USAGE: u8 = 2;
/// There is no such thing.
pub(crate) const EXIT_NOT_FOUND: u8 = 4;
/// The server cannot be reached, does not answer in time, or failed itself.
pub(crate) const EXIT_AWAY: u8 = 5;
/// No token, or one that does not allow this.
pub(crate) const EXIT_NOT_ALLOWED: u8 = 6;

/// Exit codes, as the help shows them. 3 is a worker's: another one took its slot.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused by the server, or failed on this machine
  2  the command line or the config file is wrong
  3  `serve` only: another worker took this worker's slot
  4  there is no such thing
  5  the server is away, too slow, or failed itself: try again
  6  no token, or not one that allows this";

/// Something that went wrong on this machine, with a code.
#[derive(Debug)]
pub(crate) struct Complaint {
    /// Its page.
    pub(crate) code: Code,
    /// What to do.
    pub(crate) detail: String,
}

impl Complaint {
    /// A complaint with a sentence that says what to do.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Complaint {}

/// Says what went wrong, and gives the exit code.
pub(crate) fn report(error: &anyhow::Error, server: &str, format: Format) -> ExitCode {
    if is_broken_pipe(error) {
        // `bulkhead … | head`: who reads has enough.
        return ExitCode::SUCCESS;
    }
    let (problem, exit) = problem(error, server);
    let mut err = anstream::stderr().lock();
    // Nobody is left to be told where this fails.
    _ = match format {
        Format::Json => writeln!(err, "{problem}"),
        Format::Table => write!(err, "{}", text(&problem)),
    };
    ExitCode::from(exit)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Any error as a problem, and its exit code.
fn problem(error: &anyhow::Error, server: &str) -> (Value, u8) {
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return of_answer(refused, error, server);
    }
    if let Some(complaint) = error.downcast_ref::<Complaint>() {
        let exit = match complaint.code {
            Code::CliConfigInvalid => EXIT_USAGE,
            Code::TokenNotStored | Code::LoginEnded | Code::LoginFailed => EXIT_NOT_ALLOWED,
            Code::ServerAway => EXIT_AWAY,
            _ => EXIT_FAILED,
        };
        return (local(complaint.code, &in_context(error, &complaint.detail)), exit);
    }
    if let Some(http) = error.chain().find_map(|cause| cause.downcast_ref::<reqwest::Error>()) {
        if http.is_decode() {
            let detail = format!("{server} answered with something that is not the API's; check --server");
            return (local(Code::AnswerUnreadable, &detail), EXIT_AWAY);
        }
        if let Some((code, detail)) = crate::tls::complaint(server, http) {
            return (local(code, &detail), EXIT_FAILED);
        }
        let detail = format!("{server} cannot be reached: {}; check --server, and that it runs", innermost(http));
        return (local(Code::ServerAway, &detail), EXIT_AWAY);
    }
    (local(Code::LocalFailure, &format!("{error:#}")), EXIT_FAILED)
}

/// What was done when it happened, and what happened.
fn in_context(error: &anyhow::Error, detail: &str) -> String {
    let told = error.to_string();
    if told == detail { told } else { format!("{told}: {detail}") }
}

fn of_answer(refused: &Refused, error: &anyhow::Error, server: &str) -> (Value, u8) {
    let exit = match refused.status.as_u16() {
        401 | 403 => EXIT_NOT_ALLOWED,
        404 => EXIT_NOT_FOUND,
        500.. => EXIT_AWAY,
        _ => EXIT_FAILED,
    };
    if refused.text("code").is_none() {
        let detail = format!("{server} answered {} and not as the API does; check --server", refused.status);
        return (local(Code::AnswerUnreadable, &detail), exit);
    }
    let mut problem = refused.problem.clone();
    let told = error.to_string();
    if told != refused.to_string() {
        problem["context"] = told.into();
    }
    (problem, exit)
}

/// A problem of this machine, in the shape of control's.
fn local(code: Code, detail: &str) -> Value {
    json!({
        "type": format!("/api/v1/errors/{code}"),
        "title": code.title(),
        "status": code.status(),
        "detail": detail,
        "code": code,
    })
}

/// The cause that says most: an HTTP client's own words are only that it failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A problem for people.
fn text(problem: &Value) -> String {
    let field = |name: &str| printable(problem[name].as_str().unwrap_or_default());
    let (code, title, detail) = (field("code"), field("title"), field("detail"));
    let mut text = format!("{} {title}\n", red(&format!("error {code}:")));
    if let Some(context) = problem["context"].as_str() {
        text += &format!("  {}\n", printable(context));
    }
    text += &format!("  {detail}\n");
    for error in problem["errors"].as_array().into_iter().flatten() {
        let part = |name: &str| printable(error[name].as_str().unwrap_or_default());
        text += &format!("  - {} {}: {}\n", part("code"), part("field"), part("detail"));
    }
    if let Some(request) = problem["requestId"].as_str().filter(|_| problem["status"].as_u64() >= Some(500)) {
        text += &format!("  request {}\n", printable(request));
    }
    text + &format!("  more: bulkhead explain {code}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;

    fn refused(status: u16, problem: Value) -> anyhow::Error {
        Refused { status: StatusCode::from_u16(status).unwrap(), problem }.into()
    }

    #[test]
    fn exit_codes_tell_what_a_script_may_do() {
        let coded = |status| problem(&refused(status, json!({"code": "BH0001", "detail": "x"})), "http://s").1;
        assert_eq!(
            [401, 403, 404, 409, 422, 500, 503].map(coded),
            [EXIT_NOT_ALLOWED, EXIT_NOT_ALLOWED, EXIT_NOT_FOUND, EXIT_FAILED, EXIT_FAILED, EXIT_AWAY, EXIT_AWAY]
        );
        let config = Complaint::new(Code::CliConfigInvalid, "x").into();
        assert_eq!(problem(&config, "").1, EXIT_USAGE);
    }

    #[test]
    fn an_answer_of_something_else_is_not_taken_for_controls() {
        let (problem, _) = problem(&refused(502, Value::Null), "http://s");
        assert_eq!(problem["code"], Code::AnswerUnreadable.id());
        assert!(problem["detail"].as_str().unwrap().contains("http://s answered 502"));
    }

    #[test]
    fn every_single_error_and_the_page_are_shown_without_escapes() {
        let error = refused(
            422,
            json!({"code": "BH0201", "title": "Manifest not accepted", "detail": "two\u{1b}[2J",
            "errors": [{"code": "BH0203", "field": "a", "detail": "b"}]}),
        );
        let text = text(&problem(&error.context("applying"), "").0);
        for words in [
            "error BH0201:",
            "Manifest not accepted",
            "applying",
            "two\u{fffd}",
            "- BH0203 a: b",
            "bulkhead explain BH0201",
        ] {
            assert!(text.contains(words), "{words} is not in {text}");
        }
    }
}
