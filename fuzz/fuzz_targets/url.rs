#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paceline_fuzz::url(input));
