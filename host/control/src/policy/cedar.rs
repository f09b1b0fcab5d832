//! The policies, and the engine that evaluates them: Cedar.
//!
//! The files of `cedar/` are read once. Roles are templates; each role that a caller has, by its token or by a binding, links one to the
//! caller and to the place where it counts, and a tenant's own role becomes one more template. So what Cedar names as the reason of a
//! decision leads back to the role and to where it came from. Entities are made for each request: the caller, and the tenant and the
//! projects around what it acts on.
//! What was linked for a caller is kept for its next request, under all that it was linked from.
//! Must never: allow because a policy could not be evaluated.

use super::action::{ALL, ActionInfo};
use super::holding::{Caller, HeldRole, Holding, Place};
use crate::folder::OpenError;
use crate::problem::Problem;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet,
    Request, RestrictedExpression, SlotId, Template,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

/// The shipped policies, by file.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("roles.cedar", include_str!("cedar/roles.cedar")),
    ("workers.cedar", include_str!("cedar/workers.cedar")),
    ("boundaries.cedar", include_str!("cedar/boundaries.cedar")),
];

const ANY_ROLE: &str = "any-role";
const MEMBER: &str = "member";

/// Decides by the shipped policies.
pub(crate) struct Judge {
    authorizer: Authorizer,
    shipped: PolicySet,
    /// Each action with the groups that it is in.
    actions: BTreeMap<&'static str, Entity>,
    types: Types,
    /// Policies as they were linked for callers of late: linking costs more than deciding.
    linked: Mutex<HashMap<Linking, Arc<PolicySet>>>,
}

/// All that the policies of a caller are made of, so that none is used for anything else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Linking {
    subject: String,
    tenant: Option<TenantId>,
    is_worker: bool,
    holdings: Vec<Holding>,
}

/// Callers whose policies are kept, some 20 KB each.
const LINKED_MAX: usize = 256;

struct Types {
    user: EntityTypeName,
    worker: EntityTypeName,
    platform: EntityTypeName,
    fleet: EntityTypeName,
    tenant: EntityTypeName,
    project: EntityTypeName,
}

/// What was decided, and by what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    /// The policies that decided, and the role that linked each, where one did. None where nothing allows it.
    pub(crate) because: Vec<(String, Option<Holding>)>,
}

impl Verdict {
    /// The policies, each with the role that linked it, for the audit.
    pub(crate) fn policies(&self) -> Vec<String> {
        let one = |(policy, holding): &(String, Option<Holding>)| match holding {
            Some(holding) if holding.role.name() == policy => holding.to_string(),
            Some(holding) => format!("{policy} ({holding})"),
            None => policy.clone(),
        };
        self.because.iter().map(one).collect()
    }
}

impl Judge {
    /// Reads the shipped policies.
    ///
    /// # Errors
    /// Where one cannot be read, which a test keeps from happening.
    pub(crate) fn new() -> Result<Self, OpenError> {
        let broken = |what: &dyn Display| {
            OpenError::because(Code::Internal, "the shipped policies are not readable", what.to_string())
        };
        let kind = |name: &str| name.parse::<EntityTypeName>().map_err(|error| broken(&error));
        let types = Types {
            user: kind("User")?,
            worker: kind("Worker")?,
            platform: kind("Platform")?,
            fleet: kind("Fleet")?,
            tenant: kind("Tenant")?,
            project: kind("Project")?,
        };
        let action = kind("Action")?;
        let actions = ALL.iter().map(|row| {
            let groups = row.groups.iter().map(|group| uid(&action, group.as_str()));
            (row.name, Entity::new_no_attrs(uid(&action, row.name), groups.collect()))
        });
        let actions = actions.collect();
        let shipped = shipped().map_err(|error| broken(&error))?;
        Ok(Self { authorizer: Authorizer::new(), shipped, actions, types, linked: Mutex::default() })
    }

    /// What a role of ours says of itself.
    pub(crate) fn says(&self, role: &str) -> &str {
        self.shipped.template(&PolicyId::new(role)).and_then(|template| template.annotation("says")).unwrap_or_default()
    }

    /// Gets ready to answer questions about a caller who has these roles.
    ///
    /// # Errors
    /// [`Code::Internal`] where a role cannot be made a policy.
    pub(crate) fn about<'a>(&'a self, caller: Caller<'_>, holdings: &'a [Holding]) -> Result<Hearing<'a>, Problem> {
        let kind = if caller.is_worker { &self.types.worker } else { &self.types.user };
        let principal = uid(kind, caller.subject);
        let linking = Linking {
            subject: caller.subject.to_owned(),
            tenant: caller.tenant.cloned(),
            is_worker: caller.is_worker,
            holdings: holdings.to_vec(),
        };
        let known = self.linked.lock().get(&linking).cloned();
        let policies = match known {
            Some(policies) => policies,
            None => {
                let policies = Arc::new(self.link(&linking, &principal)?);
                let mut linked = self.linked.lock();
                if linked.len() >= LINKED_MAX {
                    linked.clear();
                }
                linked.insert(linking, Arc::clone(&policies));
                policies
            }
        };
        let tenant = caller.tenant.map(|tenant| uid(&self.types.tenant, tenant.as_str()));
        let attributes = tenant.map(|tenant| ("tenant".to_owned(), RestrictedExpression::new_entity_uid(tenant)));
        let principal =
            Entity::new(principal, attributes.into_iter().collect(), HashSet::new()).map_err(Problem::internal)?;
        Ok(Hearing { judge: self, policies, principal, holdings })
    }

    /// The shipped policies, with a link for each role that the caller has.
    fn link(&self, of: &Linking, principal: &EntityUid) -> Result<PolicySet, Problem> {
        let mut policies = self.shipped.clone();
        let mut link = |template: &str, id: String, on: &Place| {
            let slots = [(SlotId::principal(), principal.clone()), (SlotId::resource(), self.uid_of(on))];
            policies.link(PolicyId::new(template), PolicyId::new(id), HashMap::from(slots)).map_err(Problem::internal)
        };
        for (i, holding) in of.holdings.iter().enumerate() {
            link(ANY_ROLE, format!("{i} {ANY_ROLE}"), &holding.on)?;
            if let HeldRole::Shipped(role) = holding.role {
                link(role.as_str(), format!("{i} {role}"), &holding.on)?;
            }
        }
        if let Some(tenant) = of.tenant.as_ref().filter(|_| !of.is_worker) {
            link(MEMBER, format!("- {MEMBER}"), &Place::Tenant(tenant.clone()))?;
        }
        for (i, holding) in of.holdings.iter().enumerate() {
            if let Some(template) = own(&holding.role, i)? {
                let name = template.id().clone();
                let slots = [(SlotId::principal(), principal.clone()), (SlotId::resource(), self.uid_of(&holding.on))];
                let id = PolicyId::new(format!("{i} {}", holding.role.name()));
                policies.add_template(template).map_err(Problem::internal)?;
                policies.link(name, id, HashMap::from(slots)).map_err(Problem::internal)?;
            }
        }
        Ok(policies)
    }

    fn uid_of(&self, place: &Place) -> EntityUid {
        match place {
            Place::Platform => uid(&self.types.platform, "bulkhead"),
            Place::Fleet => uid(&self.types.fleet, "bulkhead"),
            Place::Tenant(tenant) => uid(&self.types.tenant, tenant.as_str()),
            Place::Project(tenant, project) => uid(&self.types.project, &format!("{tenant}/{project}")),
        }
    }

    /// A place, and what it lies in.
    fn around(&self, place: &Place) -> Vec<Entity> {
        let within = |parent: Option<&Place>| parent.map(|parent| self.uid_of(parent)).into_iter().collect();
        let parent = match place {
            Place::Platform | Place::Fleet => None,
            Place::Tenant(_) => Some(Place::Platform),
            Place::Project(tenant, project) => Some(Place::of(tenant, project.parent().as_ref())),
        };
        let mut entities = parent.as_ref().map_or_else(Vec::new, |parent| self.around(parent));
        entities.push(Entity::new_no_attrs(self.uid_of(place), within(parent.as_ref())));
        entities
    }
}

/// Answers about one caller.
pub(crate) struct Hearing<'a> {
    judge: &'a Judge,
    policies: Arc<PolicySet>,
    principal: Entity,
    holdings: &'a [Holding],
}

impl Hearing<'_> {
    /// Whether the caller may do this there.
    ///
    /// # Errors
    /// [`Code::Internal`] where a policy could not be evaluated, or there is no such action.
    pub(crate) fn may(&self, action: &str, place: &Place) -> Result<Verdict, Problem> {
        let no_action = || Problem::internal(format!("no policy knows the action `{action}`"));
        let action = self.judge.actions.get(action).ok_or_else(no_action)?;
        let request =
            Request::new(self.principal.uid(), action.uid(), self.judge.uid_of(place), Context::empty(), None)
                .map_err(Problem::internal)?;
        let mut entities = self.judge.around(place);
        entities.extend([self.principal.clone(), action.clone()]);
        let entities = Entities::from_entities(entities, None).map_err(Problem::internal)?;
        let response = self.judge.authorizer.is_authorized(&request, &self.policies, &entities);
        // Cedar passes over a policy that it cannot evaluate, a `forbid` too.
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(Problem::internal(format!("a policy failed: {error}")));
        }
        let mut because: Vec<_> = response.diagnostics().reason().map(|id| self.reason(id)).collect();
        because.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Verdict { allowed: response.decision() == Decision::Allow, because })
    }

    /// The policy's name, and the role that linked it.
    fn reason(&self, id: &PolicyId) -> (String, Option<Holding>) {
        let id: &str = id.as_ref();
        match id.split_once(' ') {
            Some((link, name)) => {
                (name.to_owned(), link.parse().ok().and_then(|i: usize| self.holdings.get(i)).cloned())
            }
            None => (id.to_owned(), None),
        }
    }
}

/// The policy of a tenant's own role. Its actions are names of the table, so that nothing of a tenant's is read as a policy.
fn own(role: &HeldRole, i: usize) -> Result<Option<Template>, Problem> {
    let actions: Vec<_> = role.own_actions().map(|action| format!("Action::\"{action}\"")).collect();
    if actions.is_empty() {
        return Ok(None);
    }
    let text = format!("permit (principal == ?principal, action in [{}], resource in ?resource);", actions.join(", "));
    Template::parse(Some(PolicyId::new(format!("own {i}"))), text).map(Some).map_err(Problem::internal)
}

/// All files as one set, each policy under the name in its `@id`.
fn shipped() -> Result<PolicySet, Box<dyn std::error::Error>> {
    let mut all = PolicySet::new();
    for (_, text) in FILES {
        let read: PolicySet = text.parse()?;
        for policy in read.policies() {
            let id = policy.annotation("id").ok_or("a policy has no @id")?;
            let policy: Policy = policy.new_id(PolicyId::new(id));
            all.add(policy)?;
        }
        for template in read.templates() {
            let id = template.annotation("id").ok_or("a policy has no @id")?;
            all.add_template(template.new_id(PolicyId::new(id)))?;
        }
    }
    Ok(all)
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// Every action that a role may do on a tenant.
///
/// # Errors
/// As [`Hearing::may`].
pub(crate) fn actions_of(judge: &Judge, role: &HeldRole) -> Result<Vec<&'static str>, Problem> {
    let tenant: TenantId = "t".parse().map_err(Problem::internal)?;
    let place = Place::Tenant(tenant.clone());
    let held = [Holding { role: role.clone(), on: place.clone(), by: super::holding::Source::Token }];
    let hearing = judge.about(Caller { subject: "", tenant: Some(&tenant), is_worker: false }, &held)?;
    let mut actions = Vec::new();
    for ActionInfo { name, .. } in ALL.iter().filter(|action| action.of == super::Of::Tenant) {
        let verdict = hearing.may(name, &place)?;
        let by_role = verdict.because.iter().any(|(policy, held)| held.is_some() && policy == role.name());
        if verdict.allowed && by_role {
            actions.push(*name);
        }
    }
    Ok(actions)
}

#[cfg(test)]
mod tests;
