//! The rows of the table of routes for bindings, roles and explanations.
//!
//! Must never: leave a row without words.

use super::super::extract::ListParams;
use super::super::routes::{Access, Route, Time, row};
use super::bindings::{self, BindingView, BoundView};
use super::explain::{self, ExplanationView, Question};
use super::roles::{self, NewRole, RoleView};
use crate::token::Role;
use axum::routing::{delete, get, put};

const ADMIN: Access = Access::Tenant(Role::TenantAdmin);
const AUDITOR: Access = Access::Tenant(Role::Auditor);

pub(in crate::api) fn rows() -> Vec<Route> {
    const BINDINGS: &str = "/api/v1/tenants/{tenant}/access/bindings";
    const BINDING: &str = "/api/v1/tenants/{tenant}/access/bindings/{subject}/{role}";
    const IN_PROJECT: &str = "/api/v1/tenants/{tenant}/projects/{project}/access/bindings";
    const ONE_IN_PROJECT: &str = "/api/v1/tenants/{tenant}/projects/{project}/access/bindings/{subject}/{role}";
    const ROLES: &str = "/api/v1/tenants/{tenant}/access/roles";
    const ROLE: &str = "/api/v1/tenants/{tenant}/access/roles/{role}";
    const EXPLAIN: &str = "/api/v1/tenants/{tenant}/access/explain";
    vec![
        row("GET", BINDINGS, AUDITOR, Time::Request, get(bindings::list))
            .says("List who has which role, on the tenant and on its projects")
            .asks::<ListParams>()
            .gives_page::<BindingView>("Bindings by subject. What tokens say by themselves is not among them."),
        row("PUT", BINDING, ADMIN, Time::Request, put(bindings::put))
            .says("Give somebody a role on the tenant and all its projects")
            .gives::<BoundView>(201, "They have it from now on.")
            .gives::<BoundView>(200, "They had it."),
        row("DELETE", BINDING, ADMIN, Time::Request, delete(bindings::delete))
            .says("Take a role on the tenant back")
            .gives_nothing(204, "They do not have it any more."),
        row("GET", IN_PROJECT, AUDITOR, Time::Request, get(bindings::list))
            .says("List who was given which role on a project")
            .asks::<ListParams>()
            .gives_page::<BindingView>("Bindings by subject, without those of the projects around it."),
        row("PUT", ONE_IN_PROJECT, ADMIN, Time::Request, put(bindings::put))
            .says("Give somebody a role on a project and all that lie in it")
            .gives::<BoundView>(201, "They have it from now on.")
            .gives::<BoundView>(200, "They had it."),
        row("DELETE", ONE_IN_PROJECT, ADMIN, Time::Request, delete(bindings::delete))
            .says("Take a role on a project back")
            .gives_nothing(204, "They do not have it any more."),
        row("GET", ROLES, AUDITOR, Time::Request, get(roles::list))
            .says("List roles and what each may do")
            .gives_page::<RoleView>("Those that Bulkhead ships, then the tenant's own."),
        row("PUT", ROLE, ADMIN, Time::Request, put(roles::put))
            .says("Make or change a role of one's own")
            .takes::<NewRole>()
            .gives::<RoleView>(201, "It is made.")
            .gives::<RoleView>(200, "It was changed, for everybody who has it."),
        row("DELETE", ROLE, ADMIN, Time::Request, delete(roles::delete))
            .says("Delete a role of one's own that nobody has")
            .gives_nothing(204, "It is gone."),
        row("GET", EXPLAIN, Access::Member, Time::Request, get(explain::explain))
            .says("Say why something is, or would be, allowed or refused; for others than oneself, to auditors")
            .asks::<Question>()
            .gives::<ExplanationView>(200, "Which roles were looked at, which policies decided, and what would do."),
    ]
}
