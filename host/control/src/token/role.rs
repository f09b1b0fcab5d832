//! The roles that Bulkhead ships. What each may do is said by the policies in `policy/cedar/`.
//!
//! Must never: decide anything: a role is a name, and [`crate::policy`] says what it is worth.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A shipped role, in the tenant that a token names or, for the first two, beside all tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Makes and deletes tenants. Reads nothing of theirs.
    PlatformAdmin,
    /// Fetches assignments and modules, sends reports. For worker processes, never for people.
    Worker,
    /// Reads the audit and who has which role. Nothing of the tenant's data.
    Auditor,
    /// Reads everything but the audit.
    Viewer,
    /// Also pauses and resumes pipelines, and replays and drops dead letters.
    Operator,
    /// Also uploads, applies, produces and deletes.
    Developer,
    /// Also grants roles and makes tokens, and does what an auditor does.
    TenantAdmin,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 7] = [
        Self::PlatformAdmin,
        Self::Worker,
        Self::Auditor,
        Self::Viewer,
        Self::Operator,
        Self::Developer,
        Self::TenantAdmin,
    ];

    /// The name in tokens, policies, messages and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlatformAdmin => "platform-admin",
            Self::Worker => "worker",
            Self::Auditor => "auditor",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Developer => "developer",
            Self::TenantAdmin => "tenant-admin",
        }
    }

    /// Whether the role is one within a tenant: only these can be bound, and a token with one names the tenant.
    pub fn is_of_tenant(self) -> bool {
        !matches!(self, Self::PlatformAdmin | Self::Worker)
    }

    /// The role that an entry of a `roles` claim names; `None` for what other systems put there.
    pub fn from_claim(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// A text that is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no such role; roles are platform-admin, worker, auditor, viewer, operator, developer and tenant-admin"
)]
pub struct UnknownRole;
