//! The one gate between a request and a tenant's data.
//!
//! `Policy::check` asks the Cedar policies of `cedar/`, writes the audit row and only then gives a [`Permit`]. What is asked is whether the
//! caller may do the action on the place that the path names: a tenant, or one of its projects. A role counts on the tenant or the
//! project where it was given and on all that lies in it. What the caller may not know to be there is answered as what is not there.
//! A permit is the only way to the
//! `Store`, to a [`TenantScope`] and so to the two ports: a handler that does not ask for one has nothing to work with, and one that
//! asks for the wrong one gets an action's name into the audit that a reviewer sees.
//!
//! ```compile_fail
//! // Nobody but the policy makes a permit.
//! use bulkhead_control::policy::{Permit, action::ReadModules};
//! fn forge() -> Permit<ReadModules> {
//!     Permit { reach: unimplemented!(), principal: unimplemented!(), project: None, store: unimplemented!(), _request: None }
//! }
//! ```
//!
//! Topics and buckets are the tenant's and in no project: a role on a project parts who may change what, and whoever may deploy in one
//! may name any topic of the tenant. Parties who must not see each other's records are tenants.
//! Must never: give a permit without a row, let a denial depend on whether another tenant exists, or trust the path's tenant.

pub mod action;
mod ask;
mod cedar;
mod extract;
mod holding;
mod named;
mod record;
mod suspension;
mod unnamed;

pub(crate) use ask::{Asked, Explained};
pub(crate) use cedar::Judge;
pub(crate) use extract::authenticated;
pub(crate) use holding::{HeldRole, Holding, Place, Source};
pub(crate) use named::named;

use crate::audit::trail::Trail;
use crate::audit::writer::Writer;
use crate::counted::{Counted, UnderWay};
use crate::peer::From;
use crate::problem::Problem;
use crate::store::{Gone, Store};
use crate::token::{Principal, Verifier, speaks_for};
use action::{Action, Audited, See};
use bulkhead_core::code::Code;
use bulkhead_core::name::{ProjectId, TenantId};
use bulkhead_core::scope::TenantScope;
use bulkhead_core::tenant_limits::TenantLimits;
use cedar::Verdict;
use holding::{of_token, subjects_of};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Proof that somebody may do `A`, now, and that it was written down.
#[derive(Debug)]
pub struct Permit<A: Action> {
    reach: A::Reach,
    principal: Principal,
    /// The path's, where there is one.
    project: Option<ProjectId>,
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

    /// The project that it is for, or else the tenant.
    pub(crate) fn place(&self) -> Place {
        Place::of(self.reach.tenant(), self.project.as_ref())
    }
}

/// The reach of actions on tenants as such, without a look into one.
#[derive(Debug)]
pub struct Platform(());

/// The reach of a worker process: its slots, and whose work it does.
#[derive(Debug, Clone)]
pub struct Fleet {
    slots: Option<Arc<[String]>>,
    tenant: Option<TenantId>,
}

impl Fleet {
    /// The one tenant that it works for; `None` for a worker of the pool.
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// Whether it may speak for the worker in this slot.
    pub(crate) fn is_in(&self, slot: &str) -> bool {
        speaks_for(self.slots.as_deref(), slot)
    }

    /// Whether it works for this tenant.
    pub(crate) fn works_for(&self, tenant: &TenantId) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }
}

#[cfg(test)]
impl Fleet {
    /// For tests of what lies behind the policy.
    pub(crate) fn for_test() -> Self {
        Self { slots: None, tenant: None }
    }
}

#[cfg(test)]
impl Platform {
    /// For tests of what lies behind the policy.
    pub(crate) fn for_test() -> Self {
        Self(())
    }
}

/// The kinds of reach.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Tenants as such.
    Platform,
    /// The workers' side.
    Fleet,
    /// One tenant, named by the path.
    Tenant,
}

/// What an action reaches. Only this module makes values of it.
pub trait Reach: Sized + Send + Sync + 'static + sealed::Sealed {
    #[doc(hidden)]
    const OF: Of;
    /// Whether the reach is one tenant, named by the path.
    #[doc(hidden)]
    const OF_TENANT: bool = matches!(Self::OF, Of::Tenant);
    #[doc(hidden)]
    fn granted(seal: sealed::Seal, scope: Option<TenantScope>, principal: &Principal) -> Option<Self>;
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
    const OF: Of = Of::Platform;
    fn granted(_: sealed::Seal, _: Option<TenantScope>, _: &Principal) -> Option<Self> {
        Some(Self(()))
    }
}

impl Reach for Fleet {
    const OF: Of = Of::Fleet;
    fn granted(_: sealed::Seal, _: Option<TenantScope>, principal: &Principal) -> Option<Self> {
        principal.is_worker().then(|| Self { slots: principal.slots(), tenant: principal.tenant().cloned() })
    }
}

impl Reach for TenantScope {
    const OF: Of = Of::Tenant;
    fn granted(_: sealed::Seal, scope: Option<TenantScope>, _: &Principal) -> Option<Self> {
        scope
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
    /// The path's `{project}` as written, where the route has one.
    pub(crate) project: Option<&'a str>,
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
    judge: Judge,
    writer: Writer,
    requests: Counted,
    unknowns: Mutex<HashMap<(String, Code), record::Unknown>>,
    /// Refusals of each tenant, or of the platform, whose requests come too often.
    too_often: Mutex<HashMap<Option<TenantId>, record::Unknown>>,
}

/// A decision that is yet to be written down.
struct Decision<R> {
    outcome: Result<R, Problem>,
    /// The policies that decided; empty where none spoke.
    policies: Vec<String>,
}

impl Policy {
    pub(crate) fn new(store: Arc<Store>, verifier: Verifier, writer: Writer, judge: Judge) -> Self {
        Self {
            store,
            verifier,
            judge,
            writer,
            requests: Counted::default(),
            unknowns: Mutex::default(),
            too_often: Mutex::default(),
        }
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

    /// What a tenant may; `None` where there is none of this name.
    pub(crate) async fn limits_of(&self, tenant: &TenantId) -> Result<Option<TenantLimits>, Problem> {
        Ok(self.store.limits_to_decide(tenant).await?.map(|effective| effective.limits))
    }

    /// Whether the metadata answers.
    pub(crate) async fn ping(&self) -> Result<(), Problem> {
        self.store.ping().await
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
    /// [`Code::NotFound`] for what the caller may not know to be there, the same as for what is not there; [`Code::Forbidden`] for what it
    /// may see and not do; [`Code::TokenInvalid`] for a token older than its tenant; [`Code::TenantSuspended`]. Where the audit cannot be written, nothing is allowed.
    pub(crate) async fn check<A: Action>(
        &self,
        principal: Principal,
        target: Target<'_>,
    ) -> Result<Permit<A>, Problem> {
        // Counted before it is decided, so that a deletion either sees this request or is seen by it.
        let named: Option<TenantId> = target.tenant.and_then(|name| name.parse().ok());
        let request = named.filter(|_| A::Reach::OF_TENANT).and_then(|tenant| self.requests.enter(&tenant, usize::MAX));
        let request = request.map(Arc::new);
        let project = target.project.and_then(|name| name.parse().ok());
        let Decision { outcome, policies } = self.decide::<A>(&principal, &target, project.as_ref()).await;
        if outcome.is_err() || A::AUDITED == Audited::Always {
            let refused = outcome.as_ref().err();
            self.record::<A>(&principal, &target, refused, &policies, request.as_ref()).await?;
        }
        Ok(Permit { reach: outcome?, principal, project, store: Arc::clone(&self.store), _request: request })
    }

    async fn decide<A: Action>(
        &self,
        principal: &Principal,
        target: &Target<'_>,
        project: Option<&ProjectId>,
    ) -> Decision<A::Reach> {
        let (mut scope, mut place) = (None, Place::Platform);
        match A::Reach::OF {
            Of::Platform => {}
            Of::Fleet => place = Place::Fleet,
            Of::Tenant => match self.living(principal, target.tenant).await {
                Ok(living) => {
                    place = Place::of(living.tenant(), project);
                    scope = Some(living);
                }
                Err(problem) => return Decision { outcome: Err(problem), policies: Vec::new() },
            },
        }
        let verdict = match self.judged::<A>(principal, scope.as_ref(), &place).await {
            Ok(verdict) => verdict,
            Err(problem) => return Decision { outcome: Err(problem), policies: Vec::new() },
        };
        let policies = verdict.by.policies();
        if let Some(scope) = scope.as_ref().filter(|_| verdict.by.allowed)
            && let Err(problem) = suspension::check(&self.store, A::NAME, scope.tenant()).await
        {
            return Decision { outcome: Err(problem), policies };
        }
        let outcome = if verdict.by.allowed {
            A::Reach::granted(sealed::Seal(()), scope, principal)
                .ok_or_else(|| Problem::internal(format!("`{}` reached nothing", A::NAME)))
        } else if verdict.sees || !A::Reach::OF_TENANT {
            Err(forbidden::<A>(&place))
        } else {
            Err(hidden(principal, target))
        };
        Decision { outcome, policies }
    }

    /// What the policies say of an action. Bindings are fetched only where the token's own roles do not do.
    async fn judged<A: Action>(
        &self,
        principal: &Principal,
        scope: Option<&TenantScope>,
        place: &Place,
    ) -> Result<Judged, Problem> {
        let mut holdings = of_token(principal);
        let hearing = self.judge.about(principal.into(), &holdings)?;
        let by = hearing.may(A::NAME, place)?;
        let own = scope.filter(|scope| Some(scope.tenant()) == principal.tenant() && !principal.is_worker());
        if by.allowed || own.is_none() {
            let sees = by.allowed || hearing.may(See::NAME, place)?.allowed;
            return Ok(Judged { by, sees });
        }
        if let Some(scope) = own {
            holdings.extend(self.store.bindings_of(scope, &subjects_of(principal)).await?);
        }
        let hearing = self.judge.about(principal.into(), &holdings)?;
        let by = hearing.may(A::NAME, place)?;
        let sees = by.allowed || hearing.may(See::NAME, place)?.allowed;
        Ok(Judged { by, sees })
    }

    /// Whether what a permit was given for would be allowed again: its token has not ended, its tenant is there, and the role was not taken
    /// back. For work that goes on for long after it was allowed.
    pub(crate) async fn still<A: Action<Reach = TenantScope>>(&self, permit: &Permit<A>) -> Result<bool, Problem> {
        let principal = &permit.principal;
        if self.living(principal, Some(permit.reach.tenant().as_str())).await.is_err() {
            return Ok(false);
        }
        Ok(self.judged::<A>(principal, Some(&permit.reach), &permit.place()).await?.by.allowed)
    }

    /// The tenant in the path, if it exists, may be this caller's, and the token was not made for an earlier tenant of that name.
    async fn living(&self, principal: &Principal, named: Option<&str>) -> Result<TenantScope, Problem> {
        let there_is_none = || Problem::not_found("such tenant");
        let tenant: TenantId = named.and_then(|name| name.parse().ok()).ok_or_else(there_is_none)?;
        if principal.tenant().is_some_and(|own| *own != tenant) {
            return Err(there_is_none());
        }
        let born_ms = self.store.tenant_born_ms(&tenant).await?.ok_or_else(there_is_none)?;
        if principal.tenant().is_some() && i128::from(principal.issued_s()) < i128::from(born_ms / 1000) {
            return Err(Problem::new(Code::TokenInvalid, "the token is older than its tenant; ask for a new one"));
        }
        // The one place in control where a request becomes a scope; `leftovers` has the other, for what deletions left.
        Ok(TenantScope::assume(tenant))
    }
}

/// What the policies say, and whether the caller may know that the place is there.
struct Judged {
    by: Verdict,
    sees: bool,
}

/// What the caller may see and not do.
fn forbidden<A: Action>(place: &Place) -> Problem {
    let needs: Vec<_> = A::GROUPS.iter().map(|group| group.needs()).collect();
    let detail = format!(
        "`{}` on {place} needs {}; ask for it, and see `bulkhead access explain {}`",
        A::NAME,
        needs.join(" or "),
        A::NAME
    );
    Problem::new(Code::Forbidden, detail)
}

/// What the caller may not know to be there: the same as for what is not there.
fn hidden(principal: &Principal, target: &Target<'_>) -> Problem {
    // A tenant is known to be there to whoever has its token, and none to a worker.
    match target.project.filter(|_| !principal.is_worker()) {
        Some(project) => Problem::not_found(format!("project `{project}`")),
        None => Problem::not_found("such tenant"),
    }
}

#[cfg(test)]
mod tests;
