//! The one gate between a request and a tenant's data.
//!
//! `Policy::check` decides, writes the audit row and only then gives a [`Permit`]. A permit is the only way to the
//! `Store`, to a [`TenantScope`] and so to the two ports: a handler that does not ask for one has nothing to work with, and one that
//! asks for the wrong one gets an action's name into the audit that a reviewer sees.
//!
//! ```compile_fail
//! // Nobody but the policy makes a permit.
//! use bulkhead_control::policy::{Permit, action::ReadModules};
//! fn forge() -> Permit<ReadModules> { Permit { reach: unimplemented!(), principal: unimplemented!(), store: unimplemented!(), _request: None } }
//! ```
//!
//! Must never: give a permit without a row, let a denial depend on whether another tenant exists, or trust the path's tenant.

pub mod action;
mod extract;
mod named;
mod record;

pub(crate) use extract::authenticated;
pub(crate) use named::named;

use crate::audit::trail::Trail;
use crate::audit::writer::Writer;
use crate::counted::{Counted, UnderWay};
use crate::peer::From;
use crate::problem::Problem;
use crate::store::{Gone, Store};
use crate::token::{Principal, Role, Verifier};
use action::{Action, Audited};
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Proof that somebody may do `A`, now, and that it was written down.
#[derive(Debug)]
pub struct Permit<A: Action> {
    reach: A::Reach,
    principal: Principal,
    store: Arc<Store>,
    /// While it is there, the tenant's name cannot be given to another tenant.
    _request: Option<Arc<UnderWay>>,
}

impl<A: Action> Permit<A> {
    /// What the action may reach: a tenant's scope, the platform, or the workers' side.
    pub(crate) fn reach(&self) -> &A::Reach {
        &self.reach
    }

    /// Who acts.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The metadata. Its functions ask for the reach again.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

impl<A: Action<Reach = TenantScope>> Permit<A> {
    /// The tenant whose things may be touched.
    pub(crate) fn scope(&self) -> &TenantScope {
        &self.reach
    }
}

/// The reach of actions on tenants as such, without a look into one.
#[derive(Debug)]
pub struct Platform(());

/// The reach of worker processes.
#[derive(Debug)]
pub struct Fleet(());

#[cfg(test)]
impl Fleet {
    /// For tests of what lies behind the policy.
    pub(crate) fn for_test() -> Self {
        Self(())
    }
}

#[cfg(test)]
impl Platform {
    /// For tests of what lies behind the policy.
    pub(crate) fn for_test() -> Self {
        Self(())
    }
}

/// What an action reaches. Only this module makes values of it.
pub trait Reach: Sized + Send + Sync + 'static + sealed::Sealed {
    /// Whether the reach is one tenant, named by the path.
    #[doc(hidden)]
    const OF_TENANT: bool;
    #[doc(hidden)]
    fn granted(seal: sealed::Seal, tenant: Option<TenantId>) -> Option<Self>;
}

mod sealed {
    pub trait Sealed {}
    /// What only the policy has, so that only it grants.
    #[derive(Debug)]
    pub struct Seal(pub(super) ());
    impl Sealed for super::Platform {}
    impl Sealed for super::Fleet {}
    impl Sealed for super::TenantScope {}
}

impl Reach for Platform {
    const OF_TENANT: bool = false;
    fn granted(_: sealed::Seal, _: Option<TenantId>) -> Option<Self> {
        Some(Self(()))
    }
}

impl Reach for Fleet {
    const OF_TENANT: bool = false;
    fn granted(_: sealed::Seal, _: Option<TenantId>) -> Option<Self> {
        Some(Self(()))
    }
}

impl Reach for TenantScope {
    const OF_TENANT: bool = true;
    fn granted(_: sealed::Seal, tenant: Option<TenantId>) -> Option<Self> {
        // The one place in control where a request becomes a scope; `leftovers` has the other, for what deletions left.
        tenant.map(TenantScope::assume)
    }
}

/// What a request wants to act on, and what of it goes into the audit.
#[derive(Clone)]
pub(crate) struct Target<'a> {
    pub(crate) method: &'a str,
    /// The path.
    pub(crate) path: &'a str,
    /// The path's `{tenant}` as written, where the route has one.
    pub(crate) tenant: Option<&'a str>,
    /// What else the path names, with its kind: `project/default/pipeline/p`.
    pub(crate) resource: &'a str,
    /// The request's id.
    pub(crate) request_id: &'a str,
    pub(crate) from: From,
    /// Whether it may change something, by its method.
    pub(crate) changes: bool,
    /// Where a change that is allowed is remembered, until it is known what became of it.
    pub(crate) trail: Trail,
}

/// Decides and writes down.
pub(crate) struct Policy {
    store: Arc<Store>,
    verifier: Verifier,
    writer: Writer,
    requests: Counted,
    unknowns: Mutex<HashMap<(String, Code), record::Unknown>>,
}

impl Policy {
    pub(crate) fn new(store: Arc<Store>, verifier: Verifier, writer: Writer) -> Self {
        Self { store, verifier, writer, requests: Counted::default(), unknowns: Mutex::default() }
    }

    /// Who holds this token.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Principal, Problem> {
        self.verifier.verify(token).await.map_err(|refused| Problem::new(refused.code, refused.detail))
    }

    /// Keeps the keys that tokens are checked with fresh until `stop`.
    pub(crate) async fn keep_keys(&self, stop: &CancellationToken) {
        self.verifier.keep_fresh(stop).await;
    }

    /// Writes down a request for `A` that was refused before anything had to be decided.
    pub(crate) async fn refuse<A: Action>(
        &self,
        principal: &Principal,
        target: Target<'_>,
        problem: Problem,
    ) -> Problem {
        self.record::<A>(principal, &target, Some(&problem), &[], None).await.err().unwrap_or(problem)
    }

    /// Whether the metadata answers.
    pub(crate) async fn ping(&self) -> Result<(), Problem> {
        self.store.ping().await
    }

    /// Whether a tenant being deleted has pipelines whose workers are still leaving.
    pub(crate) async fn has_left_groups(&self, scope: &TenantScope) -> Result<bool, Problem> {
        self.store.has_left_groups(scope).await
    }

    /// Whether a deleted pipeline still has something in the log, because workers may run it.
    pub(crate) async fn has_left_pipeline(&self, gone: &Gone) -> Result<bool, Problem> {
        Ok(self.store.left_pipeline(&gone.scope, &gone.project, &gone.pipeline).await?.is_some())
    }

    /// Requests under way that hold, or are about to get, a permit for this tenant. A deleted tenant's name waits for them:
    /// a slow upload to the old tenant must not end up in a new one of its name.
    pub(crate) fn requests_under_way(&self, scope: &TenantScope) -> usize {
        self.requests.count(scope.tenant())
    }

    /// Decides whether `principal` may do `A` on `target`, and writes the decision to the audit before it takes effect.
    ///
    /// # Errors
    /// [`Code::Forbidden`], the same whether or not another tenant exists; [`Code::TokenInvalid`] for a token older than its
    /// tenant; [`Code::NotFound`] for a tenant that the platform's own do not find. Where the audit cannot be written,
    /// nothing is allowed.
    pub(crate) async fn check<A: Action>(
        &self,
        principal: Principal,
        target: Target<'_>,
    ) -> Result<Permit<A>, Problem> {
        // Counted before it is decided, so that a deletion either sees this request or is seen by it.
        let named: Option<TenantId> = target.tenant.and_then(|name| name.parse().ok());
        let request = named.filter(|_| A::Reach::OF_TENANT).and_then(|tenant| self.requests.enter(&tenant, usize::MAX));
        let request = request.map(Arc::new);
        let decision = self.decide::<A>(&principal, target.tenant).await;
        if decision.is_err() || A::AUDITED == Audited::Always {
            // Roles decide by themselves; there is no policy with an id.
            self.record::<A>(&principal, &target, decision.as_ref().err(), &[], request.as_ref()).await?;
        }
        Ok(Permit { reach: decision?, principal, store: Arc::clone(&self.store), _request: request })
    }

    async fn decide<A: Action>(&self, principal: &Principal, named: Option<&str>) -> Result<A::Reach, Problem> {
        if A::Reach::OF_TENANT
            && let Some(own) = principal.tenant()
            && named != Some(own.as_str())
        {
            return Err(Problem::new(
                Code::Forbidden,
                "this token is not for the tenant in the path; use that tenant's token",
            ));
        }
        if !A::ROLES.iter().any(|role| principal.may(*role)) {
            let roles: Vec<_> = A::ROLES.iter().copied().map(Role::as_str).collect();
            let detail = format!("`{}` needs the role {}; ask for a token with it", A::NAME, roles.join(" or "));
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let tenant = if A::Reach::OF_TENANT { Some(self.living(principal, named).await?) } else { None };
        A::Reach::granted(sealed::Seal(()), tenant)
            .ok_or_else(|| Problem::internal(format!("`{}` reached no tenant", A::NAME)))
    }

    /// The tenant in the path, if it exists and the token was not made for an earlier tenant of that name.
    async fn living(&self, principal: &Principal, named: Option<&str>) -> Result<TenantId, Problem> {
        let tenant: Option<TenantId> = named.and_then(|name| name.parse().ok());
        let born_ms = match &tenant {
            Some(tenant) => self.store.tenant_born_ms(tenant).await?,
            None => None,
        };
        match (tenant, born_ms, principal.tenant()) {
            (Some(tenant), Some(_), None) => Ok(tenant),
            (Some(tenant), Some(born_ms), Some(_))
                if i128::from(principal.issued_s()) >= i128::from(born_ms / 1000) =>
            {
                Ok(tenant)
            }
            (Some(_), Some(_), Some(_)) => {
                Err(Problem::new(Code::TokenInvalid, "the token is older than its tenant; ask for a new one"))
            }
            (_, _, None) => Err(Problem::not_found("such tenant")),
            (_, _, Some(_)) => Err(Problem::new(
                Code::Forbidden,
                "the tenant of this token does not exist; ask the operator to make it",
            )),
        }
    }
}

#[cfg(test)]
mod tests;
