//! Tells from a connection's first bytes whether it speaks HTTP/1, and which side.

/// What the bytes begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// A request; `bodyless` when its method is `HEAD`.
    Request {
        /// The response will have no body.
        bodyless: bool,
    },
    /// A response.
    Response,
    /// Perhaps a request: too few bytes to tell.
    Undecided,
    /// Neither.
    Other,
}

const fn word(text: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*text)
}

const HEAD: u32 = word(b"HEAD");
const METHODS: [u32; 7] =
    [word(b"GET "), word(b"POST"), word(b"PUT "), word(b"DELE"), word(b"OPTI"), word(b"PATC"), word(b"TRAC")];
const RESPONSE: u64 = u64::from_le_bytes(*b"HTTP/1.\0");
const RESPONSE_MASK: u64 = u64::from_le_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);

/// Judges the first `len` bytes of a connection's direction, of which up to eight are given (little-endian).
#[inline(always)]
pub fn start(bytes: u64, len: u32) -> Start {
    if is_response(bytes, len) {
        return Start::Response;
    }
    go_on(0, bytes, len)
}

/// True where bytes begin a response.
#[inline(always)]
pub fn is_response(bytes: u64, len: u32) -> bool {
    len >= 7 && bytes & RESPONSE_MASK == RESPONSE
}

/// Judges bytes, from `offset` on, of what must be a message if it is a request: a connection that has
/// proven to speak HTTP/1 may use any method.
#[inline(always)]
pub fn request(offset: u32, bytes: u64, len: u32) -> Start {
    // Four turns, though some have no byte: the verifiers of older kernels see no end of a loop over the bytes there are.
    let mut nth = 0;
    while nth < 4 {
        if offset < 4 - nth && nth < len {
            let byte = (bytes >> (8 * nth)) as u8;
            let is_method = byte.is_ascii_uppercase() || offset + nth > 0 && (byte == b' ' || byte == b'-');
            if !is_method {
                return Start::Other;
            }
        }
        nth += 1;
    }
    if offset < 4 && len < 4 - offset {
        return Start::Undecided;
    }
    // `PRI * HTTP/2.0` begins HTTP/2.
    if offset == 0 && bytes as u32 == word(b"PRI ") {
        return Start::Other;
    }
    match go_on(offset, bytes, len) {
        Start::Other => Start::Request { bodyless: false },
        known => known,
    }
}

/// Judges further bytes of a message that may be a request, from `offset` on.
#[inline(always)]
pub fn go_on(offset: u32, bytes: u64, len: u32) -> Start {
    if offset >= 4 {
        return Start::Request { bodyless: false };
    }
    // Which of the first four bytes are here, and where they belong.
    let count = len.min(4 - offset);
    let mask = ((1u64 << (8 * count)) - 1) << (8 * offset);
    let here = (bytes << (8 * offset)) & mask;
    let head = (u64::from(HEAD) ^ here) & mask == 0;
    let mut fits = head;
    let mut m = 0;
    while m < METHODS.len() {
        fits |= (u64::from(METHODS[m]) ^ here) & mask == 0;
        m += 1;
    }
    if !fits {
        Start::Other
    } else if offset + len < 4 {
        Start::Undecided
    } else {
        Start::Request { bodyless: head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &[u8]) -> (u64, u32) {
        let mut word = [0; 8];
        let n = text.len().min(8);
        word[..n].copy_from_slice(&text[..n]);
        (u64::from_le_bytes(word), text.len() as u32)
    }

    fn judge(text: &[u8]) -> Start {
        let (bytes, len) = word(text);
        start(bytes, len)
    }

    #[test]
    fn whole_words() {
        assert_eq!(judge(b"POST /v1/chat"), Start::Request { bodyless: false });
        assert_eq!(judge(b"HEAD / HTTP/1.1"), Start::Request { bodyless: true });
        assert_eq!(judge(b"HTTP/1.1 200 OK"), Start::Response);
        assert_eq!(judge(b"HTTP/1."), Start::Response);
        assert_eq!(judge(b"PRI * HTTP/2.0"), Start::Other);
        assert_eq!(judge(b"\x16\x03\x01\x02\x00"), Start::Other);
        assert_eq!(judge(b"*1\r\n$4\r\nPING\r\n"), Start::Other);
    }

    #[test]
    fn a_byte_at_a_time() {
        assert_eq!(judge(b"H"), Start::Undecided);
        assert_eq!(judge(b"X"), Start::Other);
        let (bytes, len) = word(b"EAD / HT");
        assert_eq!(go_on(1, bytes, len), Start::Request { bodyless: true });
        let (bytes, len) = word(b"U");
        assert_eq!(go_on(1, bytes, len), Start::Undecided);
        let (bytes, len) = word(b"X");
        assert_eq!(go_on(3, bytes, len), Start::Other);
    }

    #[test]
    fn any_method_will_do_where_http_is_spoken() {
        let judge = |offset, text: &[u8]| {
            let (bytes, len) = word(text);
            request(offset, bytes, len)
        };
        assert_eq!(judge(0, b"PROPFIND / HTTP/1.1"), Start::Request { bodyless: false });
        assert_eq!(judge(0, b"M-SEARCH * HTTP/1.1"), Start::Request { bodyless: false });
        assert_eq!(judge(0, b"HEAD / HTTP/1.1"), Start::Request { bodyless: true });
        assert_eq!(judge(0, b"LO"), Start::Undecided);
        assert_eq!(judge(2, b"CK / HTTP/1.1"), Start::Request { bodyless: false });
        assert_eq!(judge(0, b"{\"model\":1}"), Start::Other);
        assert_eq!(judge(0, b" GET"), Start::Other);
        assert_eq!(judge(0, b"PRI * HTTP/2.0"), Start::Other);
        assert_eq!(judge(2, b"t"), Start::Other);
    }
}
