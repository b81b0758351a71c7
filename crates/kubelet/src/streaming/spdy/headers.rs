//! Header blocks: name/value pairs in a zlib stream that lasts as long as the connection.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::{Buf, BufMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::FrameError;

/// Headers of a stream; names in lower case, several values joined by NUL.
pub type Headers = BTreeMap<String, String>;

/// The largest header block accepted after decompression; clients send a few dozen bytes.
const MAX_BLOCK_BYTES: usize = 64 << 10;
/// Room the compressor is given at a time.
const STEP_BYTES: usize = 4 << 10;

/// The words both ends know beforehand (SPDY/3, section 2.6.10.1): each with its length before it.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow \
     authorization cache-control connection content-base content-encoding content-language content-length content-location \
     content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range \
     if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after \
     server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version \
     HTTP/1.1 url public set-cookie keep-alive origin";
/// And this text after them.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
     203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found\
     500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 \
     Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,\
     text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::new();
    for word in WORDS.split_ascii_whitespace() {
        let word = word.replace('_', " ");
        dictionary.put_u32(u32::try_from(word.len()).unwrap_or(0));
        dictionary.put_slice(word.as_bytes());
    }
    dictionary.put_slice(TAIL.as_bytes());
    dictionary
});

/// Compresses the header blocks of one direction.
pub struct HeaderEncoder(Compress);

impl Default for HeaderEncoder {
    fn default() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&DICTIONARY).expect("a new compressor takes a dictionary");
        Self(compress)
    }
}

impl HeaderEncoder {
    /// The block of these headers.
    pub fn encode(&mut self, headers: &Headers) -> Vec<u8> {
        let mut plain = Vec::new();
        let put = |plain: &mut Vec<u8>, text: &str| {
            plain.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
            plain.put_slice(text.as_bytes());
        };
        plain.put_u32(u32::try_from(headers.len()).unwrap_or(u32::MAX));
        for (name, value) in headers {
            put(&mut plain, name);
            put(&mut plain, value);
        }
        let mut block = Vec::new();
        let start = self.0.total_in();
        loop {
            let consumed = usize::try_from(self.0.total_in() - start).unwrap_or(plain.len());
            block.reserve(STEP_BYTES);
            let before = block.len();
            let result = self.0.compress_vec(&plain[consumed..], &mut block, FlushCompress::Sync);
            result.expect("compressing into memory cannot fail");
            let all_in = self.0.total_in() - start == plain.len() as u64;
            if all_in && block.len() - before < STEP_BYTES {
                return block;
            }
        }
    }
}

/// Decompresses the header blocks of one direction.
pub struct HeaderDecoder(Decompress);

impl Default for HeaderDecoder {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl HeaderDecoder {
    /// The headers in a block.
    ///
    /// # Errors
    /// When the block is no continuation of the stream or too large.
    pub fn decode(&mut self, block: &[u8]) -> Result<Headers, FrameError> {
        let plain = self.inflate(block)?;
        parse(&plain).ok_or(FrameError::Headers)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut plain = Vec::new();
        let start = self.0.total_in();
        loop {
            let consumed = usize::try_from(self.0.total_in() - start).unwrap_or(block.len());
            plain.reserve(STEP_BYTES);
            let (before, room) = (plain.len(), plain.capacity() - plain.len());
            match self.0.decompress_vec(&block[consumed..], &mut plain, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => return Err(FrameError::Headers),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| FrameError::Headers)?;
                    continue;
                }
                Err(_) => return Err(FrameError::Headers),
            }
            if plain.len() > MAX_BLOCK_BYTES {
                return Err(FrameError::Headers);
            }
            let all_in = self.0.total_in() - start == block.len() as u64;
            let produced = plain.len() - before;
            if all_in && produced < room {
                return Ok(plain);
            }
            if !all_in && produced == 0 && self.0.total_in() - start == consumed as u64 {
                return Err(FrameError::Headers);
            }
        }
    }
}

fn parse(mut plain: &[u8]) -> Option<Headers> {
    let text = |plain: &mut &[u8]| {
        let length = plain.try_get_u32().ok()? as usize;
        let (text, rest) = plain.split_at_checked(length)?;
        *plain = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let count = plain.try_get_u32().ok()?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = text(&mut plain)?;
        headers.insert(name.to_ascii_lowercase(), text(&mut plain)?);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// The checksum is the one every SPDY/3 stream begins with: `78 bb e3 c6 a7 c2`.
    #[test]
    fn dictionary_is_the_one_of_the_draft() {
        assert_eq!(DICTIONARY.len(), 1423);
        let block = HeaderEncoder::default().encode(&headers(&[("streamtype", "stdin")]));
        assert_eq!(block[2..6], [0xe3, 0xc6, 0xa7, 0xc2]);
    }

    #[test]
    fn blocks_share_one_stream() {
        let (mut encoder, mut decoder) = (HeaderEncoder::default(), HeaderDecoder::default());
        for size in [1, 10, 5_000, 3, 20_000] {
            let sent =
                headers(&[("streamtype", "error"), ("port", "8080"), ("x", &"y".repeat(size))]);
            assert_eq!(decoder.decode(&encoder.encode(&sent)).expect("decoded"), sent);
        }
        assert_eq!(
            decoder.decode(&encoder.encode(&Headers::new())).expect("decoded"),
            Headers::new()
        );
    }

    #[test]
    fn garbage_and_bombs_are_refused() {
        assert!(HeaderDecoder::default().decode(b"\x00\x01garbage").is_err());
        let bomb = HeaderEncoder::default().encode(&headers(&[("x", &"0".repeat(1 << 20))]));
        assert!(HeaderDecoder::default().decode(&bomb).is_err());
    }
}
