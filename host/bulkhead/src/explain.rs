//! `bulkhead explain`: the page of an error code.
//!
//! Must never: need a running host.

use crate::arguments::ExplainArguments;
use bulkhead_core::code::Code;
use std::io::Write;

/// Prints a page, or all titles.
///
/// # Errors
/// Where there is no such code.
pub(crate) fn run(arguments: &ExplainArguments) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let Some(text) = &arguments.code else {
        for code in Code::ALL {
            writeln!(out, "{code}  {}", code.title())?;
        }
        return Ok(());
    };
    let code: Code =
        text.parse().map_err(|error| anyhow::anyhow!("`{text}`: {error}; `bulkhead explain` lists all"))?;
    writeln!(out, "{code} {}\n\n{}", code.title(), code.page().unwrap_or_default())?;
    Ok(())
}
