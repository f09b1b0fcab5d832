//! A flame graph of where fuel went. What a sample means is in [`bulkhead_engine::Profile`].
//!
//! Must never: hide fuel that no sample saw.

use crate::cli::failure::Complaint;
use bulkhead_core::code::Code;
use bulkhead_engine::Profile;
use inferno::flamegraph::{Options, from_lines};
use std::path::Path;

/// Draws the profile of a module; `unseen` is fuel that no sample saw.
///
/// # Errors
/// Where nothing was burnt, or the file cannot be written.
pub(super) fn draw(file: &Path, module: &Path, profile: &Profile, unseen: u64) -> anyhow::Result<()> {
    let mut lines = profile.folded();
    if unseen > 0 {
        lines.push(format!("(after the last sample) {unseen}"));
    }
    if lines.is_empty() {
        return Err(Complaint::new(Code::LocalFailure, "nothing was burnt, so there is nothing to draw").into());
    }
    let mut options = Options::default();
    options.title = format!("Fuel of {}", module.file_name().unwrap_or_default().to_string_lossy());
    options.subtitle = Some(format!("{} samples, each at a function entry or loop head", profile.samples()));
    options.count_name = "fuel".to_owned();
    options.deterministic = true;
    let mut svg = Vec::new();
    let drawn = from_lines(&mut options, lines.iter().map(String::as_str), &mut svg);
    let written = drawn
        .map_err(|error| error.to_string())
        .and_then(|()| std::fs::write(file, &svg).map_err(|error| error.to_string()));
    written.map_err(|error| Complaint::new(Code::LocalFailure, format!("drawing {}: {error}", file.display())).into())
}
