//! gRPC calls over a Unix socket: one request, and one reply or many.
//!
//! Source: "gRPC over HTTP2" of the gRPC project. A message is a byte (0: not compressed), its length in four bytes,
//! and its bytes; the status comes in the headers or the trailers. Nothing else of gRPC is needed here.

use std::marker::PhantomData;
use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{HeaderMap, Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixStream;

use super::http::{Failure, MAX_REPLY};

/// The status of a call that this server does not know.
pub(super) const UNIMPLEMENTED: u32 = 12;
/// The status of a call for what is not there.
pub(super) const NOT_FOUND: u32 = 5;

/// A call that needs no headers has this.
pub(super) const NO_HEADER: Option<(&str, &str)> = None;

/// A connection. Calls may run at the same time.
#[derive(Clone)]
pub(super) struct Channel {
    sender: SendRequest<Full<Bytes>>,
}

impl Channel {
    pub(super) async fn connect(socket: &Path) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Calls `method` (`package.Service/Method`) and waits for its one reply.
    pub(super) async fn unary<T: Message + Default>(
        &self,
        method: &str,
        header: Option<(&str, &str)>,
        request: &impl Message,
    ) -> Result<T, Failure> {
        let mut replies = self.stream(method, header, request).await?;
        let reply = replies.next().await?.ok_or(Failure::Cut)?;
        // Only the status behind it says that all went well.
        while replies.next().await?.is_some() {}
        Ok(reply)
    }

    /// Calls `method` and gives its replies as they come.
    pub(super) async fn stream<T: Message + Default>(
        &self,
        method: &str,
        header: Option<(&str, &str)>,
        request: &impl Message,
    ) -> Result<Replies<T>, Failure> {
        let mut builder = Request::post(format!("http://localhost/{method}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers");
        if let Some((name, value)) = header {
            builder = builder.header(name, value);
        }
        let body = Full::new(Bytes::from(frame(request)));
        let request = builder.body(body).map_err(|error| Failure::Body(error.into()))?;
        let response = self.sender.clone().send_request(request).await?;
        if !response.status().is_success() {
            return Err(Failure::Status(response.status()));
        }
        status(response.headers())?;
        Ok(Replies { body: response.into_body(), buffer: Vec::new(), message: PhantomData })
    }
}

/// The replies to one call.
pub(super) struct Replies<T> {
    body: Incoming,
    buffer: Vec<u8>,
    message: PhantomData<fn() -> T>,
}

impl<T: Message + Default> Replies<T> {
    /// The next one; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(length) = first_message(&self.buffer)? {
                let message = T::decode(&self.buffer[5..5 + length])?;
                self.buffer.drain(..5 + length);
                return Ok(Some(message));
            }
            match self.body.frame().await.transpose()? {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Failure::Cut),
                Some(frame) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => frame.trailers_ref().map_or(Ok(()), status)?,
                },
            }
        }
    }
}

fn frame(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut bytes = vec![0];
    // What is sent from here are some identifiers.
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}

/// The length of the message that `buffer` begins with, once it is there as a whole.
fn first_message(buffer: &[u8]) -> Result<Option<usize>, Failure> {
    let Some((&[compressed, a, b, c, d], rest)) = buffer.split_first_chunk::<5>() else { return Ok(None) };
    if compressed != 0 {
        return Err(Failure::Body("a compressed message".into()));
    }
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > MAX_REPLY {
        return Err(Failure::Long);
    }
    Ok((rest.len() >= length).then_some(length))
}

/// The failure that headers or trailers tell of, if any.
fn status(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").map(str::parse) {
        None | Some(Ok(0)) => Ok(()),
        Some(code) => {
            // 2: unknown.
            let message = text("grpc-message").unwrap_or("the call failed").to_owned();
            Err(Failure::Grpc { code: code.unwrap_or(2), message })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_cut_where_they_end() {
        let bytes = frame(&"ab".to_owned());
        let length = bytes.len() - 5;
        for end in 0..bytes.len() {
            assert!(matches!(first_message(&bytes[..end]), Ok(None)));
        }
        assert!(matches!(first_message(&bytes), Ok(Some(found)) if found == length));
        assert!(matches!(first_message(&[0, 255, 0, 0, 0]), Err(Failure::Long)));
        assert!(matches!(first_message(&[1, 0, 0, 0, 0]), Err(Failure::Body(_))));
    }

    #[test]
    fn status_is_told_with_its_message() {
        let mut headers = HeaderMap::new();
        assert!(status(&headers).is_ok());
        headers.insert("grpc-status", "5".parse().unwrap());
        headers.insert("grpc-message", "gone".parse().unwrap());
        assert_eq!(status(&headers).unwrap_err().to_string(), "gone (gRPC status 5)");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some(length)) = first_message(&bytes) {
                prop_assert!(length + 5 <= bytes.len());
            }
        }
    }
}
