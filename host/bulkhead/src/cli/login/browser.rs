//! `bulkhead login --browser`: the authorization code flow with PKCE (RFC 7636), answered on loopback (RFC 8252).
//!
//! Must never: listen for other machines, take an answer to a question that this run did not ask, or show what came back as it came.

use super::super::failure::Complaint;
use super::provider::{Gained, Provider};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bulkhead_core::code::Code;
use oauth2::{AuthorizationCode, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use serde::Deserialize;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// How long somebody may take in the browser.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long the page may take to reach the browser once the answer is here.
const PAGE_TIME_MAX: Duration = Duration::from_secs(2);

/// What the browser brings back.
#[derive(Debug, Deserialize)]
struct Answer {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    iss: Option<String>,
}

/// What an answer is held against.
struct Asked {
    state: String,
    issuer: String,
    answers: mpsc::Sender<Answer>,
}

/// Logs in by a browser on this machine.
///
/// # Errors
/// [`Code::LoginFailed`] where the provider refuses, or nobody answers in time.
pub(super) async fn login(provider: &Provider) -> anyhow::Result<Gained> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let back = format!("http://{}/callback", listener.local_addr()?);
    let flows = provider.flows(None)?.set_redirect_uri(RedirectUrl::new(back)?);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let request = flows.authorize_url(CsrfToken::new_random).map_err(|_| provider.not_offered("in a browser"))?;
    let scopes = provider.scopes.iter().cloned().map(Scope::new);
    let (url, state) = request.add_scopes(scopes).set_pkce_challenge(challenge).url();

    let (sender, mut answers) = mpsc::channel(1);
    let asked = Asked { state: state.into_secret(), issuer: provider.issuer.clone(), answers: sender };
    let pages = Router::new().route("/callback", get(callback)).with_state(Arc::new(asked));
    let (end, ended) = oneshot::channel::<()>();
    let until = async { drop(ended.await) };
    let serving = tokio::spawn(async move { axum::serve(listener, pages).with_graceful_shutdown(until).await });
    show(url.as_str());
    let answer = tokio::time::timeout(PATIENCE, answers.recv()).await;
    let gained = match answer {
        Ok(Some(answer)) => exchange(provider, &flows, answer, verifier).await,
        _ => Err(Complaint::new(Code::LoginFailed, "nobody logged in within ten minutes; run it again").into()),
    };
    drop(end);
    // The page may still be on its way; a browser may also keep a connection that it never uses.
    _ = tokio::time::timeout(PAGE_TIME_MAX, serving).await;
    gained
}

/// The token for what the browser brought back.
async fn exchange(
    provider: &Provider,
    flows: &super::provider::Flows,
    answer: Answer,
    verifier: oauth2::PkceCodeVerifier,
) -> anyhow::Result<Gained> {
    let Some(code) = answer.code else {
        let why = [answer.error, answer.error_description].into_iter().flatten().collect::<Vec<_>>().join(": ");
        let detail = format!("the identity provider {} did not log you in: {why}", provider.issuer);
        return Err(Complaint::new(Code::LoginFailed, detail).into());
    };
    let request = flows.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
    let answer = request.request_async(&provider.http).await.map_err(|error| provider.failed(error))?;
    Ok(provider.gained(&answer, None))
}

async fn callback(State(asked): State<Arc<Asked>>, Query(answer): Query<Answer>) -> impl IntoResponse {
    let ours = answer.state.as_deref() == Some(asked.state.as_str())
        && answer.iss.as_deref().is_none_or(|issuer| issuer == asked.issuer);
    // Anything else on this machine may call here: what does not know the state is not the answer, and the wait goes on.
    let (status, words) = match (ours, answer.code.is_some()) {
        (false, _) => (StatusCode::BAD_REQUEST, "This is not the login that was waited for."),
        (true, true) => (StatusCode::OK, "You may close this page: the terminal goes on."),
        (true, false) => (StatusCode::OK, "You are not logged in: the terminal says why."),
    };
    if ours {
        // A second answer has nobody who waits for it.
        _ = asked.answers.try_send(answer);
    }
    let page = format!("<!doctype html><meta charset=utf-8><title>Bulkhead</title><p>{words}</p>");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONNECTION, "close"),
    ];
    (status, headers, page)
}

/// Prints where to go, and opens it where there is a browser.
fn show(url: &str) {
    // Standard output is for what comes of the login.
    _ = writeln!(anstream::stderr(), "Log in at this address, in a browser on this machine:\n\n  {url}\n");
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let opener = match std::env::consts::OS {
        "macos" => "open",
        _ if display => "xdg-open",
        _ => return,
    };
    // Where it does not open, the address is printed.
    _ = Command::new(opener).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}
