//! One provider: its keys as last fetched, when to fetch them again, and the check of its tokens.
//!
//! Keys are fetched in the background. A token with an unknown key's id may cause a fetch as well: one at a time, whose answer all
//! that wait then share, and none sooner than the pause after the one before. While the provider is away, the keys last fetched
//! go on being used, up to a bound.
//! Must never: hold a request up for longer than one fetch takes, or refuse a token because of a provider's absence with the words for a bad one.

use super::OidcConfig;
use super::claims::{Claims, principal};
use super::fetch::Fetcher;
use super::keys::{KID_BYTES_MAX, Ring};
use crate::folder::OpenError;
use crate::token::Principal;
use crate::token::verify::{Refused, invalid, refused};
use bulkhead_core::code::Code;
use jsonwebtoken::Validation;
use parking_lot::RwLock;
use prometheus::IntCounterVec;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Clocks of three machines may differ by this much.
pub(super) const LEEWAY_S: u64 = 30;

/// See the module's documentation.
pub(crate) struct Provider {
    config: OidcConfig,
    issuer: Arc<str>,
    fetcher: Fetcher,
    kept: RwLock<Option<Kept>>,
    /// When the last fetch began; held by the one that is under way.
    began: Mutex<Option<Instant>>,
    /// By outcome.
    fetches: IntCounterVec,
}

#[derive(Clone)]
struct Kept {
    ring: Arc<Ring>,
    at: Instant,
}

impl Provider {
    /// A provider whose keys nobody has fetched yet.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] where it cannot be one.
    pub(crate) fn new(config: OidcConfig, fetches: IntCounterVec) -> Result<Arc<Self>, OpenError> {
        let bad = |why: String| OpenError::new(Code::ConfigInvalid, format!("the issuer `{}`: {why}", config.issuer));
        let fetcher = Fetcher::new(&config).map_err(bad)?;
        if config.audience.is_empty() {
            return Err(bad("name the audience that its tokens must have".to_owned()));
        }
        let issuer = Arc::from(config.issuer.as_str());
        let (kept, began) = (RwLock::new(None), Mutex::new(None));
        Ok(Arc::new(Self { config, issuer, fetcher, kept, began, fetches }))
    }

    /// The `iss` of its tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The principal that one of its tokens proves.
    ///
    /// # Errors
    /// [`Code::ProviderAway`] where there are no keys to check it with; else what is wrong with it.
    pub(crate) async fn verify(&self, token: &str) -> Result<Principal, Refused> {
        let unreadable = invalid("the token is not a JWT that the identity provider makes; log in again");
        let header = jsonwebtoken::decode_header(token).map_err(|_| unreadable)?;
        if header.crit.is_some() {
            return Err(invalid("the token asks for extensions that this server does not know; log in again"));
        }
        let kid = header.kid.as_deref().filter(|kid| (1..=KID_BYTES_MAX).contains(&kid.len())).ok_or(invalid(
            "the token does not say which key signed it; the provider's administrator turns key ids on",
        ))?;
        let ring = self.ring_with(kid).await?;
        let key = ring.find(kid).ok_or(invalid(
            "the identity provider has no such key any more, or not yet; log in again, or try in a few seconds",
        ))?;
        // The algorithm is the key's, not the token's.
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        let data = jsonwebtoken::decode::<Claims>(token, &key.key, &validation).map_err(|error| refused(&error))?;
        principal(data.claims, token, &self.issuer, &self.config)
    }

    /// Keys that may be used, with this one among them if the provider has it and may be asked now.
    async fn ring_with(&self, kid: &str) -> Result<Arc<Ring>, Refused> {
        let seen = self.fetched_at();
        if let Some(kept) = self.usable().filter(|kept| kept.ring.find(kid).is_some()) {
            return Ok(kept.ring);
        }
        self.fetch_if_due(seen).await;
        let away = Refused {
            code: Code::ProviderAway,
            detail: "the identity provider of this token cannot be asked for its keys; try again in a moment",
        };
        self.usable().map(|kept| kept.ring).ok_or(away)
    }

    fn fetched_at(&self) -> Option<Instant> {
        self.kept.read().as_ref().map(|kept| kept.at)
    }

    fn usable(&self) -> Option<Kept> {
        self.kept.read().clone().filter(|kept| kept.at.elapsed() <= self.config.keys_kept)
    }

    /// Fetches, unless somebody has since the caller saw the keys of `seen`, or the pause is not over. Gives whether a fetch failed.
    async fn fetch_if_due(&self, seen: Option<Instant>) -> bool {
        let mut began = self.began.lock().await;
        let newer = self.fetched_at() != seen;
        if newer || began.is_some_and(|at| at.elapsed() < self.config.refetch_pause) {
            return false;
        }
        // Before it is done: a client that goes away must not make the next one ask at once.
        *began = Some(Instant::now());
        let fetched = self.fetcher.keys().await;
        let outcome = if fetched.is_ok() { "fetched" } else { "failed" };
        self.fetches.with_label_values(&[outcome]).inc();
        match fetched {
            Ok(ring) => {
                tracing::debug!(issuer = self.issuer(), keys = ring.len(), "fetched the identity provider's keys");
                *self.kept.write() = Some(Kept { ring: Arc::new(ring), at: Instant::now() });
                false
            }
            Err(cause) => {
                self.warn(&cause);
                true
            }
        }
    }

    fn warn(&self, cause: &str) {
        let (issuer, code) = (self.issuer(), Code::ProviderAway);
        match self.usable() {
            Some(kept) => {
                let age_s = kept.at.elapsed().as_secs();
                tracing::warn!(issuer, %code, cause, age_s, "the identity provider is away; its keys of then go on being used");
            }
            None => {
                tracing::warn!(issuer, %code, cause, "the identity provider is away; its tokens are refused until it answers")
            }
        }
    }

    /// Keeps the keys fresh until `stop`.
    pub(crate) async fn keep_fresh(&self, stop: &CancellationToken) {
        loop {
            let failed = self.fetch_if_due(self.fetched_at()).await;
            // Where a request has just fetched them, or has just failed to, the next look is soon.
            let fresh_for = self.fetched_at().map(|at| self.config.refresh_every.saturating_sub(at.elapsed()));
            let fresh_for = fresh_for.unwrap_or_default();
            let wait = if failed { self.config.refetch_pause } else { fresh_for.max(self.config.refetch_pause) };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
