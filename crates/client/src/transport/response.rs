//! An answer whose body has not been read yet.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use tokio::io::AsyncBufRead;
use tokio_util::io::StreamReader;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::body::Body;
use crate::transport::page;
use crate::transport::retry::Repeat;
use crate::transport::token_answer;

/// How many bytes of an error page are read.
const ERROR_BODY_BYTES: usize = 64 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// An answer whose body has not been read yet.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Body,
    timeout: Duration,
    repeat: Repeat,
    /// The part of the body that was read to judge it.
    ahead: Option<Bytes>,
}

impl Answer {
    pub fn of(response: Response, timeout: Duration, repeat: Repeat) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: Body::of(response), timeout, repeat, ahead: None }
    }

    /// The next bytes of the body, decompressed; `None` at its end.
    ///
    /// # Errors
    /// The server falls silent, or the connection breaks before the announced end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        let chunk = within(self.timeout, self.body.chunk()).await.flatten();
        chunk.map_err(|error| self.repeat.broken(error))
    }

    /// Whether the body is a web page, by its media type, or by its beginning if the type does not decide.
    pub async fn may_be_page(&mut self) -> Result<bool> {
        let declared = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let declared = declared.unwrap_or_default().to_ascii_lowercase();
        if declared.contains("html") {
            return Ok(true);
        }
        if ["json", "xml", "octet-stream"].iter().any(|ty| declared.contains(ty)) {
            return Ok(false);
        }
        self.ahead = self.chunk().await?;
        let start = self.ahead.as_deref().unwrap_or_default();
        Ok(page::looks_like_page(&String::from_utf8_lossy(&start[..start.len().min(1024)])))
    }

    /// The whole body, for answers that are small by nature, without a byte order mark.
    ///
    /// # Errors
    /// As [`Answer::chunk`]; also if there are more than `limit` bytes.
    pub async fn text(self, limit: usize) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.document(limit).await?).into_owned())
    }

    /// The whole body without a byte order mark, which .NET likes to put before text.
    ///
    /// # Errors
    /// As [`Answer::chunk`]; also if there are more than `limit` bytes.
    pub async fn document(self, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = self.bytes(limit).await?;
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(bytes)
    }

    /// The whole body, byte for byte.
    ///
    /// # Errors
    /// As [`Answer::chunk`]; also if there are more than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>> {
        let announced = self.body.length();
        let too_large =
            || Error::new(ErrorKind::TooLarge, format!("the answer is larger than {limit} bytes"));
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0));
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(chunk.as_ref());
        }
        Ok(bytes)
    }

    /// The body, or the part before a broken connection if it has a complete token, which must not be lost.
    pub async fn what_comes(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() <= limit => bytes.extend_from_slice(&chunk),
                Ok(Some(_)) => {
                    return Err(Error::new(
                        ErrorKind::TooLarge,
                        format!("the answer is larger than {limit} bytes"),
                    ));
                }
                Ok(None) => return Ok(bytes),
                Err(_) if token_answer::salvaged(&bytes).is_some() => return Ok(bytes),
                Err(error) => return Err(error),
            }
        }
    }

    /// The body as a stream, for readers that bring their own buffering.
    pub fn reader(self) -> impl AsyncBufRead + Unpin {
        let chunks = stream::try_unfold(self, |mut answer| async {
            let chunk = answer.chunk().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(chunk.map(|chunk| (chunk, answer)))
        });
        StreamReader::new(Box::pin(chunks))
    }

    /// The beginning of an error's body; empty if it cannot be read.
    pub async fn beginning(mut self) -> String {
        let mut bytes = Vec::new();
        while bytes.len() < ERROR_BODY_BYTES {
            match self.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(chunk.as_ref()),
                _ => break,
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The outcome of `step`, unless the server sends nothing for `timeout`.
pub(crate) async fn within<T>(timeout: Duration, step: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(timeout, step).await.map_err(|_| {
        Error::new(ErrorKind::Timeout, format!("the server sent nothing for {} seconds", timeout.as_secs()))
            .hint(
                "A cold start of the site can take longer than a minute. Raise the server option \
             \"operation_timeout\" (seconds), or try again.",
            )
    })
}
