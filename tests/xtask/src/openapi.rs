//! Writing the API's description anew, to the file that is checked in.
//!
//! Must never: make a description of its own: the one that is served is asked for, by the test that compares it.

use crate::command::cargo;
use anyhow::Result;

const TEST: &str = "description::the_description_is_the_one_checked_in";

/// Writes `host/control/openapi.json`.
///
/// # Errors
/// Where control does not build.
pub(crate) fn run() -> Result<()> {
    cargo(["test", "--workspace", "--test", "all", "--", "--exact", TEST]).env("BULKHEAD_WRITE_OPENAPI", "1").run()?;
    println!("host/control/openapi.json describes the routes; `git diff` shows what changed");
    Ok(())
}
