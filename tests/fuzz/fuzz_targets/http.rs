//! See `anklet_fuzz::http_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| anklet_fuzz::http_stream(bytes));
