//! Every route, with who may use it, how long it may take, and what is said of it.
//!
//! The table is all of these: what is served, what `tests/all/matrix` walks with every role, in every tenant,
//! and what the API's description is made of. To add a route:
//!
//! 1. write the handler, its first argument the [`Permit`](crate::policy::Permit) of an action in `policy/action.rs`;
//! 2. add a row in [`super::rows`], and say there what it does, takes and gives (a test refuses a row that says nothing); what is JSON
//!    derives `utoipa::ToSchema`, a query `utoipa::IntoParams`;
//! 3. say in `tests/matrix/routes.txt` who may use it, and fill in new `{names}` of its path in `tests/all/matrix/paths.rs`;
//! 4. run `cargo xtask openapi` and read what changed in `host/control/openapi.json`.
//!
//! Must never: be bypassed; a route that is not here is not served.

use super::describe::Doc;
use super::{App, repeat, rows};
use crate::problem::Problem;
use crate::rates;
use crate::token::Role;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use bulkhead_core::code::Code;
use std::time::Duration;

/// What is asked whether the server lives, by those who would end it otherwise: never limited.
const HEALTH: [&str; 2] = ["/livez", "/readyz"];

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token.
    Public,
    /// Whoever has a token, of whatever tenant and role.
    AnyToken,
    /// Platform admins.
    Platform,
    /// Whoever has a token of the tenant that the path names, whatever its role.
    Member,
    /// Whoever has this role, or a stronger one, in the tenant or the project that the path names.
    Tenant(Role),
    /// Whoever has a token of the tenant, and platform admins.
    MemberOrPlatform,
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

/// How long a route may take.
#[derive(Clone, Copy)]
pub(super) enum Time {
    /// As long as any request.
    Request,
    /// It keeps limits of its own.
    Own,
}

/// A route as it is served.
pub(super) struct Route {
    pub(super) info: RouteInfo,
    pub(super) doc: Doc,
    time: Time,
    once: bool,
    service: MethodRouter<App>,
}

/// A row of the table.
pub(super) fn row(
    method: &'static str,
    path: &'static str,
    access: Access,
    time: Time,
    service: MethodRouter<App>,
) -> Route {
    Route { info: RouteInfo { method, path, access }, doc: Doc::default(), time, once: false, service }
}

impl Route {
    /// It takes an idempotency key: see [`repeat`].
    pub(super) fn once(mut self) -> Self {
        self.once = true;
        self.header("Idempotency-Key", "A text of your choice: sent again with it, the request is not done again.")
    }

    /// The route with what is around it.
    pub(super) fn serve(self, app: &App) -> MethodRouter<App> {
        let time_max = app.config().request_time_max;
        let open = self.info.access == Access::Public && !HEALTH.contains(&self.info.path);
        let service = match self.time {
            Time::Request => self.service.layer(from_fn(move |request, next| in_time(time_max, request, next))),
            Time::Own => self.service,
        };
        if open {
            return service.layer(from_fn_with_state(app.clone(), rates::strangers));
        }
        if !self.once {
            return service;
        }
        // Outside the limit above, which ends the work in time, but with one for reading the body.
        let twice = time_max * 2;
        service
            .layer(from_fn_with_state(app.clone(), repeat::once))
            .layer(from_fn(move |request, next| in_time(twice, request, next)))
    }
}

/// Every route there is.
pub fn routes() -> Vec<RouteInfo> {
    table().into_iter().map(|route| route.info).collect()
}

pub(super) fn table() -> Vec<Route> {
    let areas = [
        rows::server(),
        rows::tenants(),
        super::access::rows(),
        rows::audits(),
        rows::uses(),
        rows::usage(),
        rows::lives(),
        rows::limits(),
        rows::projects(),
        rows::entries(),
        rows::modules(),
        rows::pipelines(),
        rows::revisions(),
        rows::topics(),
        rows::evidence(),
        rows::workers(),
    ];
    areas.into_iter().flatten().collect()
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
