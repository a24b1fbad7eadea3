//! Protobuf's wire format, as far as spans and their wrappings need it. Written straight into a buffer: a tree of
//! messages would cost more to build than everything else that becomes of a span.

use prost::encoding::{encode_varint, encoded_len_varint};

use crate::export::encode::sink::Sink;

/// Key of a field whose value has a length: wire type 2.
pub(super) const fn key(tag: u8) -> u8 {
    tag << 3 | 2
}

/// Bytes of a field with a length, for tags below 16.
#[inline(always)]
pub(super) fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// Writes the key and the length of a field; `len` bytes must follow.
#[inline(always)]
pub(super) fn open(out: &mut Vec<u8>, key: u8, len: usize) {
    out.push(key);
    varint(out, len as u64);
}

/// Writes a field of bytes.
#[inline(always)]
pub(super) fn bytes(out: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    open(out, key, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes a number in as few bytes as it needs.
#[inline(always)]
pub(super) fn varint(out: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        out.push(number as u8);
    } else {
        encode_varint(number, out);
    }
}

/// Writes attributes as fields of a message.
pub(super) struct Attributes<'a> {
    /// Where they go.
    pub(super) out: &'a mut Vec<u8>,
    /// Key of the field, by [`key`].
    pub(super) field: u8,
}

// Fields of `KeyValue`.
const NAME: u8 = key(1);
const VALUE: u8 = key(2);
// Fields of `AnyValue`, with their wire types.
const STRING: u8 = key(1);
const BOOL: u8 = 2 << 3;
const INT: u8 = 3 << 3;
const DOUBLE: u8 = 4 << 3 | 1;
const ARRAY: u8 = key(5);
// Field of `ArrayValue`.
const ELEMENT: u8 = key(1);

impl Attributes<'_> {
    /// Writes everything before the value's own `len` bytes.
    #[inline(always)]
    fn begin(&mut self, name: &str, len: usize) {
        let whole = field_len(name.len()) + field_len(len);
        self.out.reserve(field_len(whole));
        open(self.out, self.field, whole);
        bytes(self.out, NAME, name.as_bytes());
        open(self.out, VALUE, len);
    }
}

impl Sink for Attributes<'_> {
    #[inline(always)]
    fn text(&mut self, name: &'static str, value: &str) {
        self.begin(name, field_len(value.len()));
        bytes(self.out, STRING, value.as_bytes());
    }

    fn texts(&mut self, name: &'static str, values: &[&str]) {
        let element = |value: &&str| field_len(field_len(value.len()));
        let len = values.iter().map(element).sum();
        self.begin(name, field_len(len));
        open(self.out, ARRAY, len);
        for value in values {
            open(self.out, ELEMENT, field_len(value.len()));
            bytes(self.out, STRING, value.as_bytes());
        }
    }

    #[inline(always)]
    fn int(&mut self, name: &'static str, value: i64) {
        self.begin(name, 1 + encoded_len_varint(value as u64));
        self.out.push(INT);
        varint(self.out, value as u64);
    }

    #[inline(always)]
    fn double(&mut self, name: &'static str, value: f64) {
        self.begin(name, 9);
        self.out.push(DOUBLE);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    #[inline(always)]
    fn bool(&mut self, name: &'static str, value: bool) {
        self.begin(name, 2);
        self.out.extend_from_slice(&[BOOL, value.into()]);
    }
}
