//! What the queue holds and the wire carries.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;

use crate::export::encode::Message;
use crate::export::settings::Compression;

/// gzip's level. Level 6 makes spans a seventh smaller and takes three and a half times as long.
const LEVEL: flate2::Compression = flate2::Compression::fast();

/// An export request as it travels: encoded and compressed once, whatever becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The body.
    pub body: Bytes,
    /// The body is gzip.
    pub gzip: bool,
    /// Bytes before compression.
    pub encoded: usize,
    /// Points, spans or log records in it.
    pub items: u64,
}

impl Payload {
    /// Compresses a request where it is to be.
    pub fn new(message: &Message, compression: Compression) -> Self {
        let compressed = match compression {
            Compression::None => None,
            // Writing to memory does not fail; if it did, the request would go as it is.
            Compression::Gzip => gzip(&message.bytes).ok(),
        };
        let gzip = compressed.is_some();
        let body = compressed.map_or_else(|| Bytes::copy_from_slice(&message.bytes), Bytes::from);
        Self { body, gzip, encoded: message.bytes.len(), items: message.items }
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    // Spans and points shrink to a sixth; more room is made where they do not.
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), LEVEL);
    encoder.write_all(bytes)?;
    let mut compressed = encoder.finish()?;
    compressed.shrink_to_fit();
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn compresses_only_where_it_is_to() {
        let message = Message { bytes: b"spans ".repeat(1000), items: 3 };
        let plain = Payload::new(&message, Compression::None);
        assert_eq!((&plain.body[..], plain.gzip, plain.encoded, plain.items), (&message.bytes[..], false, 6000, 3));
        let gzip = Payload::new(&message, Compression::Gzip);
        assert!(gzip.gzip && gzip.body.len() < 200 && gzip.encoded == 6000 && gzip.items == 3, "{gzip:?}");
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&gzip.body[..]).read_to_end(&mut back).unwrap();
        assert_eq!(back, message.bytes);
    }
}
