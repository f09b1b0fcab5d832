//! What the table of actions promises, whatever the handlers do.

use super::action::*;
use super::*;

/// `(name, of a tenant, roles)` of each action.
fn all() -> Vec<(&'static str, bool, &'static [Role])> {
    fn row<A: Action>() -> (&'static str, bool, &'static [Role]) {
        (A::NAME, A::Reach::OF_TENANT, A::ROLES)
    }
    vec![
        row::<CreateTenant>(),
        row::<ListTenants>(),
        row::<DeleteTenant>(),
        row::<ReadTenant>(),
        row::<MintToken>(),
        row::<ReadAudit>(),
        row::<SetAuditTopic>(),
        row::<ReadPlatformAudit>(),
        row::<ReadProjects>(),
        row::<CreateProject>(),
        row::<DeleteProject>(),
        row::<ReadModules>(),
        row::<WriteModules>(),
        row::<DeleteModules>(),
        row::<TagModules>(),
        row::<ReadPipelines>(),
        row::<PlanPipeline>(),
        row::<ApplyPipeline>(),
        row::<PausePipeline>(),
        row::<DeletePipeline>(),
        row::<ReadTopics>(),
        row::<CreateTopic>(),
        row::<DeleteTopic>(),
        row::<ProduceRecords>(),
        row::<ReadRecords>(),
        row::<RepeatRequest>(),
        row::<FetchAssignment>(),
        row::<SendReport>(),
        row::<FetchModule>(),
    ]
}

#[test]
fn a_platform_admin_may_not_look_into_a_tenant() {
    let allowed: Vec<_> =
        all().into_iter().filter(|(_, _, roles)| roles.contains(&Role::PlatformAdmin)).map(|(name, ..)| name).collect();
    assert_eq!(allowed, ["tenants.create", "tenants.list", "tenants.delete", "tenants.read", "platform-audit.read"]);
}

#[test]
fn what_reaches_no_tenant_is_only_for_the_platforms_own() {
    for (name, of_tenant, roles) in all() {
        assert!(of_tenant || roles.iter().all(|role| !role.is_of_tenant()), "{name}");
    }
}
