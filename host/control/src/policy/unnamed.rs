//! What the platform's own chain keeps of a tenant: a digest of its name, and nothing of what lies below it.
//!
//! A chain cannot be changed, and a tenant can be erased. So what must go with a tenant is never written there: its name, its people,
//! the names of its things. Who knows the name finds its lines by [`digest`]; the tenant's own chain tells the rest, and goes with it.
//! Must never: be left out where a line of the platform's chain is about a tenant.

use super::Target;
use crate::audit::line::Draft;
use crate::token::Principal;
use bulkhead_core::name::ModuleDigest;
use serde_json::Value;

/// How paths begin that name a tenant next.
const NAMING: [&str; 3] = ["/api/v1/tenants/", "/internal/v1/modules/", "/internal/v1/tenants/"];
/// What stands for a tenant's person.
const SOMEBODY: &str = "(of a tenant)";

/// What stands for a tenant's name: `~` and sixteen hex digits of its SHA-256.
pub(super) fn digest(name: &str) -> String {
    format!("~{}", &ModuleDigest::of(name.as_bytes()).hex()[..16])
}

/// A path up to the tenant that it names, without the name.
pub(super) fn path(path: &str) -> String {
    for begin in NAMING {
        if let Some(rest) = path.strip_prefix(begin) {
            return format!("{begin}{}", digest(rest.split('/').next().unwrap_or_default()));
        }
    }
    path.to_owned()
}

/// A line as the platform's chain keeps it.
pub(super) fn unnamed(mut draft: Draft, principal: Option<&Principal>, target: &Target<'_>) -> Draft {
    if let Some(Value::String(told)) = draft.rest.get_mut("target") {
        *told = path(told);
    }
    if target.tenant.is_some() {
        draft.resource.clear();
    }
    if let Some(own) = principal.and_then(Principal::tenant) {
        SOMEBODY.clone_into(&mut draft.subject);
        draft.rest.insert("tenant".to_owned(), digest(own.as_str()).into());
    }
    draft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_no_tenant_and_nothing_of_one() {
        let acme = path("/api/v1/tenants/acme");
        assert_eq!(path("/api/v1/tenants/acme/topics/secret-plans"), acme);
        assert!(!acme.contains("acme") && acme != path("/api/v1/tenants/globex"), "{acme}");
        assert_eq!(path("/api/v1/tenants"), "/api/v1/tenants");
        assert_eq!(path("/api/v1/erasures/1"), "/api/v1/erasures/1");
    }
}
