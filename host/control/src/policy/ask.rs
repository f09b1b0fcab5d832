//! What handlers may ask of the policy beside their permit: what else the caller may do, and why.
//!
//! Must never: be a way to a permit.

use super::action::{Action, ActionInfo};
use super::cedar::{Verdict, actions_of};
use super::holding::{Caller, HeldRole, Holding, Place, of_token, subjects_of};
use super::{Of, Permit, Policy, Source};
use crate::problem::Problem;
use crate::token::{Principal, Role};
use bulkhead_core::name::ProjectId;
use bulkhead_core::scope::TenantScope;

/// About whom an explanation is.
pub(crate) enum Asked<'a> {
    /// About the caller itself: its token's roles are known.
    Oneself(&'a Principal),
    /// About a subject to which roles are bound; what its tokens say is not known.
    Other(&'a str),
}

/// Why something is allowed or refused.
pub(crate) struct Explained {
    pub(crate) verdict: Verdict,
    /// Whether the place may be known to be there; what may not is answered 404.
    pub(crate) sees: bool,
    /// Every role that was looked at.
    pub(crate) holdings: Vec<Holding>,
    /// The roles that would allow it on that place.
    pub(crate) enough: Vec<String>,
}

impl Policy {
    /// All roles of a permit's caller within the permit's tenant.
    async fn roles_of<A: Action<Reach = TenantScope>>(&self, permit: &Permit<A>) -> Result<Vec<Holding>, Problem> {
        let mut holdings = of_token(&permit.principal);
        holdings.extend(self.store.bindings_of(&permit.reach, &subjects_of(&permit.principal)).await?);
        Ok(holdings)
    }

    /// Those of these projects on which the caller may do this.
    pub(crate) async fn projects_for<A: Action<Reach = TenantScope>, T>(
        &self,
        permit: &Permit<A>,
        action: &str,
        projects: Vec<T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<Vec<T>, Problem> {
        let holdings = self.roles_of(permit).await?;
        let hearing = self.judge.about(Caller::from(&permit.principal), &holdings)?;
        let mut seen = Vec::new();
        for project in projects {
            let id: ProjectId = name(&project).parse().map_err(Problem::internal)?;
            // Of platform admins: they see what tenants there are and the names of their projects, by `tenants.read`.
            let platform = permit.principal.tenant().is_none();
            if platform || hearing.may(action, &Place::of(permit.reach.tenant(), Some(&id)))?.allowed {
                seen.push(project);
            }
        }
        Ok(seen)
    }

    /// Those of these actions that the caller may not do on this place.
    pub(crate) async fn lacking<A: Action<Reach = TenantScope>>(
        &self,
        permit: &Permit<A>,
        place: &Place,
        actions: &[&'static str],
    ) -> Result<Vec<&'static str>, Problem> {
        let holdings = self.roles_of(permit).await?;
        let hearing = self.judge.about(Caller::from(&permit.principal), &holdings)?;
        let mut lacking = Vec::new();
        for action in actions {
            if !hearing.may(action, place)?.allowed {
                lacking.push(*action);
            }
        }
        Ok(lacking)
    }

    /// Every action of a role.
    pub(crate) fn actions_of(&self, role: &HeldRole) -> Result<Vec<&'static str>, Problem> {
        actions_of(&self.judge, role)
    }

    /// What a shipped role is for, in a sentence.
    pub(crate) fn says(&self, role: Role) -> &str {
        self.judge.says(role.as_str())
    }

    /// Why `asked` may or may not do an action on a place of the permit's tenant; `own` are the tenant's own roles.
    pub(crate) async fn explain<A: Action<Reach = TenantScope>>(
        &self,
        permit: &Permit<A>,
        asked: Asked<'_>,
        (action, place): (&ActionInfo, &Place),
        own: Vec<HeldRole>,
    ) -> Result<Explained, Problem> {
        let scope = &permit.reach;
        let (subject, holdings) = match asked {
            Asked::Oneself(principal) => (principal.subject(), self.roles_of(permit).await?),
            Asked::Other(subject) => (subject, self.store.bindings_of(scope, &[subject.to_owned()]).await?),
        };
        let caller = Caller { subject, tenant: Some(scope.tenant()), is_worker: false };
        let hearing = self.judge.about(caller, &holdings)?;
        let verdict = hearing.may(action.name, place)?;
        let sees = verdict.allowed || hearing.may(super::See::NAME, place)?.allowed;
        let mut enough = Vec::new();
        let shipped = Role::ALL.into_iter().filter(|role| role.is_of_tenant()).map(HeldRole::Shipped);
        for role in shipped.chain(own).filter(|_| action.of == Of::Tenant) {
            let name = role.name().to_owned();
            let held = [Holding { role, on: place.clone(), by: Source::Token }];
            if self.judge.about(caller, &held)?.may(action.name, place)?.allowed {
                enough.push(name);
            }
        }
        Ok(Explained { verdict, sees, holdings, enough })
    }
}
