//! The isolation matrix: every route of the API's description, by every role, in its own tenant, in another and in one that is not there;
//! and every route of a project, on a project with a role and on those without. And two tenants that named everything alike.
//!
//! What must come out is computed from `tests/matrix/routes.txt`, what does come out is asked of a running server. A route that the table
//! does not know fails here, so none can be added without saying who may use it.
//! Must never: take what must come out from the policies that it checks.

mod filled;
mod markers;
mod paths;
mod projects;
mod table;
mod twins;
mod walk;
