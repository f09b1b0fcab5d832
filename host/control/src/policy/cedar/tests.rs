//! The shipped policies: they fit their schema, the schema fits the table of actions, and each role may what its table here says.

use super::*;
use crate::policy::Of;
use crate::policy::action::Group;
use crate::policy::holding::Source;
use crate::token::Role;
use bulkhead_core::name::{ProjectId, TenantId};
use cedar_policy::{Schema, ValidationMode, Validator};
use std::fmt::Write;

const SCHEMA: &str = include_str!("bulkhead.cedarschema");

/// The schema as the table of actions has it.
fn schema() -> String {
    let mut text = String::from(
        "// What policies speak of. Made from the table in policy/action.rs; do not change it by hand:\n\
         // BULKHEAD_BLESS=1 cargo test -p bulkhead-control --lib policy::cedar\n\n\
         entity Platform;\n\
         entity Fleet;\n\
         entity Tenant in [Platform];\n\
         entity Project in [Tenant, Project];\n\
         entity User { tenant?: Tenant };\n\
         entity Worker { tenant?: Tenant };\n\n\
         // Groups, of which policies speak as one.\n",
    );
    for group in Group::ALL {
        writeln!(text, "action \"{}\";", group.as_str()).unwrap();
    }
    for ActionInfo { name, says, groups, of } in ALL {
        let groups: Vec<_> = groups.iter().map(|group| format!("\"{}\"", group.as_str())).collect();
        let by = if groups == ["\"worker\""] { "Worker" } else { "User" };
        let on = match of {
            Of::Platform => "Platform",
            Of::Fleet => "Fleet",
            Of::Tenant => "Tenant, Project",
        };
        let groups = groups.join(", ");
        writeln!(text, "\n//{says}").unwrap();
        writeln!(text, "action \"{name}\" in [{groups}] appliesTo {{ principal: [{by}], resource: [{on}] }};").unwrap();
    }
    text
}

#[test]
fn the_schema_is_the_table_of_actions() {
    let made = schema();
    if std::env::var_os("BULKHEAD_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/cedar/bulkhead.cedarschema");
        std::fs::write(path, &made).unwrap();
        return;
    }
    assert_eq!(made, SCHEMA, "run this test with BULKHEAD_BLESS=1");
}

#[test]
fn the_policies_fit_the_schema() {
    let (schema, warnings) = Schema::from_cedarschema_str(SCHEMA).unwrap();
    assert_eq!(warnings.map(|warning| warning.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
    let told = Validator::new(schema).validate(&shipped().unwrap(), ValidationMode::Strict);
    let told: Vec<_> = told.validation_errors().map(ToString::to_string).collect();
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn every_group_is_some_policys_and_every_role_has_a_policy_that_says_what_it_is_for() {
    let judge = Judge::new().unwrap();
    let texts: String = FILES.iter().map(|(_, text)| *text).collect();
    for group in Group::ALL {
        assert!(texts.contains(&format!("Action::\"{}\"", group.as_str())), "no policy speaks of {}", group.as_str());
    }
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Worker) {
        assert!(!judge.says(role.as_str()).is_empty(), "{role}");
    }
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn project(name: &str) -> Place {
    Place::Project(acme(), name.parse::<ProjectId>().unwrap())
}

fn held(role: HeldRole, on: Place) -> Holding {
    Holding { role, on, by: Source::Binding("user:ann".to_owned()) }
}

fn may(holdings: &[Holding], tenant: Option<&str>, action: &str, place: &Place) -> Verdict {
    let judge = Judge::new().unwrap();
    let tenant: Option<TenantId> = tenant.map(|tenant| tenant.parse().unwrap());
    let caller = Caller { subject: "ann", tenant: tenant.as_ref(), is_worker: false };
    judge.about(caller, holdings).unwrap().may(action, place).unwrap()
}

#[test]
fn a_role_is_inherited_down_and_neither_up_nor_aside() {
    let on_shop = [held(HeldRole::Shipped(Role::Developer), project("shop"))];
    let allowed = |place: &Place| may(&on_shop, Some("acme"), "pipelines.apply", place).allowed;
    assert!(allowed(&project("shop")) && allowed(&project("shop.eu")) && allowed(&project("shop.eu.west")));
    assert!(!allowed(&project("shopping")) && !allowed(&project("default")) && !allowed(&Place::Tenant(acme())));
    let globex = Place::Project("globex".parse().unwrap(), "shop".parse().unwrap());
    assert!(!allowed(&globex), "another tenant's project of the same name");
}

#[test]
fn a_boundary_holds_whatever_is_bound() {
    let globex: TenantId = "globex".parse().unwrap();
    let wrong = [held(HeldRole::Shipped(Role::TenantAdmin), Place::Tenant(globex.clone()))];
    let verdict = may(&wrong, Some("acme"), "topics.read", &Place::Tenant(globex.clone()));
    assert_eq!((verdict.allowed, verdict.policies().join(" ").as_str()), (false, "own-tenant-only"));
    let wrong = [held(HeldRole::Shipped(Role::Viewer), Place::Platform)];
    let verdict = may(&wrong, None, "topics.read", &Place::Tenant(globex));
    assert_eq!((verdict.allowed, verdict.policies().join(" ").as_str()), (false, "platform-without-data"));
}

#[test]
fn a_tenants_own_role_is_its_actions_and_no_more() {
    let actions =
        vec!["pipelines.pause".to_owned(), "tokens.mint".to_owned(), "no.such".to_owned(), "tenants.delete".to_owned()];
    let night = HeldRole::Own { name: "night-shift".parse().unwrap(), actions };
    let holdings = [held(night.clone(), project("shop"))];
    let verdict = may(&holdings, Some("acme"), "pipelines.pause", &project("shop.eu"));
    assert_eq!(verdict.policies(), ["night-shift on project shop by binding of user:ann"]);
    for refused in ["pipelines.read", "tokens.mint", "tenants.delete"] {
        assert!(!may(&holdings, Some("acme"), refused, &project("shop")).allowed, "{refused}");
    }
    assert!(may(&holdings, Some("acme"), "access.see", &project("shop.eu")).allowed, "who has a role sees the place");
    assert!(!may(&holdings, Some("acme"), "access.see", &project("default")).allowed);
    assert_eq!(actions_of(&Judge::new().unwrap(), &night).unwrap(), ["pipelines.pause"]);
}

#[test]
fn workers_reach_their_scope() {
    let judge = Judge::new().unwrap();
    let (acme, globex) = (acme(), "globex".parse::<TenantId>().unwrap());
    let may = |tenant: Option<&TenantId>, action: &str, place: &Place| {
        let caller = Caller { subject: "w", tenant, is_worker: true };
        judge.about(caller, &[]).unwrap().may(action, place).unwrap().allowed
    };
    for tenant in [&acme, &globex] {
        assert!(may(None, "workers.module", &Place::Tenant(tenant.clone())));
    }
    assert!(may(Some(&acme), "workers.module", &Place::Tenant(acme.clone())));
    assert!(!may(Some(&acme), "workers.module", &Place::Tenant(globex)));
    assert!(may(Some(&acme), "workers.report", &Place::Fleet));
    assert!(!may(Some(&acme), "topics.read", &Place::Tenant(acme.clone())));
    assert!(!may(Some(&acme), "access.see", &Place::Tenant(acme.clone())));
}

/// Prints what a decision costs; asserts nothing of time.
#[test]
fn what_a_decision_costs() {
    let judge = Judge::new().unwrap();
    let acme = acme();
    let night = HeldRole::Own { name: "night-shift".parse().unwrap(), actions: vec!["pipelines.pause".to_owned()] };
    let cases = [
        ("a token's role", vec![held(HeldRole::Shipped(Role::Developer), Place::Tenant(acme.clone()))]),
        ("ten bindings", vec![held(HeldRole::Shipped(Role::Operator), project("shop")); 10]),
        ("a role of one's own", vec![held(night, project("shop"))]),
    ];
    let rounds = 200;
    for (what, holdings) in cases {
        let cost = |subject: &dyn Fn(u128) -> String| {
            let start = std::time::Instant::now();
            for round in 0..rounds {
                let subject = subject(round);
                let caller = Caller { subject: &subject, tenant: Some(&acme), is_worker: false };
                let hearing = judge.about(caller, &holdings).unwrap();
                assert!(hearing.may("pipelines.pause", &project("shop.eu")).unwrap().allowed);
            }
            start.elapsed().as_micros() / rounds
        };
        let (new, known) = (cost(&|round| format!("ann {round}")), cost(&|_| "ann 199".to_owned()));
        println!("{what}: {known} µs a decision, {new} µs for a caller who is new");
    }
}
