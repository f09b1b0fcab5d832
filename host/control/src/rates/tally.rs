//! How a request's caller stands with its rates, told in the answer's headers.
//!
//! `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-10 has them: a list of named policies, `"tenant";q=1000;w=2`
//! for 1,000 requests at once that come back within 2 seconds, and how each stands, `"tenant";r=998;t=1` for 998 that are left and a full
//! bucket in a second. On a refusal also `Retry-After` (RFC 9110), in whole seconds, rounded up; the problem's `retryAfterMs` is exact.
//! Must never: be there for what was not counted.

use super::bucket::{Rate, Verdict};
use crate::problem::whole_seconds;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use parking_lot::Mutex;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What is known of one request. Clones are of the same request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    policies: String,
    limits: String,
    wait: Option<Duration>,
}

impl Tally {
    /// Whether the request was not counted yet.
    pub(super) fn is_new(&self) -> bool {
        self.told.lock().policies.is_empty()
    }

    pub(super) fn add(&self, whose: &str, rate: Rate, verdict: &Verdict) {
        let mut told = self.told.lock();
        let comma = if told.policies.is_empty() { "" } else { ", " };
        let (burst, window_s) = (rate.burst(), whole_seconds(rate.fills_in()));
        let left = match verdict {
            Verdict::Go(left) => *left,
            Verdict::Wait { wait, .. } => {
                told.wait = Some(*wait);
                0
            }
        };
        let missing = f64::from(burst - left.min(burst)) / f64::from(rate.per_second());
        let full_s = whole_seconds(Duration::from_secs_f64(missing));
        // Writing to a string cannot fail.
        let _ = write!(told.policies, "{comma}\"{whose}\";q={burst};w={window_s}");
        let _ = write!(told.limits, "{comma}\"{whose}\";r={left};t={full_s}");
    }

    /// Puts it into an answer's headers.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let told = self.told.lock();
        for (name, text) in [(POLICY, &told.policies), (LIMIT, &told.limits)] {
            if let Ok(value) = HeaderValue::from_str(text)
                && !text.is_empty()
            {
                headers.insert(name, value);
            }
        }
        if let Some(wait) = told.wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_is_named_with_how_it_stands() {
        let (tally, mut headers) = (Tally::default(), HeaderMap::new());
        tally.tell(&mut headers);
        assert!(headers.is_empty() && tally.is_new());
        tally.add("token", Rate::new(400, 800), &Verdict::Go(799));
        tally.add("tenant", Rate::new(500, 1_000), &Verdict::Wait { wait: Duration::from_millis(2), used: 501 });
        tally.tell(&mut headers);
        assert_eq!(headers["ratelimit-policy"], r#""token";q=800;w=2, "tenant";q=1000;w=2"#);
        assert_eq!(headers["ratelimit"], r#""token";r=799;t=1, "tenant";r=0;t=2"#);
        assert_eq!(headers["retry-after"], "1");
        assert!(!tally.is_new());
    }
}
