//! Brings an object's types into an order that does not change from build to build.
//!
//! LLVM numbers the structs that are only pointed at (`BTF_KIND_FWD`) as a table keyed by addresses gives them, so that
//! their order is another one each time. Here it becomes that of the types that refer to them. Format: the kernel's
//! `Documentation/bpf/btf.rst`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

const MAGIC: u32 = 0xeb9f;
/// Bytes of a type without what follows some kinds.
const TYPE: usize = 12;
/// Where a type refers to another one, in bytes from its beginning.
const REFERENCE: usize = 8;
const FORWARD: u32 = 7;
const CUT: &str = "the object's .BTF is cut off";

/// Puts forward declarations, and their names among the strings, into the order of their first reference.
pub(super) fn settle(btf: &mut [u8]) -> Result<()> {
    let types = types(btf)?;
    // Type 0 is `void`, which has no entry: the id of `types[0]` is 1.
    let kind = |id: u32| (id as usize).checked_sub(1).and_then(|at| types.get(at)).map(|(_, kind)| *kind);
    let places: Vec<u32> = (1u32..).take(types.len()).filter(|&id| kind(id) == Some(FORWARD)).collect();
    // Pointers, typedefs, volatile, const, restrict and type tags.
    let referring = || types.iter().filter(|(_, kind)| matches!(kind, 2 | 8..=11 | 18)).map(|(at, _)| at + REFERENCE);
    let referred = referring().map(|at| word(btf, at)).collect::<Result<Vec<_>>>()?;
    let order = unique(referred.into_iter().chain(places.clone()).filter(|&id| kind(id) == Some(FORWARD)));
    let entry = |id: u32| types[id as usize - 1].0..types[id as usize - 1].0 + TYPE;
    let entries: Vec<Vec<u8>> = order.iter().map(|&id| btf[entry(id)].to_vec()).collect();
    for (&place, bytes) in places.iter().zip(&entries) {
        btf[entry(place)].copy_from_slice(bytes);
    }
    for at in referring() {
        let old = word(btf, at)?;
        if let Some(nth) = order.iter().position(|&id| id == old) {
            set(btf, at, places[nth]);
        }
    }
    let kept = names_of_others(btf, &types)?;
    settle_names(btf, &places.iter().map(|&id| entry(id).start).collect::<Vec<_>>(), &kept)
}

/// Names that types other than forward declarations have, or their members.
fn names_of_others(btf: &[u8], types: &[(usize, u32)]) -> Result<BTreeSet<u32>> {
    let mut names = BTreeSet::new();
    for &(at, kind) in types.iter().filter(|(_, kind)| *kind != FORWARD) {
        names.insert(word(btf, at)?);
        let members = (word(btf, at + 4)? & 0xffff) as usize;
        let each = match kind {
            4 | 5 | 19 => 12,
            6 | 13 => 8,
            _ => continue,
        };
        for member in 0..members {
            names.insert(word(btf, at + TYPE + member * each)?);
        }
    }
    Ok(names)
}

/// The same for the names of the types that begin at `places`, wherever they stand side by side and are not `kept`.
fn settle_names(btf: &mut [u8], places: &[usize], kept: &BTreeSet<u32>) -> Result<()> {
    let mut names = unique(places.iter().map(|&at| word(btf, at)).collect::<Result<Vec<_>>>()?);
    names.retain(|name| !kept.contains(name));
    let strings = (word(btf, 4)? + word(btf, 16)?) as usize;
    let mut texts = BTreeMap::new();
    for &name in &names {
        let rest = btf.get(strings + name as usize..).context(CUT)?;
        let end = rest.iter().position(|&byte| byte == 0).context(CUT)?;
        texts.insert(name, rest[..=end].to_vec());
    }
    let mut moved = BTreeMap::new();
    let sorted: Vec<u32> = texts.keys().copied().collect();
    for run in sorted.chunk_by(|name, next| name + texts[name].len() as u32 == *next) {
        let mut at = run[0];
        for name in names.iter().filter(|name| run.contains(name)) {
            btf[strings + at as usize..][..texts[name].len()].copy_from_slice(&texts[name]);
            moved.insert(*name, at);
            at += texts[name].len() as u32;
        }
    }
    for &place in places {
        if let Some(&name) = moved.get(&word(btf, place)?) {
            set(btf, place, name);
        }
    }
    Ok(())
}

/// Each of them once, in the order in which they came first.
fn unique(ids: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    ids.into_iter().filter(|id| seen.insert(*id)).collect()
}

/// Where each type begins, and its kind.
fn types(btf: &[u8]) -> Result<Vec<(usize, u32)>> {
    if word(btf, 0)? & 0xffff != MAGIC {
        bail!("the object's .BTF has no magic number");
    }
    let mut at = (word(btf, 4)? + word(btf, 8)?) as usize;
    let end = at + word(btf, 12)? as usize;
    let mut types = Vec::new();
    while at < end {
        let info = word(btf, at + 4)?;
        let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        types.push((at, kind));
        at += TYPE
            + match kind {
                2 | 7..=12 | 16 | 18 => 0,
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * members,
                6 | 13 => 8 * members,
                _ => bail!("the object's .BTF holds a type of the unknown kind {kind}"),
            };
    }
    if at != end || end > btf.len() {
        bail!(CUT);
    }
    Ok(types)
}

fn set(btf: &mut [u8], at: usize, word: u32) {
    btf[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

fn word(btf: &[u8], at: usize) -> Result<u32> {
    let bytes = btf.get(at..).and_then(|rest| rest.first_chunk()).context(CUT)?;
    Ok(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(types: &[[u32; 3]], strings: &[u8]) -> Vec<u8> {
        let length = types.len() as u32 * 12;
        let header = [MAGIC | 1 << 16, 24, 0, length, length, strings.len() as u32];
        let words = header.iter().chain(types.as_flattened());
        words.flat_map(|word| word.to_le_bytes()).chain(strings.iter().copied()).collect()
    }

    /// A type: its name, its kind, what it refers to.
    fn of(name: u32, kind: u32, reference: u32) -> [u32; 3] {
        [name, kind << 24, reference]
    }

    #[test]
    fn forward_declarations_stand_as_they_are_referred_to() {
        // The first pointer is to `bb`, the second to `a`, the third type to the first; nobody refers to `c`.
        let forward = |name| of(name, FORWARD, 0);
        let pointers = |first, second| [of(0, 2, first), of(0, 2, second), of(0, 10, 1)];
        let expected = file(&[&pointers(4, 5)[..], &[forward(3), forward(6), forward(8)]].concat(), b"\0x\0bb\0a\0c\0");
        let others = [
            file(&[&pointers(4, 5)[..], &[forward(3), forward(6), forward(8)]].concat(), b"\0x\0bb\0a\0c\0"),
            file(&[&pointers(5, 4)[..], &[forward(3), forward(5), forward(8)]].concat(), b"\0x\0a\0bb\0c\0"),
            file(&[&pointers(5, 6)[..], &[forward(3), forward(5), forward(8)]].concat(), b"\0x\0c\0bb\0a\0"),
        ];
        for mut other in others {
            settle(&mut other).unwrap();
            assert_eq!(other, expected);
        }
    }

    #[test]
    fn names_that_others_have_stay_where_they_are() {
        // `a` is the name of a typedef, too; `b` is referred to first.
        let types = [of(0, 2, 5), of(0, 2, 4), of(1, 8, 1), of(1, FORWARD, 0), of(3, FORWARD, 0)];
        let mut whole = file(&types, b"\0a\0b\0");
        settle(&mut whole).unwrap();
        let settled = [of(0, 2, 4), of(0, 2, 5), of(1, 8, 1), of(3, FORWARD, 0), of(1, FORWARD, 0)];
        assert_eq!(whole, file(&settled, b"\0a\0b\0"));
        // So do names between which another string stands.
        let types = [of(0, 2, 3), of(0, 2, 2), of(5, FORWARD, 0), of(1, FORWARD, 0)];
        let mut whole = file(&types, b"\0b\0x\0a\0");
        settle(&mut whole).unwrap();
        assert!(whole.ends_with(b"\0b\0x\0a\0"));
    }

    #[test]
    fn what_is_no_btf_is_refused() {
        assert!(settle(&mut []).is_err());
        assert!(settle(&mut [0; 24]).is_err());
        let mut short = file(&[of(0, 2, 1)], b"\0");
        short.truncate(30);
        assert!(settle(&mut short).is_err());
        assert!(settle(&mut file(&[of(9, FORWARD, 0)], b"\0")).is_err());
        assert!(settle(&mut file(&[of(0, 31, 0)], b"\0")).unwrap_err().to_string().contains("31"));
    }
}
