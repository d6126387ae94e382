//! See `anklet_fuzz::webhook_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| anklet_fuzz::webhook_body(bytes));
