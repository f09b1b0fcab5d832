//! Who may do what in a tenant: role bindings, the tenant's own roles, and why something is allowed.
//!
//! Must never: let anybody give more than they have themselves.

mod bindings;
mod explain;
mod roles;
mod rows;

pub(super) use rows::rows;

use super::App;
use crate::policy::action::{Action, ActionInfo};
use crate::policy::{HeldRole, Permit, Place};
use crate::problem::Problem;
use crate::store::no_role;
use crate::token::Role;
use bulkhead_core::code::Code;
use bulkhead_core::scope::TenantScope;

/// Characters of a role's description at most.
const DESCRIPTION_CHARS_MAX: usize = 500;

/// A role that can be given: one of ours for tenants, or one of this tenant's own.
async fn role_named<A: Action<Reach = TenantScope>>(permit: &Permit<A>, name: &str) -> Result<HeldRole, Problem> {
    if let Ok(role) = name.parse::<Role>() {
        return if role.is_of_tenant() { Ok(HeldRole::Shipped(role)) } else { Err(no_role(name)) };
    }
    let own = permit.store().own_roles(permit.scope()).await?.into_iter().find(|row| row.name.as_str() == name);
    own.map(|row| HeldRole::Own { name: row.name, actions: row.actions }).ok_or_else(|| no_role(name))
}

/// Refuses to give actions that the giver lacks on that place.
async fn within_own<A: Action<Reach = TenantScope>>(
    app: &App,
    permit: &Permit<A>,
    place: &Place,
    actions: &[&'static str],
) -> Result<(), Problem> {
    let lacking = app.policy().lacking(permit, place, actions).await?;
    if lacking.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "nobody can give more than they may do themselves, and you may not do {} on {place}; ask a tenant admin",
        lacking.iter().map(|action| format!("`{action}`")).collect::<Vec<_>>().join(", ")
    );
    Err(Problem::new(Code::GrantTooStrong, detail))
}

/// The action of this name.
fn action_named(name: &str) -> Result<&'static ActionInfo, Problem> {
    ActionInfo::find(name).ok_or_else(|| {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
        let detail = format!("there is no action `{shown}`; `bulkhead access roles list` shows what each role may do");
        Problem::new(Code::RoleRefused, detail)
    })
}
