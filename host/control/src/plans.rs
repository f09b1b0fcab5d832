//! Plans: names for how much a tenant may keep.
//!
//! `standard` and `trial` are always there; an operator's file adds others or says these anew. A plan is looked up at each use, so that a
//! change of a tenant's plan holds from the next request on.
//! Must never: take away what a tenant has, where its plan allows less: it may only not add to it.

use crate::config::Quotas;
use bulkhead_core::name::PlanName;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The plan of whoever was given no other.
pub const STANDARD: &str = "standard";
/// A plan for a look around.
const TRIAL: &str = "trial";

/// The plans beside [`STANDARD`], whose quotas are [`ControlConfig::quotas`](crate::ControlConfig::quotas).
#[derive(Debug, Clone)]
pub struct Plans(BTreeMap<String, Quotas>);

impl Default for Plans {
    fn default() -> Self {
        let trial = Quotas {
            modules: 20,
            module_bytes: 256 << 20,
            projects: 5,
            pipelines: 10,
            revisions: 20,
            topics: 20,
            log_lines: 10_000,
            log_bytes: 4 << 20,
            partitions: 8,
            entries: 50,
            roles: 10,
            role_bindings: 100,
            api_requests_per_second: 50,
            api_burst: 100,
        };
        Self(BTreeMap::from([(TRIAL.to_owned(), trial)]))
    }
}

/// A plan as an operator writes it: what is left out is as in [`STANDARD`].
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RawPlan {
    modules: Option<u64>,
    module_bytes: Option<u64>,
    projects: Option<u64>,
    pipelines: Option<u64>,
    revisions: Option<u64>,
    topics: Option<u64>,
    log_lines: Option<u64>,
    log_bytes: Option<u64>,
    partitions: Option<i32>,
    entries: Option<u64>,
    roles: Option<u64>,
    role_bindings: Option<u64>,
    api_requests_per_second: Option<u64>,
    api_burst: Option<u64>,
}

/// A file of plans: `trial: { topics: 5 }`.
pub type RawPlans = BTreeMap<PlanName, RawPlan>;

impl RawPlan {
    fn over(self, base: Quotas) -> Quotas {
        Quotas {
            modules: self.modules.unwrap_or(base.modules),
            module_bytes: self.module_bytes.unwrap_or(base.module_bytes),
            projects: self.projects.unwrap_or(base.projects),
            pipelines: self.pipelines.unwrap_or(base.pipelines),
            revisions: self.revisions.unwrap_or(base.revisions),
            topics: self.topics.unwrap_or(base.topics),
            log_lines: self.log_lines.unwrap_or(base.log_lines),
            log_bytes: self.log_bytes.unwrap_or(base.log_bytes),
            partitions: self.partitions.unwrap_or(base.partitions),
            entries: self.entries.unwrap_or(base.entries),
            roles: self.roles.unwrap_or(base.roles),
            role_bindings: self.role_bindings.unwrap_or(base.role_bindings),
            api_requests_per_second: self.api_requests_per_second.unwrap_or(base.api_requests_per_second),
            api_burst: self.api_burst.unwrap_or(base.api_burst),
        }
    }
}

impl Plans {
    /// Takes over what a file says. `standard` is given its quotas; the others take from it what they do not say.
    pub fn read(&mut self, standard: &mut Quotas, mut raw: RawPlans) {
        if let Ok(name) = STANDARD.parse::<PlanName>()
            && let Some(written) = raw.remove(&name)
        {
            *standard = written.over(*standard);
        }
        self.0.extend(raw.into_iter().map(|(name, plan)| (name.into(), plan.over(*standard))));
    }

    /// The quotas of a plan; `None` where there is none of this name.
    pub(crate) fn quotas(&self, plan: &str, standard: Quotas) -> Option<Quotas> {
        if plan == STANDARD { Some(standard) } else { self.0.get(plan).copied() }
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(STANDARD).chain(self.0.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_adds_plans_and_says_what_standard_is() {
        let (mut plans, mut standard) = (Plans::default(), Quotas::default());
        let raw = r#"{"standard": {"topics": 7}, "gold": {"modules": 5000}, "trial": {"partitions": 1}}"#;
        plans.read(&mut standard, serde_json::from_str(raw).unwrap());
        let gold = plans.quotas("gold", standard).unwrap();
        assert_eq!((standard.topics, gold.topics, gold.modules), (7, 7, 5_000));
        assert_eq!(plans.quotas("trial", standard).unwrap().partitions, 1);
        assert!(plans.quotas("silver", standard).is_none());
        assert_eq!(plans.names().collect::<Vec<_>>(), ["standard", "gold", "trial"]);
        for bad in [r#"{"gold": {"topcis": 1}}"#, r#"{"Gold": {}}"#, r#"{"gold": {"topics": -1}}"#] {
            assert!(serde_json::from_str::<RawPlans>(bad).is_err(), "{bad}");
        }
    }
}
