//! What crossing into a guest costs: `cargo bench --bench abi -p bulkhead-engine`.
//!
//! Every figure is CPU time of this thread, and every row holds all ways of calling in one run, so that their ratios stand even where the
//! machine is slow or busy. The kernel passes records through: what is measured is the crossing, not the work.
//!
//! - `native`: the same columns, copied by a plain function call.
//! - `sync`: wasmtime's `call`, no fibre. `async`: the engine, never yielding. `yields`: the engine as it runs. None of the three marks.
//! - `marks`: the engine as it runs, with a mark for each record. `/native`: that, against `native`.

mod measure;
mod plain;
mod subject;

use measure::cpu_ns_each;
use std::time::Instant;
use subject::{Subject, records};

const SIZES: [usize; 7] = [1, 10, 100, 500, 1_000, 2_000, 5_000];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let folder = tempfile::tempdir().unwrap();

    for headers in [0, 2] {
        println!("\nns a record, {headers} headers, values of {} bytes", subject::VALUE_BYTES);
        println!(
            "{:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "batch", "native", "sync", "async", "yields", "marks", "/native"
        );
        let mut plain = plain::Plain::new();
        let mut never = Subject::new(folder.path(), "never_marks", None);
        let mut yields = Subject::new(folder.path(), "never_marks", Some(bulkhead_engine::YIELD_INTERVAL_FUEL));
        let mut marks = Subject::new(folder.path(), "passthrough", Some(bulkhead_engine::YIELD_INTERVAL_FUEL));
        for size in SIZES {
            let batch = records(size, headers);
            let per_record = size as f64;
            let native = cpu_ns_each(|| subject::native(&batch)) / per_record;
            let sync = cpu_ns_each(|| plain.process(&batch)) / per_record;
            let never = cpu_ns_each(|| never.process(&batch)) / per_record;
            let yields = cpu_ns_each(|| yields.process(&batch)) / per_record;
            let marks = cpu_ns_each(|| marks.process(&batch)) / per_record;
            let ratio = marks / native;
            println!("{size:>7} {native:>8.1} {sync:>8.1} {never:>8.1} {yields:>8.1} {marks:>8.1} {ratio:>8.1}");
        }
    }

    println!("\nµs to make an instance, `init` included");
    for (name, mode) in [("live", bulkhead_engine::Mode::Live), ("confirm", subject::CONFIRM)] {
        let subject = Subject::new(folder.path(), "passthrough", Some(bulkhead_engine::YIELD_INTERVAL_FUEL));
        println!("{name:>7} {:>8.1}", cpu_ns_each(|| subject.instantiate(mode)) / 1_000.0);
    }

    println!(
        "\nms of wall time from an upload's last byte to its first output, {} bytes of wasm",
        subject::wasm_bytes()
    );
    let cold = tempfile::tempdir().unwrap();
    for name in ["cold", "cached"] {
        let start = Instant::now();
        let mut subject = Subject::new(cold.path(), "passthrough", Some(bulkhead_engine::YIELD_INTERVAL_FUEL));
        subject.process(&records(1, 0));
        println!("{name:>7} {:>8.1}", start.elapsed().as_secs_f64() * 1_000.0);
    }
}
