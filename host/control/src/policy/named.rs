//! Which tenant a request names: in its path, in the header `Bulkhead-Tenant`, or by its token alone.
//!
//! `-` in a path is the tenant of the token or, for the platform's own tokens, of the header: so a gateway need not know tenants'
//! names. Where more than one of the three names a tenant, they name the same one, or the request is refused.
//! Must never: look whether a tenant exists, or tell what another of the three said.

use crate::problem::Problem;
use crate::token::Principal;
use axum::http::HeaderMap;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;

/// The header with the tenant's name.
const HEADER: &str = "bulkhead-tenant";
/// What stands in a path for the tenant that header or token name. No tenant can have this name.
const UNNAMED: &str = "-";

/// The tenant that is named, with `path` the path's as written; `None` where the route is about none.
///
/// # Errors
/// [`Code::TenantsDisagree`], [`Code::TenantUnnamed`].
pub(crate) fn named(path: Option<&str>, headers: &HeaderMap, principal: &Principal) -> Result<Option<String>, Problem> {
    let disagree = || {
        let detail = "the tenants in the path, in the header `Bulkhead-Tenant` and in the token are not the same one; \
                      leave the header out, or send each tenant's token with its name";
        Problem::new(Code::TenantsDisagree, detail)
    };
    let mut given = headers.get_all(HEADER).iter();
    let header = match (given.next(), given.next()) {
        (None, _) => None,
        (Some(value), None) => {
            let name = value.to_str().ok().and_then(|name| name.parse::<TenantId>().ok());
            Some(name.ok_or_else(disagree)?)
        }
        (Some(_), Some(_)) => return Err(disagree()),
    };
    let of_token = principal.tenant();
    if let (Some(header), Some(own)) = (&header, of_token)
        && header != own
    {
        return Err(disagree());
    }
    match (path, &header) {
        (Some(UNNAMED), header) => {
            let detail = "nothing names the tenant: write it into the path, or send the header `Bulkhead-Tenant`";
            let found = of_token.or(header.as_ref()).map(ToString::to_string);
            found.map(Some).ok_or_else(|| Problem::new(Code::TenantUnnamed, detail))
        }
        (Some(path), Some(header)) if path != header.as_str() => Err(disagree()),
        (path, _) => Ok(path.map(str::to_owned)),
    }
}
