//! The running kernel's types: where a member stands in its struct.
//!
//! A reader of its own, since it keeps nothing but the bytes and one index: the libraries that read BTF
//! build a tree of all 150,000 types of a kernel, tens of megabytes that an agent would carry for ever.
//! Format: the kernel's `Documentation/bpf/btf.rst`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where a kernel shows its own types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Types of a kernel.
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    /// Where each type begins in `bytes`; type 0 is `void`, which has no entry: index 0 is type 1.
    types: Vec<u32>,
}

/// Why an offset is not known.
#[derive(thiserror::Error, Debug)]
pub enum BtfError {
    /// The file does not read.
    #[error("cannot read {path}: {source} (the kernel needs CONFIG_DEBUG_INFO_BTF=y)")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not BTF of this machine's byte order.
    #[error("malformed BTF: {0}")]
    Malformed(&'static str),
    /// There is no such struct.
    #[error("this kernel has no struct {0}")]
    NoStruct(String),
    /// The struct has no such member.
    #[error("this kernel's struct {of} has no member {member}")]
    NoMember {
        /// The struct.
        of: String,
        /// The member.
        member: String,
    },
}

/// Kinds of types by number (`BTF_KIND_*`).
const PTR: u32 = 2;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FUNCTION: u32 = 12;
const MAGIC: u16 = 0xeb9f;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
/// Structs and unions without a name nest; a malformed file could nest for ever.
const DEEPEST: u32 = 16;

#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    info: u32,
    /// A size, or the type that this one refers to.
    size_or_type: u32,
}

impl Type {
    fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }

    fn members(self) -> usize {
        (self.info & 0xffff) as usize
    }

    fn has_bitfields(self) -> bool {
        self.info >> 31 != 0
    }

    /// Bytes that follow the type's head; `None` for a kind that nobody knows, behind which all is lost.
    fn rest(self) -> Option<usize> {
        let each = match self.kind() {
            PTR | 7..=12 | 16 | 18 => 0,
            1 | 14 | 17 => return Some(4),
            3 => return Some(12),
            STRUCT | UNION | 15 | 19 => 12,
            6 | 13 => 8,
            _ => return None,
        };
        Some(each * self.members())
    }
}

impl Btf {
    /// Reads the types of the running kernel, or of another file.
    pub fn load(path: &Path) -> Result<Self, BtfError> {
        let bytes = fs::read(path).map_err(|source| BtfError::Read { path: path.to_owned(), source })?;
        Self::parse(bytes)
    }

    /// Takes the bytes of a BTF file apart.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        if bytes.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err(BtfError::Malformed("no magic number of this byte order"));
        }
        let header =
            |at: usize| word(&bytes, at).map(|value| value as usize).ok_or(BtfError::Malformed("short header"));
        let (length, type_at, type_bytes) = (header(4)?, header(8)?, header(12)?);
        let (string_at, string_bytes) = (header(16)?, header(20)?);
        let sum = |parts: [usize; 2]| parts.into_iter().try_fold(length, usize::checked_add);
        let begin = sum([type_at, 0]).ok_or(BtfError::Malformed("types beyond the end"))?;
        let end = sum([type_at, type_bytes]).filter(|&end| end <= bytes.len());
        let end = end.ok_or(BtfError::Malformed("types beyond the end"))?;
        let strings = sum([string_at, 0]).ok_or(BtfError::Malformed("strings beyond the end"))?;
        if sum([string_at, string_bytes]).is_none_or(|end| end > bytes.len()) {
            return Err(BtfError::Malformed("strings beyond the end"));
        }
        let mut btf = Self { bytes, strings, types: Vec::new() };
        let mut at = begin;
        while at < end {
            let found = btf.type_at(at).ok_or(BtfError::Malformed("a type is cut off"))?;
            let rest = found.rest().ok_or(BtfError::Malformed("a type of an unknown kind"))?;
            btf.types.push(u32::try_from(at).map_err(|_too_large| BtfError::Malformed("larger than 4 GiB"))?);
            at += TYPE_BYTES + rest;
        }
        if at == end { Ok(btf) } else { Err(BtfError::Malformed("the last type is cut off")) }
    }

    /// Where a member stands in a struct, in bytes. `path` leads through structs within it; members of
    /// nameless structs and unions count as the outer one's own.
    pub fn offset(&self, of: &str, path: &[&str]) -> Result<u32, BtfError> {
        let mut inside = self.find(of).ok_or_else(|| BtfError::NoStruct(of.to_owned()))?;
        let mut offset = 0;
        for member in path {
            let missing = || BtfError::NoMember { of: of.to_owned(), member: path.join(".") };
            let found = self.member(inside, member, 0, &mut HashSet::new());
            let sum = found.and_then(|(at, id)| Some((at.checked_add(offset)?, id)));
            let (at, id) = sum.ok_or_else(missing)?;
            offset = at;
            if let Some(next) = self.resolve(id) {
                inside = next;
            }
        }
        Ok(offset)
    }

    /// Number of a struct among the kernel's types.
    pub fn struct_id(&self, name: &str) -> Option<u32> {
        self.id(STRUCT, name)
    }

    /// Number of a function of the kernel among its types.
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.id(FUNCTION, name)
    }

    /// Those of `names` that are functions of the kernel. One look at the types for all of them: there are many.
    pub fn functions_among(&self, names: &[String]) -> Vec<String> {
        let wanted: HashSet<&[u8]> = names.iter().map(String::as_bytes).collect();
        let types = self.types.iter().filter_map(|&at| self.type_at(at as usize));
        let functions = types.filter(|found| found.kind() == FUNCTION).filter_map(|found| self.text(found.name));
        let found: HashSet<&[u8]> = functions.filter(|name| wanted.contains(name)).collect();
        names.iter().filter(|name| found.contains(name.as_bytes())).cloned().collect()
    }

    fn id(&self, kind: u32, name: &str) -> Option<u32> {
        let is_it = |&at: &u32| {
            self.type_at(at as usize).is_some_and(|found| found.kind() == kind && self.is_named(found.name, name))
        };
        // Type 0 has no entry.
        self.types.iter().position(is_it).and_then(|index| u32::try_from(index + 1).ok())
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let word = |place| word(&self.bytes, at + place);
        Some(Type { at, name: word(0)?, info: word(4)?, size_or_type: word(8)? })
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        self.type_at(*self.types.get((id as usize).checked_sub(1)?)? as usize)
    }

    fn find(&self, name: &str) -> Option<Type> {
        let all = self.types.iter().filter_map(|&at| self.type_at(at as usize));
        all.into_iter().find(|found| found.kind() == STRUCT && self.is_named(found.name, name))
    }

    /// The struct or union behind qualifiers and names.
    fn resolve(&self, id: u32) -> Option<Type> {
        let mut found = self.by_id(id)?;
        for _ in 0..DEEPEST {
            match found.kind() {
                STRUCT | UNION => return Some(found),
                8..=11 | 18 => found = self.by_id(found.size_or_type)?,
                _ => return None,
            }
        }
        None
    }

    /// A member's offset in bytes, and its type. `searched`: where the nameless structs begin that have been looked
    /// through. None is twice, so that a file in which they hold each other many times over is answered, too.
    fn member(&self, of: Type, name: &str, depth: u32, searched: &mut HashSet<usize>) -> Option<(u32, u32)> {
        if depth > DEEPEST {
            return None;
        }
        (0..of.members()).find_map(|index| {
            let at = of.at + TYPE_BYTES + index * MEMBER_BYTES;
            let (member_name, id) = (word(&self.bytes, at)?, word(&self.bytes, at + 4)?);
            let bits = word(&self.bytes, at + 8)?;
            let bytes = (if of.has_bitfields() { bits & 0x00ff_ffff } else { bits }) / 8;
            if self.is_named(member_name, name) {
                return Some((bytes, id));
            }
            if !self.is_named(member_name, "") {
                return None;
            }
            let nested = self.resolve(id).filter(|nested| searched.insert(nested.at))?;
            let (inner, id) = self.member(nested, name, depth + 1, searched)?;
            Some((bytes.checked_add(inner)?, id))
        })
    }

    fn text(&self, at: u32) -> Option<&[u8]> {
        let rest = self.bytes.get(self.strings.checked_add(at as usize)?..)?;
        rest.iter().position(|&byte| byte == 0).map(|end| &rest[..end])
    }

    fn is_named(&self, at: u32, name: &str) -> bool {
        let begin = self.strings.saturating_add(at as usize);
        let found = self.bytes.get(begin..).and_then(|rest| rest.get(..=name.len()));
        found.is_some_and(|found| &found[..name.len()] == name.as_bytes() && found[name.len()] == 0)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `struct s { int a; union { int b; struct { char c; } in; }; }` with `typedef struct s t` behind it.
    fn small() -> Vec<u8> {
        let strings = b"\0s\0a\0b\0in\0c\0int\0";
        let name = |text: &str| {
            let found =
                strings.windows(text.len() + 2).position(|w| w[0] == 0 && &w[1..=text.len()] == text.as_bytes());
            found.map_or(0, |at| at as u32 + 1)
        };
        let types: Vec<u32> = [
            vec![name("int"), info(1, 0), 4, 32],
            vec![0, info(STRUCT, 1), 1, name("c"), 1, 0],
            vec![0, info(UNION, 2), 4, name("b"), 1, 0, name("in"), 2, 0],
            vec![name("s"), info(STRUCT, 2), 8, name("a"), 1, 0, 0, 3, 32],
        ]
        .concat();
        file(&types, strings)
    }

    fn info(kind: u32, members: u32) -> u32 {
        kind << 24 | members
    }

    fn file(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let type_bytes = types.len() as u32 * 4;
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for value in [24, 0, type_bytes, type_bytes, strings.len() as u32] {
            bytes.extend(value.to_ne_bytes());
        }
        types.iter().for_each(|value| bytes.extend(value.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn finds_members_through_nameless_ones() {
        let btf = Btf::parse(small()).unwrap();
        assert_eq!(btf.offset("s", &["a"]).unwrap(), 0);
        assert_eq!(btf.offset("s", &["b"]).unwrap(), 4);
        assert_eq!(btf.offset("s", &["in", "c"]).unwrap(), 4);
        assert!(matches!(btf.offset("s", &["z"]), Err(BtfError::NoMember { .. })));
        assert!(matches!(btf.offset("u", &["a"]), Err(BtfError::NoStruct(_))));
    }

    #[test]
    fn a_struct_that_holds_itself_many_times_over_is_answered() {
        // Without a memory of what was searched: 65,535 to the 16th members.
        let mut types = vec![1, info(STRUCT, 0xffff), 8];
        (0..0xffff).for_each(|_| types.extend([0, 1, 0]));
        let btf = Btf::parse(file(&types, b"\0s\0")).unwrap();
        assert!(matches!(btf.offset("s", &["z"]), Err(BtfError::NoMember { .. })));
    }

    #[test]
    fn offsets_beyond_all_bounds_are_refused() {
        // Sixteen nameless structs, one inside the other, each at the far end of the one before.
        let inner = |id: u32| [0, info(STRUCT, 1), 8, 0, id + 1, u32::MAX];
        let mut types = vec![1, info(STRUCT, 1), 8, 0, 2, u32::MAX];
        (2..17).for_each(|id| types.extend(inner(id)));
        types.extend([0, info(STRUCT, 1), 8, 3, 1, 0]);
        let btf = Btf::parse(file(&types, b"\0s\0a\0")).unwrap();
        assert!(matches!(btf.offset("s", &["a"]), Err(BtfError::NoMember { .. })));
    }

    #[test]
    fn functions_are_found_in_the_order_in_which_they_are_asked_for() {
        let function = |name: u32| [name, info(FUNCTION, 0), 0];
        let types = [function(1), function(3), [5, info(STRUCT, 0), 0], function(u32::MAX)].concat();
        let btf = Btf::parse(file(&types, b"\0f\0g\0s\0")).unwrap();
        let names = ["g", "s", "", "gg", "f"].map(str::to_owned);
        assert_eq!(btf.functions_among(&names), ["g", "f"]);
    }

    #[test]
    fn a_missing_file_names_the_mend() {
        let error = Btf::load(Path::new("/nowhere")).err().unwrap().to_string();
        assert!(error.contains("/nowhere") && error.contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
    }

    proptest! {
        #[test]
        fn broken_bytes_are_refused_or_answered(at in 0usize..180, byte: u8, cut in 0usize..200) {
            let mut bytes = small();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut);
            if let Ok(btf) = Btf::parse(bytes) {
                drop(btf.offset("s", &["in", "c"]));
            }
        }
    }
}
