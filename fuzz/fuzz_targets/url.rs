//! cargo-fuzz's way into `paceline_fuzz::url`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paceline_fuzz::url(input));
