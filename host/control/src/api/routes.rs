//! Every route, with who may use it and how long it may take.
//!
//! The table is both: what is served, and what `tests/all/walls.rs` walks with no token, another tenant's and too weak a one.
//! Must never: be bypassed; a route that is not here is not served.

use super::{
    App, audit, dead_letters, health, logs, modules, pages, pipelines, records, tenants, tokens, topics, upload, worker,
};
use crate::config::ControlConfig;
use crate::problem::Problem;
use crate::token::Role;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use bulkhead_core::code::Code;
use std::time::Duration;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token.
    Public,
    /// Platform admins.
    Platform,
    /// Whoever has this role in the tenant that the path names.
    Tenant(Role),
    /// The same, and platform admins.
    TenantOrPlatform(Role),
    /// Worker processes.
    Worker,
}

/// A route as people know it.
#[derive(Debug, Clone, Copy)]
pub struct RouteInfo {
    /// The method.
    pub method: &'static str,
    /// The template, for instance `/api/v1/tenants/{tenant}`.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
}

/// A route as it is served.
pub(super) struct Route {
    pub(super) info: RouteInfo,
    pub(super) service: MethodRouter<App>,
}

/// Every route there is.
pub fn routes() -> Vec<RouteInfo> {
    table(&ControlConfig::new("")).into_iter().map(|route| route.info).collect()
}

/// How long a route may take.
#[derive(Clone, Copy)]
enum Time {
    /// As long as any request.
    Request,
    /// It keeps limits of its own.
    Own,
}

pub(super) fn table(config: &ControlConfig) -> Vec<Route> {
    const VIEWER: Access = Access::Tenant(Role::Viewer);
    const DEVELOPER: Access = Access::Tenant(Role::Developer);
    const ADMIN: Access = Access::Tenant(Role::TenantAdmin);
    const TENANTS: &str = "/api/v1/tenants";
    const TENANT: &str = "/api/v1/tenants/{tenant}";
    const TOKENS: &str = "/api/v1/tenants/{tenant}/tokens";
    const AUDIT: &str = "/api/v1/tenants/{tenant}/audit";
    const MODULES: &str = "/api/v1/tenants/{tenant}/projects/{project}/modules";
    const MODULE: &str = "/api/v1/tenants/{tenant}/projects/{project}/modules/{module}";
    const PIPELINES: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines";
    const PIPELINE: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}";
    const PAUSE: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/pause";
    const RESUME: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/resume";
    const TOPICS: &str = "/api/v1/tenants/{tenant}/topics";
    const TOPIC: &str = "/api/v1/tenants/{tenant}/topics/{topic}";
    const RECORDS: &str = "/api/v1/tenants/{tenant}/topics/{topic}/records";

    const LETTERS: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/dead-letters";
    const LETTER: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/dead-letters/{letter}";
    const BUNDLE: &str =
        "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/dead-letters/{letter}/bundle";
    const REPLAY: &str =
        "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/dead-letters/{letter}/replay";
    const CONTENT: &str = "/api/v1/tenants/{tenant}/projects/{project}/modules/{module}/content";
    const LOGS: &str = "/api/v1/tenants/{tenant}/projects/{project}/logs";

    let time_max = config.request_time_max;
    let row = |method, path, access, time, service: MethodRouter<App>| {
        let service = match time {
            Time::Request => service.layer(from_fn(move |request, next| in_time(time_max, request, next))),
            Time::Own => service,
        };
        Route { info: RouteInfo { method, path, access }, service }
    };
    vec![
        row("GET", "/livez", Access::Public, Time::Request, get(health::livez)),
        row("GET", "/readyz", Access::Public, Time::Request, get(health::readyz)),
        row("GET", "/.well-known/jwks.json", Access::Public, Time::Request, get(tokens::key_set)),
        row("GET", "/api/v1/errors/{code}", Access::Public, Time::Request, get(pages::page)),
        row("GET", TENANTS, Access::Platform, Time::Request, get(tenants::list)),
        row("POST", TENANTS, Access::Platform, Time::Request, post(tenants::create)),
        row("GET", TENANT, Access::TenantOrPlatform(Role::Viewer), Time::Request, get(tenants::one)),
        row("DELETE", TENANT, Access::Platform, Time::Request, delete(tenants::delete)),
        row("POST", TOKENS, ADMIN, Time::Request, post(tokens::mint)),
        row("GET", AUDIT, ADMIN, Time::Request, get(audit::list)),
        row("GET", MODULES, VIEWER, Time::Request, get(modules::list)),
        row("GET", MODULE, VIEWER, Time::Request, get(modules::one)),
        row("PUT", MODULE, DEVELOPER, Time::Own, put(upload::put)),
        row("DELETE", MODULE, DEVELOPER, Time::Request, delete(modules::delete)),
        row("GET", PIPELINES, VIEWER, Time::Request, get(pipelines::list)),
        row("GET", PIPELINE, VIEWER, Time::Request, get(pipelines::one)),
        row("PUT", PIPELINE, DEVELOPER, Time::Request, put(pipelines::apply)),
        row("DELETE", PIPELINE, DEVELOPER, Time::Request, delete(pipelines::delete)),
        row("POST", PAUSE, DEVELOPER, Time::Request, post(pipelines::pause)),
        row("POST", RESUME, DEVELOPER, Time::Request, post(pipelines::resume)),
        row("GET", TOPICS, VIEWER, Time::Request, get(topics::list)),
        row("POST", TOPICS, DEVELOPER, Time::Request, post(topics::create)),
        row("GET", TOPIC, VIEWER, Time::Request, get(topics::one)),
        row("DELETE", TOPIC, DEVELOPER, Time::Request, delete(topics::delete)),
        row("GET", RECORDS, VIEWER, Time::Request, get(records::read)),
        row("POST", RECORDS, DEVELOPER, Time::Own, post(records::produce)),
        row("GET", LETTERS, VIEWER, Time::Request, get(dead_letters::list)),
        row("GET", LETTER, VIEWER, Time::Request, get(dead_letters::one)),
        row("DELETE", LETTER, DEVELOPER, Time::Request, delete(dead_letters::drop_letter)),
        row("GET", BUNDLE, DEVELOPER, Time::Request, get(dead_letters::bundle)),
        row("POST", REPLAY, DEVELOPER, Time::Request, post(dead_letters::replay)),
        row("GET", CONTENT, DEVELOPER, Time::Request, get(modules::content)),
        row("GET", LOGS, VIEWER, Time::Request, get(logs::read)),
        row("POST", "/internal/v1/logs", Access::Worker, Time::Request, post(logs::take)),
        row("GET", "/internal/v1/assignment", Access::Worker, Time::Own, get(worker::assignment)),
        row("POST", "/internal/v1/report", Access::Worker, Time::Request, post(worker::report)),
        row("GET", "/internal/v1/modules/{tenant}/{digest}", Access::Worker, Time::Request, get(worker::module)),
    ]
}

/// Ends a request that takes too long, its body included. A body that is still sent by then is dropped.
async fn in_time(time_max: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time_max, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request took longer than {} s; send less at once, or faster", time_max.as_secs());
            Problem::new(Code::RequestTimeout, detail).into_response()
        }
    }
}
