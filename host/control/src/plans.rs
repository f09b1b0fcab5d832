//! Plans: names for sets of limits.
//!
//! They are kept in the database, where they change at run time; what is here is what a start puts there. `standard` and `trial` are always
//! there; an operator's file adds others or says these anew, until one is changed over the API: from then on the file is not asked of it.
//! Must never: take away what a tenant has, where its plan allows less: it may only not add to it.

use bulkhead_core::name::PlanName;
use bulkhead_core::tenant_limits::{LimitValues, TenantLimit, TenantLimits};
use std::collections::BTreeMap;

/// The plan of whoever was given no other. What it leaves out is as in the table of limits.
pub const STANDARD: &str = "standard";
/// A plan for a look around.
const TRIAL: &str = "trial";

/// The plans beside [`STANDARD`] that a start puts into the database.
#[derive(Debug, Clone)]
pub struct Plans(BTreeMap<String, LimitValues>);

impl Default for Plans {
    fn default() -> Self {
        let trial = TenantLimits {
            modules: 20,
            module_bytes: 256 << 20,
            projects: 5,
            pipelines: 10,
            stages: 40,
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
            fuel_per_second: 1_000_000_000,
            fuel_per_month: 500_000_000_000_000,
            bytes_in_per_second: 16 << 20,
            bytes_out_per_second: 16 << 20,
            instances: 100,
            guest_memory_bytes: 2 << 30,
            memory_bytes: 256 << 20,
            compile_seconds_per_hour: 300,
            ..TenantLimits::default()
        };
        Self(BTreeMap::from([(TRIAL.to_owned(), LimitValues::unlike_default(&trial))]))
    }
}

/// A file of plans: `trial: { topics: 5 }`; what is left out is as in [`STANDARD`].
pub type RawPlans = BTreeMap<PlanName, LimitValues>;

impl Plans {
    /// Takes over what a file says. `standard` is given its limits.
    pub fn read(&mut self, standard: &mut TenantLimits, mut raw: RawPlans) {
        if let Ok(name) = STANDARD.parse::<PlanName>()
            && let Some(written) = raw.remove(&name)
        {
            *standard = written.over(*standard);
        }
        self.0.extend(raw.into_iter().map(|(name, plan)| (name.into(), plan)));
    }

    /// All of them, with what [`STANDARD`] says.
    pub(crate) fn seeds(&self, standard: &TenantLimits) -> BTreeMap<String, LimitValues> {
        let mut seeds = self.0.clone();
        seeds.insert(STANDARD.to_owned(), LimitValues::unlike_default(standard));
        seeds
    }
}

/// All plans as they are kept, at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlanTable(pub(crate) BTreeMap<String, LimitValues>);

/// What one tenant may, and where each limit comes from.
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    pub(crate) limits: TenantLimits,
    own: LimitValues,
    plan: LimitValues,
}

impl PlanTable {
    /// What a plan allows that lies over `standard`. One that is not there allows what `standard` does.
    pub(crate) fn of(&self, plan: &str) -> TenantLimits {
        let standard = self.0.get(STANDARD).cloned().unwrap_or_default().over(TenantLimits::default());
        self.0.get(plan).map_or(standard, |says| says.over(standard))
    }

    /// What a tenant of this plan may that has these limits of its own.
    pub(crate) fn effective(&self, plan: &str, own: &LimitValues) -> Effective {
        let says = self.0.get(plan).cloned().unwrap_or_default();
        Effective { limits: own.over(self.of(plan)), own: own.clone(), plan: says }
    }
}

impl Effective {
    /// What says how much a limit is: the tenant's own, its plan, or neither.
    pub(crate) fn origin(&self, limit: &TenantLimit) -> &'static str {
        match () {
            () if self.own.has(limit) => "override",
            () if self.plan.has(limit) => "plan",
            () => "default",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_adds_plans_and_says_what_standard_is() {
        let (mut plans, mut standard) = (Plans::default(), TenantLimits::default());
        let raw = r#"{"standard": {"topics": 7}, "gold": {"modules": 5000}, "trial": {"partitions": 1}}"#;
        plans.read(&mut standard, serde_json::from_str(raw).unwrap());
        let table = PlanTable(plans.seeds(&standard));
        let gold = table.of("gold");
        assert_eq!((standard.topics, gold.topics, gold.modules), (7, 7, 5_000));
        assert_eq!((table.of("trial").partitions, table.of("trial").topics), (1, 7));
        assert_eq!(table.0.keys().collect::<Vec<_>>(), ["gold", "standard", "trial"]);
        for bad in [r#"{"gold": {"topcis": 1}}"#, r#"{"Gold": {}}"#, r#"{"gold": {"topics": -1}}"#] {
            assert!(serde_json::from_str::<RawPlans>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tenants_own_limit_wins_over_its_plans() {
        let table = PlanTable(Plans::default().seeds(&TenantLimits::default()));
        let mut own = LimitValues::default();
        own.set("topics", 3).unwrap();
        let effective = table.effective(TRIAL, &own);
        let origin = |name| effective.origin(TenantLimit::find(name).unwrap());
        assert_eq!((effective.limits.topics, effective.limits.modules), (3, 20));
        assert_eq!((origin("topics"), origin("modules"), origin("burstSeconds")), ("override", "plan", "default"));
    }
}
