//! A client of control's HTTP API, for workers, the demo and the command line.
//!
//! Must never: follow a redirect with a token in hand, or put a token into an error.

use anyhow::Context;
use bulkhead_core::assignment::{Assignment, PipelineKey, ReportAnswer, WorkerReport};
use bulkhead_core::log_line::WorkerLines;
use bulkhead_core::name::{ModuleDigest, TenantId};
use bulkhead_core::secret::Lent;
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// How long a call may take, a long poll's wait left out.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a module may take to arrive.
const MODULE_TIMEOUT: Duration = Duration::from_secs(120);

/// Where a client's token comes from.
#[derive(Clone)]
pub(crate) enum TokenSource {
    /// The same always.
    Fixed(String),
    /// Read at every call, so that it can be renewed.
    File(PathBuf),
    /// Minted at every call, within control's own process.
    Minted(std::sync::Arc<dyn Fn() -> anyhow::Result<String> + Send + Sync>),
}

impl TokenSource {
    fn token(&self) -> anyhow::Result<String> {
        match self {
            Self::Fixed(token) => Ok(token.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading the token in {}", path.display()))?;
                Ok(text.trim().to_owned())
            }
            Self::Minted(mint) => mint(),
        }
    }
}

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: TokenSource,
}

impl Client {
    /// A client of the control at `base`, for instance `http://127.0.0.1:7070`, that believes these authorities instead of the system's
    /// where there are any.
    ///
    /// # Errors
    /// Where the system has no room for one, or no authorities to believe.
    pub(crate) fn new(base: &str, token: TokenSource, authorities: &[Certificate]) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = crate::tls::believing(builder, base, authorities).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token })
    }

    /// The same control with another token.
    pub(crate) fn with_token(&self, token: String) -> Self {
        Self { token: TokenSource::Fixed(token), ..self.clone() }
    }

    /// A request, with the token and a time limit.
    pub(crate) fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let url = format!("{}{path}", self.base);
        Ok(self.http.request(method, url).bearer_auth(self.token.token()?).timeout(CALL_TIMEOUT))
    }

    /// A request without a token, for what is told to anybody.
    pub(crate) fn plain(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).timeout(CALL_TIMEOUT)
    }

    /// The assignment of a worker with its tag, if it is another than the one tagged `known`; waits up to `wait` for one.
    pub(crate) async fn assignment(
        &self,
        worker: &str,
        known: Option<&str>,
        wait: Duration,
    ) -> anyhow::Result<Option<(String, Assignment)>> {
        let path = format!("/internal/v1/assignment?worker={worker}&wait={}", wait.as_secs());
        let mut request = self.request(Method::GET, &path)?.timeout(CALL_TIMEOUT + wait);
        if let Some(tag) = known {
            request = request.header("if-none-match", tag);
        }
        let response = request.send().await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let response = accepted(response).await?;
        let tag = response.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
        Ok(Some((tag, response.json().await?)))
    }

    /// Tells control how this worker fares.
    pub(crate) async fn report(&self, report: &WorkerReport) -> anyhow::Result<ReportAnswer> {
        let answer = accepted(self.request(Method::POST, "/internal/v1/report")?.json(report).send().await?).await?;
        let answer = answer.bytes().await?;
        Ok(if answer.is_empty() { ReportAnswer::default() } else { serde_json::from_slice(&answer)? })
    }

    /// Hands over lines of stages.
    pub(crate) async fn logs(&self, lines: &WorkerLines) -> anyhow::Result<()> {
        accepted(self.request(Method::POST, "/internal/v1/logs")?.json(lines).send().await?).await?;
        Ok(())
    }

    /// The secrets that a pipeline is granted.
    pub(crate) async fn secrets(&self, key: &PipelineKey) -> anyhow::Result<Lent> {
        let PipelineKey { tenant, project, pipeline } = key;
        let path = format!("/internal/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/secrets");
        let answer = accepted(self.request(Method::GET, &path)?.send().await?).await?.bytes().await?;
        // The error of the JSON reader may hold a part of what it read.
        serde_json::from_slice(&answer).map_err(|_| anyhow::anyhow!("control's answer is not a pipeline's secrets"))
    }

    /// The bytes of a module.
    pub(crate) async fn module(&self, tenant: &TenantId, digest: &ModuleDigest) -> anyhow::Result<Vec<u8>> {
        let path = format!("/internal/v1/modules/{tenant}/{digest}");
        let response = self.request(Method::GET, &path)?.timeout(MODULE_TIMEOUT).send().await?;
        Ok(accepted(response).await?.bytes().await?.to_vec())
    }
}

/// What control answered when it did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The answer's status.
    pub(crate) status: StatusCode,
    /// The problem as control wrote it; `null` where the answer was none, for instance of something between here and control.
    pub(crate) problem: Value,
}

impl Refused {
    /// A text of the problem, for instance `detail`.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.problem[field].as_str()
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.text("code"), self.text("detail")) {
            (Some(code), Some(detail)) => write!(f, "{code}: {detail}")?,
            _ => write!(f, "control answered {}", self.status)?,
        }
        self.problem.get("errors").map_or(Ok(()), |errors| write!(f, " {errors}"))
    }
}

impl std::error::Error for Refused {}

/// The response if it is a success.
///
/// # Errors
/// [`Refused`] if it is not.
pub(crate) async fn accepted(response: Response) -> anyhow::Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    Err(Refused { status, problem: serde_json::from_str(&text).unwrap_or_default() }.into())
}
