//! The identity provider as `bulkhead login` sees it: found by way of the server, asked for tokens.
//!
//! Must never: speak unencrypted with another machine, follow a redirect with a secret in hand, or put a token into an error.

use super::super::config::{Login, Settings};
use super::super::failure::Complaint;
use crate::client::{Client, accepted};
use bulkhead_core::code::Code;
use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::url::{Url, form_urlencoded};
use oauth2::{
    AsyncHttpClient, AuthUrl, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, ErrorResponse, HttpRequest, HttpResponse, RefreshToken, RequestTokenError, TokenResponse, TokenUrl,
};
use reqwest::Method;
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::Value;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a server says how to log in.
const LOGIN: &str = "/api/v1/login";
/// How long one request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The life of a token whose provider does not tell it, in seconds.
const LIFE_UNTOLD_S: u64 = 60;

/// What a server offers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    issuer: Option<String>,
    client_id: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
}

/// What is read of a discovery document.
#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
}

/// `oauth2`'s client, with what this provider has.
pub(super) type Flows = BasicClient<EndpointMaybeSet, EndpointMaybeSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// See the module's documentation.
pub(super) struct Provider {
    pub(super) http: Http,
    pub(super) issuer: String,
    pub(super) scopes: Vec<String>,
    client: String,
    discovery: Discovery,
}

/// What a login gave.
pub(super) struct Gained {
    pub(super) token: String,
    pub(super) login: Login,
}

impl Provider {
    /// The provider that the server names. `client` is what to introduce oneself as, instead of what the server says.
    ///
    /// # Errors
    /// [`Code::LoginNotOffered`] where the server names none; where server or provider cannot be reached or believed.
    pub(super) async fn offered_by(server: &Client, settings: &Settings, client: Option<&str>) -> anyhow::Result<Self> {
        let offer: Offer = accepted(server.plain(Method::GET, LOGIN).send().await?).await?.json().await?;
        let none = || Complaint::new(Code::LoginNotOffered, "this server names no identity provider to log in at");
        let issuer = offer.issuer.ok_or_else(none)?;
        let client = client.map(str::to_owned).or(offer.client_id).ok_or_else(none)?;
        let mut provider = Self::found(&issuer, &client, settings).await?;
        provider.scopes = offer.scopes;
        Ok(provider)
    }

    /// The provider of this issuer.
    ///
    /// # Errors
    /// Where it cannot be reached or believed.
    pub(super) async fn found(issuer: &str, client: &str, settings: &Settings) -> anyhow::Result<Self> {
        believable(issuer)?;
        let http = Http::new(issuer, settings)?;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let answer = http.get(&url).await.map_err(|error| away(issuer, &error))?;
        let unreadable = || {
            let detail = format!("{url} is not an identity provider's document; ask the server's operator");
            Complaint::new(Code::AnswerUnreadable, detail)
        };
        if answer.status().as_u16() != 200 {
            return Err(unreadable().into());
        }
        let discovery: Discovery = serde_json::from_slice(answer.body()).map_err(|_| unreadable())?;
        if discovery.issuer != issuer {
            return Err(unreadable().into());
        }
        let endpoints = [&discovery.authorization_endpoint, &discovery.device_authorization_endpoint];
        for url in
            endpoints.into_iter().flatten().chain([&discovery.token_endpoint]).chain(&discovery.revocation_endpoint)
        {
            believable(url)?;
        }
        Ok(Self { http, issuer: issuer.to_owned(), scopes: Vec::new(), client: client.to_owned(), discovery })
    }

    /// The flows of this provider, with a secret where the client has one.
    pub(super) fn flows(&self, secret: Option<String>) -> anyhow::Result<Flows> {
        let found = &self.discovery;
        let browser = found.authorization_endpoint.clone().map(AuthUrl::new).transpose()?;
        let device = found.device_authorization_endpoint.clone().map(DeviceAuthorizationUrl::new).transpose()?;
        let flows = BasicClient::new(ClientId::new(self.client.clone()))
            .set_auth_uri_option(browser)
            .set_device_authorization_url_option(device)
            .set_token_uri(TokenUrl::new(found.token_endpoint.clone())?);
        Ok(match secret {
            Some(secret) => flows.set_client_secret(ClientSecret::new(secret)),
            None => flows,
        })
    }

    /// What is to be kept of an answer with a token. A provider that gives no new refresh token means the one before to go on.
    pub(super) fn gained(&self, answer: &BasicTokenResponse, before: Option<&str>) -> Gained {
        let life = answer.expires_in().map_or(LIFE_UNTOLD_S, |life| life.as_secs());
        let refresh = answer.refresh_token().map(|token| token.secret().as_str()).or(before);
        let login = Login {
            issuer: self.issuer.clone(),
            client: self.client.clone(),
            refresh: refresh.map(str::to_owned),
            expires: now_s().saturating_add(i64::try_from(life).unwrap_or(i64::MAX)),
        };
        Gained { token: answer.access_token().secret().clone(), login }
    }

    /// A new token for a refresh token.
    ///
    /// # Errors
    /// [`Code::LoginEnded`] where the provider gives none any more.
    pub(super) async fn renew(&self, refresh: &str, server: &str) -> anyhow::Result<Gained> {
        let refresh_token = RefreshToken::new(refresh.to_owned());
        let answer = self.flows(None)?.exchange_refresh_token(&refresh_token).request_async(&self.http).await;
        match answer {
            Ok(answer) => Ok(self.gained(&answer, Some(refresh))),
            Err(RequestTokenError::ServerResponse(told)) => {
                let detail = format!(
                    "the login at {} has ended ({told}); log in again with `bulkhead login --browser {server}` or `--device`",
                    self.issuer
                );
                Err(Complaint::new(Code::LoginEnded, detail).into())
            }
            Err(other) => Err(self.failed(other)),
        }
    }

    /// Ends a login at the provider, if it has a way to.
    ///
    /// # Errors
    /// Where it does not do so.
    pub(super) async fn revoke(&self, refresh: &str) -> anyhow::Result<()> {
        let Some(url) = &self.discovery.revocation_endpoint else { return Ok(()) };
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("client_id", self.client.as_str()),
                ("token_type_hint", "refresh_token"),
                ("token", refresh),
            ])
            .finish();
        let request = oauth2::http::Request::post(url).header("content-type", "application/x-www-form-urlencoded");
        let answer =
            self.http.call(request.body(form.into_bytes())?).await.map_err(|error| away(&self.issuer, &error))?;
        anyhow::ensure!(answer.status().is_success(), "the identity provider answered {}", answer.status());
        Ok(())
    }

    /// Why a provider gave no token.
    pub(super) fn failed<E: ErrorResponse + 'static>(&self, error: RequestTokenError<io::Error, E>) -> anyhow::Error {
        match error {
            RequestTokenError::ServerResponse(told) => {
                let detail = format!("the identity provider {} gave no token: {told}", self.issuer);
                Complaint::new(Code::LoginFailed, detail).into()
            }
            RequestTokenError::Request(error) => away(&self.issuer, &error),
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                let detail = format!("the identity provider {} answered something that is no token", self.issuer);
                Complaint::new(Code::AnswerUnreadable, detail).into()
            }
        }
    }

    /// That the provider has no such way to log in.
    pub(super) fn not_offered(&self, way: &str) -> anyhow::Error {
        let detail = format!("the identity provider {} offers no login {way}", self.issuer);
        Complaint::new(Code::LoginNotOffered, detail).into()
    }
}

/// Seconds since the epoch.
pub(super) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn away(issuer: &str, error: &io::Error) -> anyhow::Error {
    let detail = format!("the identity provider {issuer} cannot be reached: {error}; try again when it is back");
    Complaint::new(Code::ServerAway, detail).into()
}

/// Whether nobody on the way can read or answer what is sent there: it is encrypted, or stays on this machine.
fn believable(text: &str) -> anyhow::Result<()> {
    let url = Url::parse(text).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.as_ref().map(Url::scheme) {
        Some("https") => Ok(()),
        Some("http") if here => Ok(()),
        _ => {
            let detail = format!("`{text}` is no place to log in: it must be https://, or http:// on this machine");
            Err(Complaint::new(Code::LoginNotOffered, detail).into())
        }
    }
}

/// `oauth2`'s requests, sent by this program's HTTP client.
pub(super) struct Http(reqwest::Client);

impl Http {
    fn new(issuer: &str, settings: &Settings) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder().redirect(Policy::none()).timeout(REQUEST_TIME_MAX);
        let builder = match issuer.starts_with("https://") {
            // The provider's certificate may be of the server's authority, or of one that everybody knows.
            true => builder.tls_certs_merge(settings.authorities()?),
            false => builder.tls_certs_only([]).no_proxy(),
        };
        Ok(Self(builder.build()?))
    }

    async fn get(&self, url: &str) -> io::Result<HttpResponse> {
        self.call(oauth2::http::Request::get(url).body(Vec::new()).map_err(io::Error::other)?).await
    }

    async fn send(&self, request: HttpRequest) -> io::Result<HttpResponse> {
        let request = reqwest::Request::try_from(request).map_err(innermost)?;
        let mut answer = self.0.execute(request).await.map_err(innermost)?;
        let mut head = oauth2::http::Response::builder().status(answer.status());
        if let Some(headers) = head.headers_mut() {
            answer.headers().clone_into(headers);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(innermost)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::other("it answered far more than belongs there"));
            }
            body.extend_from_slice(&chunk);
        }
        head.body(body).map_err(io::Error::other)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<HttpResponse>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// The cause that says most: an HTTP client's own words are only that it failed, and where.
fn innermost(error: reqwest::Error) -> io::Error {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    io::Error::other(cause.to_string())
}

/// What the server knows of a token's bearer.
pub(super) async fn who(client: &Client) -> anyhow::Result<Value> {
    Ok(accepted(client.request(Method::GET, super::WHOAMI)?.send().await?).await?.json().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_logs_in_where_others_can_listen() {
        for good in ["https://id.example.com", "http://127.0.0.1:8080/realms/x", "http://[::1]/", "http://localhost:1"]
        {
            assert!(believable(good).is_ok(), "{good}");
        }
        for bad in ["http://id.example.com", "http://localhost.example.com", "javascript:alert(1)", "", "id"] {
            assert!(believable(bad).is_err(), "{bad}");
        }
    }
}
