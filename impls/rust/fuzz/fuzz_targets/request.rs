//! Any bytes: see the law of this name.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| crossfade_runtime::replay::laws::request(input));
