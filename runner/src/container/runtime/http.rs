//! HTTP over a Unix socket, with bounds on what a reply may hold. A connection per question.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The longest reply that is read: some thousands of containers.
pub(super) const MAX_REPLY: usize = 16 << 20;
/// The longest event.
const MAX_LINE: usize = 1 << 20;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::container) enum Failure {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("reply cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("status {0}")]
    Status(hyper::StatusCode),
    #[error("unexpected reply: {0}")]
    Json(#[from] serde_json::Error),
    #[error("an event longer than {MAX_LINE} bytes")]
    Line,
    #[error("no answer in {0:?}")]
    Time(Duration),
    #[error("{message} (gRPC status {code})")]
    Grpc { code: u32, message: String },
    #[error("a message that cannot be read: {0}")]
    Message(#[from] prost::DecodeError),
    #[error("a reply longer than {MAX_REPLY} bytes")]
    Long,
    #[error("the reply ends too early")]
    Cut,
    #[error("not the identifier of a container")]
    Name,
}

impl Failure {
    /// Whether nobody listens there, which is how it is on most hosts, and no fault.
    pub(super) fn is_absence(&self) -> bool {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        matches!(self, Self::Connect(error) if matches!(error.kind(), NotFound | ConnectionRefused))
    }
}

/// Asks for `path`; the connection lives as long as the reply is read.
pub(super) async fn get(socket: &Path, path: &str) -> Result<Response<Incoming>, Failure> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, "docker")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::Body(error.into()))?;
    let response = sender.send_request(request).await?;
    if response.status().is_success() { Ok(response) } else { Err(Failure::Status(response.status())) }
}

/// Asks for `path` and reads the whole reply.
pub(super) async fn get_all(socket: &Path, path: &str) -> Result<Bytes, Failure> {
    let body = Limited::new(get(socket, path).await?.into_body(), MAX_REPLY);
    Ok(body.collect().await.map_err(Failure::Body)?.to_bytes())
}

/// The lines of a reply that goes on.
pub(super) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The next line that is not empty; `None` when the reply ends.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
            }
            if self.buffer.len() > MAX_LINE {
                return Err(Failure::Line);
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}
