//! The compiled kernel half.

/// Bytes at an address that suits an ELF file.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/inferscope.bpf.o")));

/// The object, empty where the agent was built without its kernel half.
pub static OBJECT: &[u8] = &ALIGNED.0;
