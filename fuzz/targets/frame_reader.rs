#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::frame_reader::check(data));
