//! Fetching a provider's discovery document and its keys.
//!
//! Must never: follow a redirect, show its own token to whom nobody has vouched for, speak unencrypted with another machine, read more than its bounds, or wait longer than them.

use super::OidcConfig;
use super::keys::Ring;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// How long one of the two requests may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a discovery document at most; Keycloak's has 7 KiB.
const DISCOVERY_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a key set at most; one key with its certificate has 3 KiB.
const KEYS_BYTES_MAX: usize = 512 * 1024;

/// Why nothing was fetched, for the operator's log.
pub(super) type Cause = String;

/// What is read of a discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// A key set; each key is looked at on its own, so that one of an unknown kind does not spoil the others.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Fetches from one provider.
pub(super) struct Fetcher {
    http: Client,
    issuer: String,
    discovery: Url,
    token_file: Option<PathBuf>,
    /// Whether only servers that a named authority vouches for are spoken with.
    pinned: bool,
}

impl Fetcher {
    /// A fetcher for the provider.
    ///
    /// # Errors
    /// A sentence where its issuer is no URL that can be believed, or its authorities are none.
    pub(super) fn new(config: &OidcConfig) -> Result<Self, String> {
        let issuer = believable(&config.issuer)?;
        if issuer.query().is_some() || issuer.fragment().is_some() {
            return Err("an issuer's URL has no `?` and no `#`".to_owned());
        }
        let discovery = format!("{}/.well-known/openid-configuration", config.issuer.trim_end_matches('/'));
        let discovery = Url::parse(&discovery).map_err(|error| error.to_string())?;
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(REQUEST_TIME_MAX)
            .user_agent("bulkhead");
        if let Some(pem) = &config.authorities {
            let found = Certificate::from_pem_bundle(pem).map_err(|_| "its authorities are not in PEM".to_owned())?;
            if found.is_empty() {
                return Err("its file of authorities holds no certificate".to_owned());
            }
            builder = builder.tls_certs_only(found);
        } else if issuer.scheme() == "http" {
            // A machine may have no authorities, and none are asked here, nor a proxy that would take this for its own.
            builder = builder.tls_certs_only([]).no_proxy();
        }
        let http = builder.build().map_err(|error| error.to_string())?;
        let (token_file, pinned) = (config.token_file.clone(), config.authorities.is_some());
        Ok(Self { http, issuer: config.issuer.clone(), discovery, token_file, pinned })
    }

    /// The provider's keys as they are now.
    ///
    /// # Errors
    /// Where it does not answer, or not as it must.
    pub(super) async fn keys(&self) -> Result<Ring, Cause> {
        let found: Discovery = self.json(self.discovery.clone(), DISCOVERY_BYTES_MAX).await?;
        if found.issuer != self.issuer {
            return Err(format!(
                "{} says that its issuer is `{}`; write --oidc-issuer exactly so, if that is the one meant",
                self.discovery, found.issuer
            ));
        }
        let keys = believable(&found.jwks_uri).map_err(|why| format!("its `jwks_uri` cannot be used: {why}"))?;
        if self.discovery.scheme() == "https" && keys.scheme() != "https" {
            return Err("its `jwks_uri` is not encrypted".to_owned());
        }
        let set: KeySet = self.json(keys, KEYS_BYTES_MAX).await?;
        let ring = Ring::of(&set.keys);
        if ring.is_empty() { Err("its key set holds no key that signs tokens".to_owned()) } else { Ok(ring) }
    }

    /// What is at a URL of the provider, of which no more than `bytes_max` is read.
    async fn json<T: DeserializeOwned>(&self, url: Url, bytes_max: usize) -> Result<T, Cause> {
        let shown = url.to_string();
        let failed = |error: reqwest::Error| format!("{shown}: {}", innermost(&error));
        // Kubernetes may name its API server by another address than the issuer's.
        let known = self.pinned || url.host_str() == self.discovery.host_str();
        let mut request = self.http.get(url).header("accept", "application/json");
        if let Some(file) = self.token_file.as_ref().filter(|_| known) {
            let token = tokio::fs::read_to_string(file).await;
            let token = token.map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
            request = request.bearer_auth(token.trim());
        }
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(format!("{shown} answered {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > bytes_max {
                return Err(format!("{shown} has more than {bytes_max} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| format!("{shown} is not what belongs there: {error}"))
    }
}

/// A URL whose answer is its owner's: encrypted, or of this machine.
fn believable(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a name or a password has no place in a provider's URL".to_owned());
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" if !host.is_empty() => Ok(url),
        "http" if here => Ok(url),
        _ => Err(format!("`{text}` must be https://, or http:// on this machine")),
    }
}

/// The cause that says most.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_encrypted_or_of_this_machine_is_believed() {
        for good in
            ["https://id.example.com/realms/x", "http://127.0.0.1:8080/x", "http://localhost", "http://[::1]:80/"]
        {
            assert!(believable(good).is_ok(), "{good}");
        }
        let bad = [
            "http://id.example.com",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "https://",
            "127.0.0.1",
            "",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com",
            "https://me:pw@id.example.com",
        ];
        for bad in bad {
            assert!(believable(bad).is_err(), "{bad}");
        }
    }
}
