//! Reads a receiver's answer: no more of it than an answer may have, also after decompression.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// Longest answer, compressed or not, in bytes.
pub(super) const LONGEST: usize = 4 << 20;

/// Why an answer is not known.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is longer than [`LONGEST`].
    TooLarge,
    /// It did not arrive whole.
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

/// The whole body, and its trailers.
pub(super) async fn read<B>(body: B) -> Result<(Bytes, Option<HeaderMap>), Unread>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected = Limited::new(body, LONGEST)
        .collect()
        .await
        .map_err(|error| if error.is::<LengthLimitError>() { Unread::TooLarge } else { Unread::Broken(error) })?;
    let trailers = collected.trailers().cloned();
    Ok((collected.to_bytes(), trailers))
}

/// Decompresses an answer. What is no gzip counts as an empty one: the status has said what matters.
pub(super) fn gunzip(bytes: &[u8]) -> Result<Bytes, Unread> {
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(LONGEST as u64 + 1).read_to_end(&mut plain);
    if plain.len() > LONGEST {
        return Err(Unread::TooLarge);
    }
    Ok(if read.is_ok() { plain.into() } else { Bytes::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_not_unpacked_beyond_the_limit() {
        let bomb = gzip(&vec![0; LONGEST + 1]);
        assert!(bomb.len() < 8192, "{}", bomb.len());
        assert!(matches!(gunzip(&bomb), Err(Unread::TooLarge)));
        assert_eq!(gunzip(&gzip(&vec![0; LONGEST])).unwrap().len(), LONGEST);
        // Members one after the other count together.
        assert!(matches!(gunzip(&gzip(&vec![0; LONGEST]).repeat(2)), Err(Unread::TooLarge)));
    }

    #[test]
    fn what_is_no_gzip_is_empty() {
        assert!(gunzip(b"hello").unwrap().is_empty());
    }
}
