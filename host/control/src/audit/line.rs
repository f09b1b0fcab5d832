//! What is written down, and into which chains.
//!
//! | who | asks for | is written into |
//! |---|---|---|
//! | a tenant's | something of its tenant | the tenant's chain |
//! | a tenant's | something of another tenant, or of the platform: refused | its own tenant's chain and the platform's |
//! | the platform's | something of a tenant | the tenant's chain and the platform's |
//! | a worker | a tenant's module | the tenant's chain |
//! | the platform's | something of no tenant | the platform's chain |
//! | nobody (no token, or none that is accepted) | anything: refused | the platform's chain |
//!
//! So a tenant learns what operators do to it, and nothing of another tenant's people who tried.
//! Must never: keep a text of a client's without cutting it and making what a terminal obeys visible.

use crate::token::Principal;
use bulkhead_core::audit::plain;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use serde_json::{Map, Value, json};

/// Bytes of a path, a reason or another text of a client's that are kept.
pub(crate) const TEXT_BYTES_MAX: usize = 512;

/// What the platform's chain is kept under: no tenant's name begins so.
pub(crate) const PLATFORM: &str = "_platform";

/// A chain of lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Chain {
    /// The platform's own.
    Platform,
    /// A tenant's.
    Tenant(TenantScope),
}

impl Chain {
    /// Whose it is; `None` for the platform's.
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Platform => None,
            Self::Tenant(scope) => Some(scope.tenant()),
        }
    }

    /// What the chain's rows are kept under: the tenant's name, or [`PLATFORM`].
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Platform => PLATFORM,
            Self::Tenant(scope) => scope.tenant().as_str(),
        }
    }
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request was allowed or refused.
    Decision,
    /// What became of a change that was allowed.
    Outcome,
    /// A stage used a grant.
    Use,
    /// Earlier lines were pruned.
    Pruned,
}

impl Kind {
    /// Its name in lines.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Outcome => "outcome",
            Self::Use => "use",
            Self::Pruned => "pruned",
        }
    }
}

/// A line before it has its place in a chain.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) subject: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) allowed: bool,
    /// What else it says.
    pub(crate) rest: Map<String, Value>,
    /// Which making of its chain it belongs to; `None` for the one that is there. A new tenant of an old name is told nothing of that one.
    pub(crate) only_in: Option<String>,
}

impl Draft {
    /// A line that only says what it is about.
    pub(crate) fn new(kind: Kind, action: &str, resource: &str) -> Self {
        let (action, resource) = (action.to_owned(), plain(resource, TEXT_BYTES_MAX));
        Self { kind, subject: String::new(), action, resource, allowed: true, rest: Map::new(), only_in: None }
    }

    /// The same with who acts: subject, issuer, token, roles and tenant.
    pub(crate) fn by(mut self, principal: &Principal) -> Self {
        self.subject = plain(principal.subject(), TEXT_BYTES_MAX);
        let roles: Vec<_> = principal.roles().map(|role| role.as_str()).collect();
        let tenant = principal.tenant().map(ToString::to_string);
        self.with("issuer", plain(principal.issuer(), TEXT_BYTES_MAX))
            .with("token", plain(principal.token(), TEXT_BYTES_MAX))
            .with("roles", json!(roles))
            .with("tenant", tenant)
    }

    /// The same with one thing more; nothing where that is null, empty or an empty list.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let says = match &value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        };
        if says {
            self.rest.insert(name.to_owned(), value);
        }
        self
    }

    /// The same as a refusal, with its code and its sentence.
    pub(crate) fn refused(mut self, code: Code, reason: &str) -> Self {
        self.allowed = false;
        self.with("code", code.id()).with("reason", plain(reason, TEXT_BYTES_MAX))
    }
}

/// Where a line is in its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which making of the chain.
    pub(crate) chain: String,
    pub(crate) seq: u64,
}
