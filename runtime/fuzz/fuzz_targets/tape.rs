//! See `berth_runtime::store::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_runtime::store::fuzzing::tape(bytes));
