//! The HTTP API: a table of routes, a handler for each, and the edge around them all.
//!
//! [`table`](routes::table) is the only place where a route is made, so that what the tests walk is what is served. Handlers
//! are thin: their first argument is the [`Permit`](crate::policy::Permit) that says what they may do; the rest is translation.
//! Must never: give a handler another way to the metadata than through its permit.

mod access;
mod audit;
mod body;
mod dead_letters;
mod deploy;
mod describe;
mod edge;
mod entries;
mod erasures;
mod export;
mod extract;
mod health;
mod keys;
mod lend;
mod limits;
mod lives;
mod login;
mod logs;
mod modules;
mod openapi;
mod opened;
mod pages;
mod pipelines;
mod plans;
mod projects;
mod records;
mod repeat;
mod revisions;
mod routes;
mod rows;
mod sse;
mod stages;
mod tags;
mod tenants;
mod tokens;
mod too_often;
mod top;
mod topics;
mod upload;
mod usage;
mod uses;
mod whoami;
mod worker;

pub(crate) use edge::RequestId;
pub use openapi::openapi;
pub use routes::{Access, RouteInfo, routes};

use crate::anomalies::Anomalies;
use crate::blobs::Blobs;
use crate::config::ControlConfig;
use crate::counted::Counted;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::news::News;
use crate::paced::Paced;
use crate::policy::Policy;
use crate::port::{Modules, Topics, WriteParquet};
use crate::problem::Problem;
use crate::rates::Rates;
use crate::store::Gone;
use crate::token::Issuer;
use crate::watch::Samples;
use axum::Router;
use bulkhead_core::name::TenantId;
use bulkhead_core::turns::Turns;
use bulkhead_vault::Vault;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What handlers share. The metadata is not in it: see [`crate::policy`].
#[derive(Clone)]
pub(crate) struct App {
    inner: Arc<Inner>,
}

/// What an [`App`] is made of.
pub(crate) struct Parts {
    pub(crate) policy: Policy,
    pub(crate) generations: watch::Receiver<u64>,
    pub(crate) modules: Arc<dyn Modules>,
    pub(crate) topics: Arc<dyn Topics>,
    pub(crate) parquet: WriteParquet,
    pub(crate) blobs: Blobs,
    pub(crate) issuer: Issuer,
    pub(crate) signer: Issuer,
    pub(crate) config: ControlConfig,
    pub(crate) metrics: Metrics,
    pub(crate) anomalies: Anomalies,
    pub(crate) vault: Arc<Vault>,
    pub(crate) stop: CancellationToken,
}

struct Inner {
    parts: Parts,
    live: Live,
    samples: Samples,
    news: News,
    rates: Rates,
    uploads: Counted,
    /// Requests with an idempotency key that are under way.
    keys: Counted<(TenantId, String)>,
    /// Requests that write records.
    produces: Counted,
    /// Bytes that they write.
    written: Paced,
    /// Milliseconds of a core that looking at uploads takes.
    compiled: Paced,
    /// Streams of records and of log lines.
    streams: Counted,
    inspections: Turns<TenantId>,
    erasing: tokio::sync::Mutex<()>,
    /// The assignment of the newest generation that was asked for, as JSON: the pool's, and that of each tenant with workers of its own.
    assignment: tokio::sync::Mutex<HashMap<Option<TenantId>, (u64, Bytes)>>,
    /// Where the next request's records without a key go.
    next_partition: AtomicU32,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        let inner = Inner {
            live: Live::new(parts.config.report_fresh),
            samples: Samples::default(),
            news: News::default(),
            rates: Rates::default(),
            uploads: Counted::default(),
            keys: Counted::default(),
            produces: Counted::default(),
            written: Paced::default(),
            compiled: Paced::default(),
            streams: Counted::default(),
            inspections: Turns::new(parts.config.inspections_max),
            erasing: tokio::sync::Mutex::default(),
            assignment: tokio::sync::Mutex::default(),
            next_partition: AtomicU32::new(0),
            parts,
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.inner.parts.policy
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.parts.metrics
    }

    pub(crate) fn config(&self) -> &ControlConfig {
        &self.inner.parts.config
    }

    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.inner.parts.vault
    }

    pub(crate) fn topics(&self) -> &dyn Topics {
        &*self.inner.parts.topics
    }

    pub(crate) fn parquet(&self) -> WriteParquet {
        self.inner.parts.parquet
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.inner.parts.blobs
    }

    pub(crate) fn modules(&self) -> &dyn Modules {
        &*self.inner.parts.modules
    }

    /// Held by who erases.
    pub(crate) fn erasing(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.erasing
    }

    pub(crate) async fn has_left_pipeline(&self, gone: &Gone) -> Result<bool, Problem> {
        self.policy().has_left_pipeline(gone).await
    }

    pub(crate) fn behind(&self, generation: u64) -> bool {
        self.live().behind(generation)
    }

    pub(crate) fn issuer(&self) -> &Issuer {
        &self.inner.parts.issuer
    }

    /// What signs that which is no token.
    pub(crate) fn signer(&self) -> &Issuer {
        &self.inner.parts.signer
    }

    pub(crate) fn live(&self) -> &Live {
        &self.inner.live
    }

    /// What is unusual of pipelines.
    pub(crate) fn anomalies(&self) -> &Anomalies {
        &self.inner.parts.anomalies
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.inner.rates
    }

    /// What tenants store.
    pub(crate) fn samples(&self) -> &Samples {
        &self.inner.samples
    }

    fn stop(&self) -> &CancellationToken {
        &self.inner.parts.stop
    }
}

/// The whole API.
pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in routes::table() {
        router = router.route(route.info.path, route.serve(&app));
    }
    let edge = axum::middleware::from_fn_with_state(app.clone(), edge::edge);
    router.fallback(edge::no_such_route).layer(edge).with_state(app)
}
