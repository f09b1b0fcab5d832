//! What the table of actions promises, whatever the handlers do.

use super::action::*;
use super::*;

#[test]
fn a_platform_admin_may_not_look_into_a_tenant() {
    let allowed: Vec<_> =
        ALL.iter().filter(|row| row.groups.contains(&Group::PlatformAdmin)).map(|row| row.name).collect();
    assert_eq!(
        allowed,
        [
            "tenants.create",
            "tenants.list",
            "tenants.delete",
            "tenants.read",
            "tenants.update",
            "tenants.suspend",
            "tenants.resume",
            "plans.list",
            "plans.write",
            "plans.delete",
            "limits.read",
            "erasures.read",
            "bill.read",
            "platform-audit.read"
        ]
    );
}

#[test]
fn what_reaches_no_tenant_is_only_for_the_platforms_own() {
    for row in ALL.iter().filter(|row| row.of != Of::Tenant) {
        let platforms = |group: &Group| matches!(group, Group::PlatformAdmin | Group::Worker);
        assert!(row.groups.iter().all(platforms), "{}", row.name);
    }
}

#[test]
fn names_of_actions_are_unique_and_say_something() {
    let names: std::collections::BTreeSet<_> = ALL.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), ALL.len());
    assert!(ALL.iter().all(|row| row.says.len() > 5 && !row.says.contains('\n')));
}
