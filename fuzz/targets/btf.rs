//! Bytes that claim to be a kernel's types: refused, or answered without a panic and within bounded time.
#![no_main]

use inferscope::host::btf::Btf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(btf) = Btf::parse(input.to_vec()) else { return };
    for path in [&["a"][..], &["b"], &["in", "c"], &["in", "in", "z"], &[]] {
        drop(btf.offset("s", path));
    }
    drop(btf.offset("", &[""]));
});
