//! Calls of kernel functions, which neither the compiler nor the loader can name: they are put into the object as
//! instructions with a mark in place of the function's number.

/// `call` of a kernel function, and the mark: as `ebpf/src/host/descriptor.rs` writes it.
const MARKED: [u8; 8] = [0x85, 0x20, 0, 0, 0xc5, 0xa5, 0xc5, 0xa5];
/// Where the number stands in the instruction.
const NUMBER: std::ops::Range<usize> = 4..8;

/// Puts the function's number into every marked call; 0 = the kernel has no such function, and the call must not be
/// reached. Answers how many there were.
pub(super) fn resolve(object: &mut [u8], function: u32) -> usize {
    let mut found = 0;
    // Instructions are eight bytes long, and sections of them lie at multiples of eight.
    for instruction in object.chunks_exact_mut(MARKED.len()) {
        if instruction == MARKED {
            instruction[NUMBER].copy_from_slice(&function.to_ne_bytes());
            found += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_replaced_and_nothing_else() {
        let mut object = vec![7; 8];
        object.extend(MARKED);
        object.extend([0x85, 0x20, 0, 0, 1, 0, 0, 0]);
        object.extend([0x85, 0x20]);
        let before = object.clone();
        assert_eq!(resolve(&mut object, 0x0102_0304), 1);
        assert_eq!(object[12..16], 0x0102_0304u32.to_ne_bytes());
        assert_eq!((&object[..12], &object[16..]), (&before[..12], &before[16..]));
    }
}
