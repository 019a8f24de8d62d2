//! cargo-fuzz's way into `paceline_fuzz::template`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paceline_fuzz::template(input));
