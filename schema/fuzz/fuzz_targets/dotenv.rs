//! See `berth_schema::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_schema::fuzzing::environment_file(bytes));
