//! See `anklet_fuzz::stored_document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| anklet_fuzz::stored_document(bytes));
