//! See `anklet_fuzz::config_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| anklet_fuzz::config_file(bytes));
