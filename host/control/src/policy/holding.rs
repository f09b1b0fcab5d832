//! Who has which role where, and by what: what the policies are asked about.
//!
//! Must never: be made of a request's body or query: roles come from tokens that were verified and from the metadata.

use super::action::ActionInfo;
use crate::token::{Principal, Role};
use bulkhead_core::name::{ProjectId, RoleName, TenantId};
use std::fmt;

/// Where a role counts, and what a request acts on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// All tenants as such.
    Platform,
    /// The workers' side.
    Fleet,
    /// A tenant.
    Tenant(TenantId),
    /// A project of a tenant, with all that lie in it.
    Project(TenantId, ProjectId),
}

impl Place {
    /// The project named, or else the tenant.
    pub(crate) fn of(tenant: &TenantId, project: Option<&ProjectId>) -> Self {
        match project {
            Some(project) => Self::Project(tenant.clone(), project.clone()),
            None => Self::Tenant(tenant.clone()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str("the platform"),
            Self::Fleet => f.write_str("the workers' side"),
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Self::Project(_, project) => write!(f, "project {project}"),
        }
    }
}

/// A role that somebody has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HeldRole {
    /// One of ours.
    Shipped(Role),
    /// One of the tenant's own.
    Own {
        name: RoleName,
        /// As the metadata has them, those of another version of Bulkhead included.
        actions: Vec<String>,
    },
}

impl HeldRole {
    /// The role's name, which is its policy's too.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Shipped(role) => role.as_str(),
            Self::Own { name, .. } => name.as_str(),
        }
    }

    /// The actions of a tenant's own role that there are, by their names in the table.
    pub(crate) fn own_actions(&self) -> impl Iterator<Item = &'static str> {
        let actions = match self {
            Self::Shipped(_) => &[][..],
            Self::Own { actions, .. } => actions.as_slice(),
        };
        actions.iter().filter_map(|name| ActionInfo::find(name)).filter(|action| action.is_grantable()).map(|a| a.name)
    }
}

/// By what somebody has a role.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Its token says so.
    Token,
    /// It is bound to this subject: `user:` or `group:` and a name.
    Binding(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("token"),
            Self::Binding(subject) => write!(f, "binding of {subject}"),
        }
    }
}

/// A role that somebody has somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Holding {
    pub(crate) role: HeldRole,
    pub(crate) on: Place,
    pub(crate) by: Source,
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} by {}", self.role.name(), self.on, self.by)
    }
}

/// Whom a question is about, as far as policies see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) subject: &'a str,
    pub(crate) tenant: Option<&'a TenantId>,
    pub(crate) is_worker: bool,
}

impl<'a> From<&'a Principal> for Caller<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self { subject: principal.subject(), tenant: principal.tenant(), is_worker: principal.is_worker() }
    }
}

/// What a token itself gives.
pub(crate) fn of_token(principal: &Principal) -> Vec<Holding> {
    let on = || principal.tenant().map_or(Place::Platform, |tenant| Place::Tenant(tenant.clone()));
    let given = principal.roles().filter(|role| *role != Role::Worker);
    given.map(|role| Holding { role: HeldRole::Shipped(role), on: on(), by: Source::Token }).collect()
}

/// The subjects to which roles of this principal may be bound.
pub(crate) fn subjects_of(principal: &Principal) -> Vec<String> {
    let user = std::iter::once(format!("user:{}", principal.subject()));
    user.chain(principal.groups().map(|group| format!("group:{group}"))).collect()
}
