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

#[test]
fn scopes_are_made_in_few_places_only() {
    fn walk(dir: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if std::fs::read_to_string(&path).unwrap().contains("TenantScope::assume") {
                found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.retain(|file| !file.contains("tests"));
    found.sort();
    assert_eq!(
        found,
        ["checkpoints.rs", "leftovers.rs", "mod.rs", "record.rs", "starts.rs", "topic.rs", "uses.rs"],
        "a scope that no policy has checked reaches every tenant's data"
    );
}
