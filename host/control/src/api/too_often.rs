//! How an answer 429 is described: a problem that has the figures of every answer at a limit, and when to come again.
//!
//! Must never: name a member that [`crate::problem`] does not write.

use super::openapi::PROBLEM;
use crate::problem::Details;
use utoipa::ToSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

/// Its name among the schemas.
const NAME: &str = "RateProblem";

/// The schema, with its name.
pub(super) fn schema() -> (String, RefOr<Schema>) {
    let one = |kind: Type, says: &str| {
        ObjectBuilder::new().schema_type(SchemaType::Type(kind)).description(Some(says)).build()
    };
    let figures = ObjectBuilder::new()
        .property(
            "limit",
            one(
                Type::String,
                "As in `GET …/limits`; or what is this server's own: `addressRequestsPerSecond` of requests without an accepted token, \
                 `streams` and `produces` of those that a tenant has open at a time.",
            ),
        )
        .property("used", one(Type::Integer, "How much of it is used; of a rate about, and with what was refused."))
        .property("allowed", one(Type::Integer, "How much may be; a token's part where it is the token that came too often."))
        .property("unit", one(Type::String, "What both count, for instance `requests/s`."))
        .property(
            "retryAfterMs",
            one(Type::Integer, "Milliseconds after which there is room again; not there where nobody knows."),
        )
        .property("freesAt", one(Type::String, "The same as a time."))
        .required("limit")
        .required("used")
        .required("allowed")
        .required("unit");
    let whole = AllOfBuilder::new().item(Ref::from_schema_name(Details::name())).item(figures).build();
    (NAME.to_owned(), Schema::AllOf(whole).into())
}

/// The answer.
pub(super) fn answer() -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(NAME))).build();
    let header = |kind: Type, says: &str| {
        let schema = ObjectBuilder::new().schema_type(SchemaType::Type(kind)).build();
        HeaderBuilder::new().schema(Some(Schema::Object(schema))).description(Some(says)).build()
    };
    ResponseBuilder::new()
        .description("Too often, or too much in a time: what the limit is, and when to come again.")
        .content(PROBLEM, content)
        .header("Retry-After", header(Type::Integer, "Seconds, rounded up; not there where nobody knows."))
        .header("RateLimit", header(Type::String, "How the token and its tenant stand with their requests."))
        .header("RateLimit-Policy", header(Type::String, "What they may."))
        .build()
}
