//! CPU time of this thread.

use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;

/// Nanoseconds that one sample should take at least, so that the clock's own cost is nothing.
const SAMPLE_NS: f64 = 20_000_000.0;
const SAMPLES: usize = 7;

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// CPU nanoseconds of one call: the median of several samples, after one to warm up.
pub(crate) fn cpu_ns_each<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut sample = |calls: u64| {
        let start = cpu_ns();
        for _ in 0..calls {
            black_box(work());
        }
        cpu_ns() - start
    };
    let mut calls = 1;
    while sample(calls) < SAMPLE_NS {
        calls *= 2;
    }
    let mut samples: Vec<f64> = (0..SAMPLES).map(|_| sample(calls) / calls as f64).collect();
    samples.sort_by(f64::total_cmp);
    samples[SAMPLES / 2]
}
