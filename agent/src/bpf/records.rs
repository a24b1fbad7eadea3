//! Records from the ring, checked before anything of them is believed.

use inferscope_common::flow::{Header, Kind, Listen, Summary};

/// One record.
#[derive(Debug)]
pub enum Record<'a> {
    /// Bytes of a request or a response, as the header's kind says.
    Piece(Header, &'a [u8]),
    /// An exchange is over.
    End(Header, Box<Summary>),
    /// A socket began or ceased to listen.
    Listen(Listen),
}

/// What a record consists of: `repr(C)` numbers, every bit pattern of which is a value.
///
/// # Safety
/// Only for such types.
unsafe trait Plain: Copy {}
// SAFETY: `repr(C)` numbers.
unsafe impl Plain for Header {}
// SAFETY: `repr(C)` numbers.
unsafe impl Plain for Summary {}
// SAFETY: `repr(C)` numbers.
unsafe impl Plain for Listen {}

fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    // SAFETY: as many bytes as the type has, whose every bit pattern is a value.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

impl<'a> Record<'a> {
    /// `None` for what is no record of this agent's kernel half.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: Header = read(bytes)?;
        let rest = &bytes[size_of::<Header>()..];
        Some(match Kind::from_number(header.kind)? {
            Kind::Request | Kind::Response => Record::Piece(header, rest.get(..header.captured as usize)?),
            Kind::End => Record::End(header, Box::new(read(rest)?)),
            Kind::Listen => Record::Listen(read(rest)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_unknown_records_are_refused() {
        assert!(Record::parse(&[]).is_none());
        assert!(Record::parse(&[0; 39]).is_none());
        assert!(Record::parse(&[0; 4096]).is_none(), "kind 0 does not exist");
        let mut end = [0; 64];
        end[36] = Kind::End as u8;
        assert!(Record::parse(&end).is_none(), "a summary is longer");
        let mut piece = [0; 64];
        piece[36] = Kind::Request as u8;
        piece[32] = 25;
        assert!(Record::parse(&piece).is_none(), "says 25 bytes, holds 24");
        piece[32] = 24;
        assert!(matches!(Record::parse(&piece), Some(Record::Piece(_, bytes)) if bytes.len() == 24));
    }
}
