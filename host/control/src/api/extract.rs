//! Paths, queries and JSON bodies, with every rejection a problem that says what to do.
//!
//! Must never: come before the [`Permit`](crate::policy::Permit) in a handler's signature: a client without a right learns nothing of form.

use super::App;
use super::body::Limited;
use crate::problem::Problem;
use crate::store::Page;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

/// Bytes of a JSON body at most, where a handler needs no more than a few fields.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// Entries of a list that come unasked, and that come at most.
const LIST_DEFAULT: u32 = 100;
const LIST_MAX: u32 = 1_000;

/// Names in the path. `T` has the fields that the handler wants; the others, `tenant` among them, are left.
pub(super) struct Names<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Names<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, app).await;
        path.map(|Path(names)| Self(names)).map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

/// The query.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, app).await;
        query.map(|Query(params)| Self(params)).map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

/// A small JSON body. The content type is not asked for: it adds nothing.
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let Limited(bytes) = Limited::<FORM_BYTES_MAX>::from_request(request, app).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::bad_request(format!("the body is not the JSON that belongs here: {error}")))
    }
}

/// `?after=…&limit=…`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    /// The `next` of the page before.
    #[serde(default)]
    after: String,
    /// Entries at most, 1 to 1,000; 100 unasked.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

impl ListParams {
    /// The page that is asked for.
    pub(super) fn page(self) -> Result<Page, Problem> {
        page(&self.after, self.limit)
    }
}

/// The page after `after`, of `limit` entries, or the usual number.
///
/// # Errors
/// Where no list has such pages.
pub(super) fn page(after: &str, limit: Option<u32>) -> Result<Page, Problem> {
    let limit = limit.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("ask for a `limit` from 1 to {LIST_MAX}")));
    }
    Ok(Page { after: after.to_owned(), limit })
}

/// A list as JSON: `next` is the `after` of the page that follows, null on the last.
pub(super) fn list_json<T: serde::Serialize>(items: &[T], page: &Page, id: impl Fn(&T) -> String) -> serde_json::Value {
    let full = items.len() >= page.limit as usize;
    let next = items.last().filter(|_| full).map(id);
    serde_json::json!({"items": items, "next": next})
}
