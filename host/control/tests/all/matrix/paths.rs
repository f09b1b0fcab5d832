//! Requests to routes, with something for each name in their paths; and what an answer says of the policy's decision.

use super::table::Row;
use crate::client::{Answer, Client};

/// What an answer says of the decision, whatever the handler did then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was allowed.
    Passed,
    /// The caller may see the place and not do this: 403.
    Refused,
    /// The caller may not know that the place is there: 404.
    Hidden,
    /// No token was accepted: 401.
    Unknown,
}

/// The path with these names in it.
pub(super) fn path_of(row: &Row, tenant: &str, project: &str) -> String {
    let digest = format!("sha256:{}", "0".repeat(64));
    let fill = [
        ("{tenant}", tenant),
        ("{project}", project),
        ("{module}", "m"),
        ("{tag}", "v1"),
        ("{pipeline}", "p"),
        ("{revision}", "1"),
        ("{topic}", "t"),
        ("{letter}", "0-0"),
        ("{erasure}", "0"),
        ("{plan}", "gold"),
        ("{code}", "BH0001"),
        ("{digest}", &digest),
        ("{subject}", "user:eve"),
        ("{role}", "viewer"),
        ("{name}", "n"),
    ];
    named(row, &fill)
}

/// The path with values for what stands in braces.
pub(super) fn named(row: &Row, values: &[(&str, &str)]) -> String {
    let path = values.iter().fold(row.path.to_owned(), |path, (name, value)| path.replace(name, value));
    assert!(!path.contains('{'), "say in tests/all/matrix/paths.rs what to fill in for {path}");
    path
}

pub(super) async fn ask(client: &Client, row: &Row, tenant: &str, project: &str) -> Answer {
    let request = client.request(row.method, &path_of(row, tenant, project));
    let request = if matches!(row.method, "POST" | "PUT") { request.body("{}") } else { request };
    Answer::of(request.send().await.unwrap()).await
}

pub(super) fn outcome(answer: &Answer, project: &str) -> Outcome {
    let detail = || answer.json()["detail"].as_str().unwrap_or_default().to_owned();
    match answer.status {
        401 => Outcome::Unknown,
        403 => Outcome::Refused,
        404 if detail() == "there is no such tenant here; check the path" => Outcome::Hidden,
        404 if detail() == format!("there is no project `{project}` here; check the path") => Outcome::Hidden,
        _ => Outcome::Passed,
    }
}

/// What is left of a refusal when the names that it was asked about are taken out.
pub(super) fn told(answer: &Answer, names: &[&str]) -> String {
    let mut problem = answer.json();
    problem.as_object_mut().unwrap().remove("requestId");
    let headers: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.iter().fold(format!("{headers:?} {problem}"), |text, name| text.replace(name, "NAME"))
}
