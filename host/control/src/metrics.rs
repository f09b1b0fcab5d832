//! What control counts, in the registry that it is given.
//!
//! Labels are route templates, methods, status classes and codes: their number is fixed when the program is built. Only what is about tenants
//! has their names, which platform admins choose, and at most [`TENANTS_MAX`] of them.
//! Must never: use a path or anything else that a client chooses as a label.

use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};
use std::time::Duration;

/// Tenants that have series of their own.
const TENANTS_MAX: usize = 1_000;

/// The counters.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    tokens_refused: IntCounterVec,
    leftovers: IntGauge,
    key_fetches: IntCounterVec,
    limited: IntCounterVec,
    month: GaugeVec,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// Where the registry has metrics of these names already.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("bulkhead_http_requests_total", "HTTP requests by route template, method and status class."),
                &["route", "method", "class"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "bulkhead_http_request_seconds",
                    "Seconds to the response's head, by route template.",
                )
                .buckets(vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]),
                &["route"],
            )?,
            tokens_refused: IntCounterVec::new(
                Opts::new("bulkhead_tokens_refused_total", "Requests without an acceptable token, by code."),
                &["code"],
            )?,
            leftovers: IntGauge::new(
                "bulkhead_control_leftovers",
                "Deletions whose work in the log or the object store is not done yet.",
            )?,
            key_fetches: IntCounterVec::new(
                Opts::new("bulkhead_oidc_key_fetches_total", "Fetches of identity providers' keys, by outcome."),
                &["outcome"],
            )?,
            limited: IntCounterVec::new(
                Opts::new("bulkhead_http_limited_total", "Requests refused since there were too many, by code."),
                &["code"],
            )?,
            month: GaugeVec::new(
                Opts::new(
                    "bulkhead_month_fuel_used_ratio",
                    "Part of its month's fuel that a tenant has used, of those that have a limit.",
                ),
                &["tenant"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.tokens_refused.clone()))?;
        registry.register(Box::new(metrics.leftovers.clone()))?;
        registry.register(Box::new(metrics.key_fetches.clone()))?;
        registry.register(Box::new(metrics.limited.clone()))?;
        registry.register(Box::new(metrics.month.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn request(&self, route: &str, method: &str, status: u16, took: Duration) {
        let class = match status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[route, method, class]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    pub(crate) fn token_refused(&self, code: Code) {
        self.tokens_refused.with_label_values(&[code.id()]).inc();
    }

    pub(crate) fn limited(&self, code: Code) {
        self.limited.with_label_values(&[code.id()]).inc();
    }

    /// What providers count in, by outcome.
    pub(crate) fn key_fetches(&self) -> IntCounterVec {
        self.key_fetches.clone()
    }

    /// What part of its month's fuel each tenant has used that has a limit; of the others nothing is shown.
    pub(crate) fn month(&self, parts: &[(TenantId, f64)]) {
        self.month.reset();
        for (tenant, part) in parts.iter().take(TENANTS_MAX) {
            self.month.with_label_values(&[tenant.as_str()]).set(*part);
        }
    }

    pub(crate) fn leftovers(&self, count: usize) {
        self.leftovers.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
