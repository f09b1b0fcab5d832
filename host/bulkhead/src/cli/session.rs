//! A command's way to the API: its settings, a client with the token, and paths below the tenant and the project.
//!
//! Must never: send a token to another server than the one that it was stored for.

use super::config::{Connection, Settings};
use super::failure::Complaint;
use super::login;
use super::output::{self, Format};
use crate::client::{Client, accepted};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_core::code::Code;
use bulkhead_core::name::{ProjectId, TenantId};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// Entries asked for in one page of a list: the most that the API gives.
const PAGE: &str = "1000";
/// How often a request is sent again that was one too many, and for how many seconds it waits each time at most.
const PATIENCE: usize = 5;
const WAIT_S_MAX: u64 = 10;

/// See the module's documentation.
pub(crate) struct Session {
    pub(crate) client: Client,
    settings: Settings,
    tenant: Option<TenantId>,
}

impl Session {
    /// A session for these flags.
    ///
    /// # Errors
    /// Where the config file, the server's address or the token cannot be used.
    pub(crate) fn open(connection: &Connection) -> anyhow::Result<Self> {
        let settings = Settings::of(connection)?;
        let token = settings.token()?;
        let tenant = settings.tenant.clone().or_else(|| tenant_of(&token));
        let source = login::source(connection, &settings, token);
        let client = Client::new(&settings.server, source, &settings.authorities()?)?;
        Ok(Self { client, settings, tenant })
    }

    /// Where control is.
    pub(crate) fn server(&self) -> &str {
        &self.settings.server
    }

    /// Whether answers are for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.settings.output == Format::Json
    }

    /// The path of something of the tenant, for instance `/topics`.
    ///
    /// # Errors
    /// [`Code::CliConfigInvalid`] where nothing names the tenant.
    pub(crate) fn of_tenant(&self, rest: &str) -> anyhow::Result<String> {
        Ok(format!("/api/v1/tenants/{}{rest}", self.tenant()?))
    }

    /// Whose things.
    ///
    /// # Errors
    /// [`Code::CliConfigInvalid`] where nothing says.
    pub(crate) fn tenant(&self) -> anyhow::Result<&TenantId> {
        let detail = "nothing names the tenant: give --tenant, set BULKHEAD_TENANT, or log in with a tenant's token";
        Ok(self.tenant.as_ref().ok_or_else(|| Complaint::new(Code::CliConfigInvalid, detail))?)
    }

    /// In which project.
    pub(crate) fn project(&self) -> &ProjectId {
        &self.settings.project
    }

    /// The path of something of the project, for instance `/pipelines`.
    ///
    /// # Errors
    /// As [`Session::of_tenant`].
    pub(crate) fn of_project(&self, rest: &str) -> anyhow::Result<String> {
        self.of_tenant(&format!("/projects/{}{rest}", self.settings.project))
    }

    /// Sends a request and gives the answer; an empty one is `null`. One that is refused since there were too many is sent again when its
    /// answer says so: nothing was done with it.
    ///
    /// # Errors
    /// [`Refused`](crate::client::Refused); the HTTP client's, where there is no answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = accepted(patiently(request).await?).await?;
        let bytes = response.bytes().await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| self.unreadable())
    }

    fn unreadable(&self) -> anyhow::Error {
        let detail = format!("{} answered with something that is not JSON; check --server", self.server());
        Complaint::new(Code::AnswerUnreadable, detail).into()
    }

    /// What is at a path.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(self.client.request(Method::GET, path)?).await
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.client.request(Method::POST, path)?.json(body)).await
    }

    /// Deletes what is at a path.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.send(self.client.request(Method::DELETE, path)?).await
    }

    /// All entries of a list, page by page, as one answer: `{"items": […], "next": null}`. At most `most` of them, where that is given.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub(crate) async fn list(
        &self,
        path: &str,
        query: &[(&str, String)],
        most: Option<usize>,
    ) -> anyhow::Result<Value> {
        let (mut items, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut query = query.to_vec();
            let page = most.map_or(PAGE.to_owned(), |most| (most - items.len()).clamp(1, 1_000).to_string());
            query.push(("limit", page));
            query.extend(after.map(|after| ("after", after)));
            let mut answer = self.get(&with_query(path, &query)).await?;
            let Value::Array(more) = answer["items"].take() else { return Err(self.unreadable()) };
            items.extend(more);
            after = answer["next"].as_str().map(str::to_owned);
            let full = most.is_some_and(|most| items.len() >= most);
            if after.is_none() || full {
                return Ok(serde_json::json!({"items": items, "next": after}));
            }
        }
    }

    /// Prints an answer: as it is for programs, and as `people` does for people.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(crate) fn show(&self, answer: &Value, people: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        if self.is_json() { output::json(answer) } else { people() }
    }

    /// Says that something was done; programs see it in the exit code, or in the answer where there is one.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(crate) fn done(&self, answer: &Value, words: &str) -> anyhow::Result<()> {
        match (self.is_json(), answer) {
            (true, Value::Null) => Ok(()),
            (true, answer) => output::json(answer),
            (false, _) => output::line(words),
        }
    }
}

/// A path with a query, escaped.
pub(crate) fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let url = reqwest::Url::parse_with_params("http://localhost/", query);
    match url.ok().as_ref().and_then(reqwest::Url::query).filter(|text| !text.is_empty()) {
        Some(text) => format!("{path}?{text}"),
        None => path.to_owned(),
    }
}

/// The items of a list.
pub(crate) fn items(answer: &Value) -> &[Value] {
    answer["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Sends a request, again after each refusal that says when there will be room, but not for ever. What is read from a stream is sent once.
async fn patiently(request: RequestBuilder) -> anyhow::Result<Response> {
    for _ in 0..PATIENCE {
        let Some(copy) = request.try_clone() else { break };
        let response = copy.send().await?;
        let Some(wait) = told_to_wait(response.status(), response.headers()) else { return Ok(response) };
        tokio::time::sleep(wait).await;
    }
    Ok(request.send().await?)
}

/// How long a refused request should wait; `None` where it was not refused for coming too often, or the wait is too long for a person.
fn told_to_wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let after: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    (status == StatusCode::TOO_MANY_REQUESTS && after <= WAIT_S_MAX).then(|| Duration::from_secs(after))
}

/// The tenant that a token names. Nothing is proven by it: it is only what its bearer most likely means.
fn tenant_of(token: &str) -> Option<TenantId> {
    let claims = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims["tenant"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_escaped() {
        let time = "2026-01-31T12:00:00+01:00".to_owned();
        assert_eq!(with_query("/x", &[("from", time)]), "/x?from=2026-01-31T12%3A00%3A00%2B01%3A00");
        assert_eq!(with_query("/x", &[]), "/x");
    }

    #[test]
    fn only_a_refusal_that_says_when_there_is_room_is_waited_for() {
        let after = |text: &str| HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
        let many = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(told_to_wait(many, &after("2")), Some(Duration::from_secs(2)));
        assert_eq!(told_to_wait(many, &after("3600")), None);
        assert_eq!(told_to_wait(many, &HeaderMap::new()), None);
        assert_eq!(told_to_wait(StatusCode::SERVICE_UNAVAILABLE, &after("2")), None);
    }

    #[test]
    fn a_token_says_whose_it_is_and_anything_else_says_nothing() {
        let token = format!("x.{}.y", URL_SAFE_NO_PAD.encode(r#"{"tenant":"acme"}"#));
        assert_eq!(tenant_of(&token).unwrap().as_str(), "acme");
        for other in ["", "a.b.c", "x.e30.y"] {
            assert_eq!(tenant_of(other), None);
        }
    }
}
