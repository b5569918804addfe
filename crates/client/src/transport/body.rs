//! The body of an answer, decompressed as it arrives.
//!
//! reqwest decompresses, too, but it ends after the first member of a gzip body, and silently drops the bytes after it:
//! further members (RFC 1952, 2.2), or bytes that are no gzip.

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};
use tokio_util::io::StreamReader;

use crate::error::{Error, ErrorKind, Result, chain};

/// The value of `Accept-Encoding`.
pub(crate) const ENCODING: &str = "gzip";
/// The most bytes that are decompressed at a time: a small body may become very large.
const CHUNK_BYTES: usize = 64 * 1024;

type Raw = StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>;

pub(crate) enum Body {
    Plain(Response),
    /// Nothing has arrived yet. An empty body is no broken gzip.
    Unread(Raw),
    Gzip(Box<GzipDecoder<Raw>>),
    /// The server used an encoding that was not asked for.
    Strange(String),
    End,
}

impl Body {
    pub fn of(response: Response) -> Self {
        let encodings = encodings(response.headers());
        match encodings.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Self::Plain(response),
            // Both names mean the same (RFC 9110, 8.4.1.3).
            ["gzip" | "x-gzip"] => {
                let chunks = stream::try_unfold(response, |mut response| async {
                    let chunk = response.chunk().await.map_err(io::Error::other)?;
                    Ok(chunk.map(|chunk| (chunk, response)))
                });
                Self::Unread(StreamReader::new(Box::pin(chunks)))
            }
            _ => Self::Strange(encodings.join(", ")),
        }
    }

    /// The number of bytes, if it was announced.
    pub fn length(&self) -> Option<usize> {
        match self {
            Self::Plain(response) => response.content_length().and_then(|length| length.try_into().ok()),
            _ => None,
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The connection breaks before the end, or the bytes are not what the encoding promises.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if let Self::Plain(response) = self {
            return response.chunk().await.map_err(|reason| broken(chain(&reason)));
        }
        if let Self::Strange(encodings) = self {
            let message = "the server sent an answer in an encoding that it was not asked for";
            return Err(Error::new(ErrorKind::Protocol, message)
                .detail(format!("Content-Encoding: {encodings}"))
                .hint("A proxy on the way may be changing answers; ask whoever runs it."));
        }
        if let Self::Unread(raw) = self {
            let is_empty = raw.fill_buf().await.map_err(unreadable)?.is_empty();
            *self = match std::mem::replace(self, Self::End) {
                Self::Unread(raw) if !is_empty => {
                    let mut decoder = GzipDecoder::new(raw);
                    decoder.multiple_members(true);
                    Self::Gzip(Box::new(decoder))
                }
                _ => Self::End,
            };
        }
        let Self::Gzip(decoder) = self else { return Ok(None) };
        let mut bytes = BytesMut::with_capacity(CHUNK_BYTES);
        if decoder.read_buf(&mut bytes).await.map_err(unreadable)? == 0 {
            *self = Self::End;
            return Ok(None);
        }
        Ok(Some(bytes.freeze()))
    }
}

/// The encodings to undo, in lower case.
fn encodings(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let names: Vec<String> =
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase()).collect();
    let names = names.iter().flat_map(|names| names.split(',')).map(str::trim);
    names.filter(|name| !matches!(*name, "" | "identity")).map(str::to_owned).collect()
}

fn broken(detail: String) -> Error {
    Error::new(ErrorKind::ConnectionLost, "the connection broke in the middle of an answer")
        .detail(detail)
        .hint("Run the query again.")
}

/// The error if the connection broke, or if the bytes are not gzip.
fn unreadable(reason: io::Error) -> Error {
    if let Some(reason) = reason.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>()) {
        return broken(chain(reason));
    }
    if reason.kind() == io::ErrorKind::UnexpectedEof {
        return broken("the compressed body is cut off".into());
    }
    Error::new(ErrorKind::Protocol, "could not decompress the answer of the server")
        .detail(reason)
        .hint("Run the query again. If it stays, a proxy may be cutting or changing answers.")
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::GzipEncoder;
    use reqwest::header::HeaderValue;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        runtime().block_on(GzipEncoder::new(text.as_bytes()).read_to_end(&mut bytes)).unwrap();
        bytes
    }

    fn read(mut body: Body) -> Result<String> {
        runtime().block_on(async {
            let mut bytes = Vec::new();
            while let Some(chunk) = body.chunk().await? {
                bytes.extend_from_slice(&chunk);
            }
            Ok(String::from_utf8(bytes).unwrap())
        })
    }

    /// What is read of a body that comes in pieces of one byte, of some, and whole, which makes no difference.
    fn read_compressed(bytes: &[u8]) -> std::result::Result<String, ErrorKind> {
        let outcomes = [1, 7, bytes.len().max(1)].map(|size| {
            let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            read(Body::Unread(StreamReader::new(Box::pin(stream::iter(chunks))))).map_err(|error| error.kind)
        });
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
        outcomes[0].clone()
    }

    #[test]
    fn issue_4_3_all_members_of_a_gzip_body_are_read() {
        let large = "[".repeat(3 * CHUNK_BYTES);
        for members in [&[""][..], &["[1]"], &["[1,", "2]"], &["", "[1,", "", "2]", ""], &["a", &large, "b"]]
        {
            let bytes: Vec<u8> = members.iter().flat_map(|text| gzip(text)).collect();
            assert_eq!(read_compressed(&bytes), Ok(members.concat()), "{}", members.len());
        }
        // An empty answer is not broken.
        assert_eq!(read_compressed(b""), Ok(String::new()));
    }

    #[test]
    fn issue_4_3_what_stands_behind_a_gzip_body_is_not_dropped() {
        let whole = gzip("[1]");
        for rubbish in [&b"<html>"[..], b"\0\0\0\0\0\0\0\0\0\0\0\0", b"[2]", b"x", b"\x1f\x8b"] {
            let outcome = read_compressed(&[&whole, rubbish].concat());
            assert!(outcome.is_err(), "{rubbish:?}: {outcome:?}");
        }
        // Each cut is seen, in the first member as in the second.
        let two = [gzip("[1,"), gzip("2]")].concat();
        for end in (1..two.len()).filter(|end| *end != gzip("[1,").len()) {
            assert!(read_compressed(&two[..end]).is_err(), "{end}");
        }
        let mut wrong = whole.clone();
        let checksum = wrong.len() - 8;
        wrong[checksum] ^= 1;
        assert_eq!(read_compressed(&wrong), Err(ErrorKind::Protocol));
        assert_eq!(read_compressed(b"[1]"), Err(ErrorKind::Protocol));
    }

    #[test]
    fn issue_4_3_an_encoding_that_was_not_asked_for_is_an_error() {
        let answer = |encodings: &[&str], body: Vec<u8>| {
            let mut response = hyper::Response::new(body);
            for encoding in encodings {
                response.headers_mut().append(CONTENT_ENCODING, HeaderValue::from_str(encoding).unwrap());
            }
            read(Body::of(Response::from(response))).map_err(|error| error.kind)
        };
        for plain in [&[][..], &["identity"], &["", "Identity"]] {
            assert_eq!(answer(plain, b"[1]".to_vec()).as_deref(), Ok("[1]"), "{plain:?}");
        }
        for known in [&["gzip"][..], &["X-GZip"], &["identity, GZIP"]] {
            assert_eq!(answer(known, gzip("[1]")).as_deref(), Ok("[1]"), "{known:?}");
        }
        for strange in [&["br"][..], &["deflate, gzip"], &["gzip", "gzip"]] {
            assert_eq!(answer(strange, gzip("[1]")), Err(ErrorKind::Protocol), "{strange:?}");
        }
    }
}
