//! The API's description, OpenAPI 3.1, made from the table of routes, and a page that shows it.
//!
//! The document is the same for every installation, so it is made once, served, and checked in as `host/control/openapi.json`, where a
//! change of the API shows in a review; `cargo xtask openapi` writes it anew.
//! Must never: describe a route that is not served, or leave one out.

use super::routes::{Access, Route, table};
use super::too_often;
use crate::problem::Details;
use crate::token::Role;
use axum::http::header;
use axum::response::IntoResponse;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathsBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, Required, ResponseBuilder, ResponsesBuilder,
};
use utoipa::{PartialSchema, ToSchema};

const BEARER: &str = "token";
pub(super) const PROBLEM: &str = "application/problem+json";
const ABOUT: &str = "\
Bulkhead's HTTP API. Every route but the public ones needs a token: `Authorization: Bearer TOKEN`.

`-` as a path's tenant is the one of the token or, with a token of the platform's own, of the header `Bulkhead-Tenant`. That header \
may always be sent; path, header and token then name the same tenant.

Lists come in pages: `?limit` (1 to 1,000, 100 unasked) and `?after`, which is the `next` of the page before. Errors are problem \
details (RFC 9457) with a stable `code`; its page is at `/api/v1/errors/CODE`.";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    // Through a value, whose maps are sorted: the text must not change where the API does not.
    let document = serde_json::to_value(document()).and_then(|value| serde_json::to_string_pretty(&value));
    document.unwrap_or_default() + "\n"
});

/// The description as JSON text.
pub fn openapi() -> &'static str {
    &DOCUMENT
}

pub(super) async fn json() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=300")], openapi())
}

/// A page that fetches the document and shows it. It needs nothing from elsewhere, and may not fetch from there.
pub(super) async fn viewer() -> impl IntoResponse {
    const POLICY: &str =
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'";
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, include_str!("viewer.html"))
}

fn document() -> OpenApi {
    let mut paths: BTreeMap<&'static str, PathItem> = BTreeMap::new();
    let mut schemas = vec![(Details::name().into_owned(), Details::schema())];
    Details::schemas(&mut schemas);
    schemas.push(too_often::schema());
    for route in table() {
        let item = PathItem::new(method(&route), operation(&route));
        paths.entry(route.info.path).or_default().merge_operations(item);
        schemas.extend(route.doc.schemas);
    }
    let paths = paths.into_iter().fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .build();
    let info = InfoBuilder::new().title("Bulkhead").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT)).build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

fn method(route: &Route) -> HttpMethod {
    match route.info.method {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        "PATCH" => HttpMethod::Patch,
        _ => HttpMethod::Get,
    }
}

fn operation(route: &Route) -> OperationBuilder {
    let (info, doc) = (&route.info, &route.doc);
    let id = format!("{} {}", info.method, info.path).to_ascii_lowercase();
    let id: Vec<_> = id.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id.join("_")))
        .tag(area(info.path))
        .summary(Some(doc.summary))
        .description(Some(who(info.access)))
        .request_body(doc.body.clone());
    for name in info.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        operation = operation.parameter(path_parameter(name));
    }
    for parameter in &doc.params {
        operation = operation.parameter(parameter.clone());
    }
    let mut responses = ResponsesBuilder::new();
    for (status, answer) in &doc.answers {
        responses = responses.response(status.to_string(), answer.clone());
    }
    if info.access != Access::Public {
        let schema = Ref::from_schema_name(Details::name());
        let problem = ContentBuilder::new().schema(Some(schema)).build();
        let problem = ResponseBuilder::new().description("What is wrong, and what to do.").content(PROBLEM, problem);
        responses = responses.response("default", problem.build());
        if info.access != Access::Worker {
            responses = responses.response("429", too_often::answer());
        }
        operation = operation.security(SecurityRequirement::new(BEARER, [""; 0]));
    }
    operation.responses(responses.build())
}

/// Names in paths; what each must look like is said by [`bulkhead_core::name`].
fn path_parameter(name: &str) -> ParameterBuilder {
    let label = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$";
    let (pattern, max) = match name {
        "project" => ("^[a-z][a-z0-9.-]*$", 63),
        "topic" => ("^[A-Za-z0-9-][A-Za-z0-9._-]*$", 180),
        "digest" => ("^sha256:[0-9a-f]{64}$", 71),
        "subject" => ("^(user|group):[^/]+$", 206),
        "code" => ("^BH[0-9]{4}$", 6),
        "revision" => ("^[0-9]{1,19}$", 19),
        "module" => ("^([a-z]([a-z0-9-]{0,61}[a-z0-9])?|sha256:[0-9a-f]{64})$", 71),
        // `-` is the tenant of the token.
        "tenant" => ("^(-|[a-z]([a-z0-9-]{0,61}[a-z0-9])?)$", 63),
        "pipeline" | "stage" | "tag" | "role" => (label, 63),
        _ => ("^[^/]+$", 200),
    };
    let schema =
        ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some(pattern)).max_length(Some(max));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(Schema::Object(schema.build())))
}

/// The heading under which a path is shown: the innermost of these that it is about.
fn area(path: &str) -> &'static str {
    let areas = [
        ("/internal/", "workers"),
        ("/access/", "access"),
        ("/dead-letters", "dead letters"),
        ("/logs", "logs"),
        ("/records", "records"),
        ("/topics", "topics"),
        ("/pipelines", "pipelines"),
        ("/modules", "modules"),
        ("/projects", "projects"),
        ("/audit", "audit"),
        ("/tokens", "tokens"),
        ("/whoami", "tokens"),
        ("/login", "tokens"),
        ("/tenants", "tenants"),
    ];
    areas.iter().find(|(part, _)| path.contains(part)).map_or("server", |(_, area)| area)
}

fn who(access: Access) -> String {
    match access {
        Access::Public => "For anybody, without a token.".to_owned(),
        Access::AnyToken => "For whoever has a token.".to_owned(),
        Access::Platform => format!("Needs the role `{}`.", Role::PlatformAdmin),
        Access::Tenant(role) => format!("Needs the role `{role}`, on the tenant or on the project in the path."),
        Access::Member => "For whoever has a token of the tenant.".to_owned(),
        Access::MemberOrPlatform => {
            format!("For whoever has a token of the tenant, and for the role `{}`.", Role::PlatformAdmin)
        }
        Access::Worker => "For worker processes; people have no use for it, and it may change.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_says_what_it_does_and_what_it_gives() {
        for route in table() {
            let info = route.info;
            assert!(!route.doc.summary.is_empty(), "{} {} says nothing", info.method, info.path);
            assert!(!route.doc.answers.is_empty(), "{} {} gives nothing", info.method, info.path);
        }
    }
}
