//! The page of each error code, at the address that problems name as their `type`.
//!
//! Must never: need a token: whoever got a 401 wants to read it.

use super::extract::Names;
use crate::problem::Problem;
use axum::http::header;
use axum::response::IntoResponse;
use bulkhead_core::code::Code;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Which {
    code: String,
}

pub(super) async fn page(Names(which): Names<Which>) -> Result<impl IntoResponse, Problem> {
    let code: Code = which.code.parse().map_err(|error| Problem::not_found(format!("page: {error}")))?;
    let page = code.page().ok_or_else(|| Problem::not_found("page of this code"))?;
    let text = format!("# {code} {}\n\n{page}\n", code.title());
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")], text))
}
