//! What crossing into a guest costs: `cargo xtask bench abi`; `records`, `instances` and `first-output` after it choose sections.
//!
//! Every figure is CPU time of this thread, and every row holds all ways of calling in one run, so that their ratios stand even where the
//! machine is slow or busy. The kernel passes records through: what is measured is the crossing, not the work.
//!
//! - `native`: the same columns, copied by a plain function call.
//! - `sync`: wasmtime's `call`, no fibre. `async`: the engine, never yielding. `yields`: the engine as it runs. None of the three marks.
//! - `marks`: the engine as it runs, with a mark for each record. `/native`: that, against `native`.
//!
//! Must never: compare figures of different runs.

mod measure;
mod plain;
mod subject;

use bulkhead_engine::{Mode, YIELD_INTERVAL_FUEL};
use measure::cpu_ns_each;
use std::path::Path;
use std::time::Instant;
use subject::{Subject, records};

const SIZES: [usize; 7] = [1, 10, 100, 500, 1_000, 2_000, 5_000];

/// Measures something and prints it; given the compiler child's path.
type Section = fn(&Path);

fn main() {
    // cargo adds options of its own; what else there is chooses sections.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let folder = tempfile::tempdir().unwrap();
    let sections: [(&str, Section); 3] =
        [("records", each_record), ("instances", each_instance), ("first-output", first_output)];
    for (name, section) in sections {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            section(folder.path());
        }
    }
}

fn each_record(folder: &Path) {
    let mut plain = plain::Plain::new();
    let mut never = Subject::new(folder, "never_marks", None);
    let mut yields = Subject::new(folder, "never_marks", Some(YIELD_INTERVAL_FUEL));
    let mut marks = Subject::new(folder, "passthrough", Some(YIELD_INTERVAL_FUEL));
    for headers in [0, 2] {
        println!("\nns a record, {headers} headers, values of {} bytes", subject::VALUE_BYTES);
        let names = ["batch", "native", "sync", "async", "yields", "marks", "/native"];
        println!("{}", names.map(|name| format!("{name:>8}")).concat());
        for size in SIZES {
            let batch = records(size, headers);
            let figures = [
                cpu_ns_each(|| subject::native(&batch)),
                cpu_ns_each(|| plain.process(&batch)),
                cpu_ns_each(|| never.process(&batch)),
                cpu_ns_each(|| yields.process(&batch)),
                cpu_ns_each(|| marks.process(&batch)),
            ];
            let figures = figures.map(|ns| ns / size as f64);
            let ratio = figures[4] / figures[0];
            println!("{size:>8}{}{ratio:>8.1}", figures.map(|ns| format!("{ns:>8.1}")).concat());
        }
    }
}

fn each_instance(folder: &Path) {
    println!("\nµs to make an instance, `init` included, and to drop it");
    let subject = Subject::new(folder, "passthrough", Some(YIELD_INTERVAL_FUEL));
    for (name, mode) in [("live", Mode::Live), ("confirm", subject::CONFIRM)] {
        println!("{name:>8}{:>8.1}", cpu_ns_each(|| subject.instantiate(mode)) / 1_000.0);
    }
}

/// Wall time, of one run each: most of it is the compiler child's, on all its threads.
fn first_output(_: &Path) {
    let bytes = subject::wasm_bytes();
    println!("\nms of wall time from an upload's last byte to its first output, {bytes} bytes of wasm");
    let folder = tempfile::tempdir().unwrap();
    for name in ["cold", "cached"] {
        let start = Instant::now();
        let mut subject = Subject::new(folder.path(), "passthrough", Some(YIELD_INTERVAL_FUEL));
        subject.process(&records(1, 0));
        println!("{name:>8}{:>8.1}", start.elapsed().as_secs_f64() * 1_000.0);
    }
}
