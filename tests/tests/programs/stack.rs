//! The stack that a program's chains of calls take, by the rule of Linux 6.1, which is stricter than later ones.

use std::collections::{BTreeMap, HashMap, HashSet};

use aya_obj::Object;
use aya_obj::generated::bpf_insn;

/// Bytes that all frames of a chain may take together.
pub(crate) const LIMIT: usize = 512;
/// Each frame is rounded up to as many bytes.
const ROUNDED_TO: usize = 32;

const FRAME_POINTER: u8 = 10;
/// `r = r`
const COPY: u8 = 0xbf;
/// `r += number`
const ADD: u8 = 0x07;
const CALL: u8 = 0x85;
/// What `src` of a call says where it is one of the program's own functions.
const OWN: u8 = 1;
const CALLER_SAVED: u8 = 5;

/// The deepest chain of each program, in bytes.
pub(crate) fn deepest(object: &[u8]) -> BTreeMap<String, usize> {
    let mut object = Object::parse(object).unwrap();
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    // Puts behind each program the functions that it calls, as the kernel gets them.
    object.relocate_calls(&sections).unwrap();
    let programs = object.programs.iter();
    programs
        .map(|(name, program)| (name.clone(), chain(&object.functions[&program.function_key()].instructions)))
        .collect()
}

/// The deepest chain of one program with its functions behind it.
fn chain(all: &[bpf_insn]) -> usize {
    let mut begins: Vec<usize> = (0..all.len()).filter_map(|at| callee(all, at)).chain([0]).collect();
    begins.sort_unstable();
    begins.dedup();
    let end = |begin: usize| begins.iter().copied().find(|&next| next > begin).unwrap_or(all.len());
    let functions = begins.iter().map(|&begin| (begin, begin..end(begin))).collect();
    below(all, &functions, 0)
}

/// The deepest chain from a function on. There is no recursion: the verifier takes none.
fn below(all: &[bpf_insn], functions: &HashMap<usize, std::ops::Range<usize>>, function: usize) -> usize {
    let body = functions[&function].clone();
    let called: HashSet<usize> = body.clone().filter_map(|at| callee(all, at)).collect();
    let deepest = called.into_iter().map(|called| below(all, functions, called)).max();
    frame(&all[body]).max(1).next_multiple_of(ROUNDED_TO) + deepest.unwrap_or(0)
}

/// The function that the instruction calls.
fn callee(all: &[bpf_insn], at: usize) -> Option<usize> {
    let call = all[at];
    (call.code == CALL && call.src_reg() == OWN).then(|| at.checked_add_signed(call.imm as isize + 1).unwrap())
}

/// How far below the frame pointer a function reaches: by what it reads and writes there, and by the addresses that it
/// makes.
fn frame(body: &[bpf_insn]) -> usize {
    // Registers that hold an address on the stack, and how far it is from the frame pointer.
    let mut held = HashMap::from([(FRAME_POINTER, 0i64)]);
    let mut lowest = 0;
    for insn in body {
        let (to, from) = (insn.dst_reg(), insn.src_reg());
        let address = match insn.code & 7 {
            1 => held.get(&from),
            2 | 3 => held.get(&to),
            _ => None,
        };
        lowest = lowest.min(address.map_or(0, |at| at + i64::from(insn.off)));
        let made = match insn.code {
            COPY => held.get(&from).copied(),
            ADD => held.get(&to).map(|at| at + i64::from(insn.imm)),
            _ => None,
        };
        match (insn.code & 7, made) {
            (_, Some(made)) => drop(held.insert(to, made)),
            // Loads and arithmetic write the register; stores and jumps write none.
            (0 | 1 | 4 | 7, None) => drop(held.remove(&to)),
            _ if insn.code == CALL => held.retain(|register, _| *register > CALLER_SAVED),
            _ => {}
        }
        lowest = lowest.min(made.unwrap_or(0));
    }
    usize::try_from(-lowest).unwrap()
}

#[test]
fn frames_are_rounded_up_and_added_along_the_deepest_chain() {
    let insn = |code: u8, to: u8, from: u8, off: i16, imm: i32| {
        // SAFETY: plain bytes, of which every pattern is an instruction of some kind.
        let mut insn: bpf_insn = unsafe { std::mem::zeroed() };
        (insn.code, insn.off, insn.imm) = (code, off, imm);
        insn.set_dst_reg(to);
        insn.set_src_reg(from);
        insn
    };
    let exit = insn(0x95, 0, 0, 0, 0);
    let program = [
        // 8 bytes below the frame pointer, then a call of each of two functions, the second by way of the first.
        insn(0x7b, 10, 1, -8, 0),
        insn(CALL, 0, OWN, 0, 2),
        insn(CALL, 0, OWN, 0, 6),
        exit,
        // 33 bytes: an address on the stack, put together in two steps.
        insn(COPY, 2, 10, 0, 0),
        insn(ADD, 2, 0, 0, -30),
        insn(0x72, 2, 0, -3, 0),
        insn(CALL, 0, OWN, 0, 1),
        exit,
        // Nothing of its own; what is added to something else does not count.
        insn(ADD, 2, 0, 0, -400),
        exit,
    ];
    assert_eq!(chain(&program), 32 + 64 + 32);
}
