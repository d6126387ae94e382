//! See `anklet_fuzz::anka_reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| anklet_fuzz::anka_reply(bytes));
