//! The embedded log passes the suite that every log passes, and keeps its own promises: one process, durable, honest about damage.

use bulkhead_log::Log;
use bulkhead_log::embedded::EmbeddedLog;
use std::sync::{Arc, LazyLock};

/// One log for all cases, in a folder that the system clears with the others of this kind.
static LOG: LazyLock<Arc<dyn Log>> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("embedded-conformance");
    let _ = std::fs::remove_dir_all(&folder);
    Arc::new(EmbeddedLog::open(&folder).expect("opened"))
});

bulkhead_log::conformance!(Arc::clone(&LOG));
