//! libFuzzer's way into [`bulkhead_fuzz::fair`].
//!
//! Must never: hold more than the call, so that a test can do the same without libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bulkhead_fuzz::fair::run(data));
