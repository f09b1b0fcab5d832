//! Whether the process lives, and whether it should get requests.
//!
//! Must never: ask the log: a broker that is away must not take the API with it.

use super::App;
use crate::problem::Problem;
use axum::extract::State;
use bulkhead_core::code::Code;

pub(super) async fn livez() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.stop().is_cancelled() {
        return Err(Problem::new(Code::Unavailable, "this server is stopping; use another, or try again"));
    }
    app.policy().ping().await?;
    Ok("ok\n")
}
