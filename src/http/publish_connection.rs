//! A connection of the admin port. It serves plain requests to publish itself; from the first other request on, the
//! HTTP server serves the connection.
//!
//! The HTTP server answers a request of a connection before it looks at the next one. Here, requests that have arrived
//! together are published together and answered in one write, so they share a round trip to Redis.

use std::io::{self, Cursor};
use std::ops::Range;
use std::time::SystemTime;

use actix_rt::net::TcpStream;
use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use actix_web::http::header::HttpDate;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt as _, Chain, Join, join};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::plain_publish::{PlainRequests, Rest};
use super::publish::{PublishItem, parse, published_json};
use super::{AdminState, ApiError, KEEP_ALIVE};
use crate::broker::PublishError;
use crate::metrics::AdminRequest;
use crate::timeout::timeout_awake;

/// How many bytes are read at once.
const READ_BYTES: usize = 32 * 1024;

/// The response to a head that did not arrive in time, as the HTTP server sends it.
const SLOW_HEAD: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A connection that has sent plain requests only.
pub(super) struct PublishConnection<'a> {
    admin: &'a AdminState,
    stream: TcpStream,
    bytes: BytesMut,
    /// Whether no request was complete yet.
    is_first: bool,
}

/// A connection for the HTTP server. The bytes that the client has sent already come first.
pub(super) type OtherStream = Join<Chain<Cursor<BytesMut>, OwnedReadHalf>, OwnedWriteHalf>;

/// Why a connection ends.
enum End {
    /// The client has closed it, it was cut, or it had no request for too long.
    Closed,
    /// A head did not arrive in time.
    SlowHead,
    /// A body did not arrive in time.
    SlowBody,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

impl<'a> PublishConnection<'a> {
    pub(super) fn new(admin: &'a AdminState, stream: TcpStream) -> Self {
        Self { admin, stream, bytes: BytesMut::new(), is_first: true }
    }

    /// Serves plain requests until another one arrives, and returns the connection for the HTTP server. Returns `None`
    /// if the connection has ended.
    pub(super) async fn serve(mut self) -> Option<OtherStream> {
        match self.publish_all().await {
            Ok(()) => {
                let (read, write) = self.stream.into_split();
                return Some(join(AsyncReadExt::chain(Cursor::new(self.bytes), read), write));
            }
            Err(End::Closed) => {}
            Err(End::SlowHead) => self.end(SLOW_HEAD.to_owned()).await,
            Err(End::SlowBody) => {
                let error = ApiError::BodyTimeout;
                self.admin.count(error.status_code());
                let mut response = Vec::new();
                let (status, body) = (error.status_code(), error.to_json().to_string());
                write_response(&mut response, status, &body, "connection: close\r\n", &date());
                self.end(response).await;
            }
        }
        None
    }

    /// Serves requests until one is for the HTTP server.
    async fn publish_all(&mut self) -> Result<(), End> {
        loop {
            let found = self.requests().await?;
            // The HTTP server closes a connection after its response while there are too many.
            if found.bodies.is_empty() || self.admin.is_crowded() {
                return Ok(());
            }
            let responses = self.admin.respond(&self.bytes, &found.bodies).await;
            self.write(&responses).await?;
            self.bytes.advance(found.end);
            self.is_first = false;
        }
    }

    /// Waits for the next requests. If none of them is plain, the first is for the HTTP server.
    async fn requests(&mut self) -> Result<PlainRequests, End> {
        let mut found = PlainRequests::find(&self.bytes, &self.admin.key);
        while found.bodies.is_empty() && found.rest != Rest::Other {
            let (limit, end) = match found.rest {
                Rest::Empty if !self.is_first => (KEEP_ALIVE, End::Closed),
                Rest::Body => (self.admin.request_timeout, End::SlowBody),
                _ => (self.admin.request_timeout, End::SlowHead),
            };
            found = timeout_awake(limit, self.read_beyond(found.rest)).await.map_err(|_| end)??;
        }
        Ok(found)
    }

    /// Reads until a request is complete, or the bytes after the requests are no longer `rest`.
    async fn read_beyond(&mut self, rest: Rest) -> Result<PlainRequests, End> {
        loop {
            self.bytes.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(End::Closed);
            }
            let found = PlainRequests::find(&self.bytes, &self.admin.key);
            // The time for the first head begins at the accept.
            let is_same_head = self.is_first && rest == Rest::Empty && found.rest == Rest::Head;
            if !found.bodies.is_empty() || found.rest != rest && !is_same_head {
                return Ok(found);
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        // A client that reads nothing must not keep its connection.
        timeout_awake(self.admin.request_timeout, self.stream.write_all(bytes))
            .await
            .map_err(|_| End::Closed)??;
        Ok(())
    }

    /// Sends a last response and closes the connection.
    async fn end(&mut self, response: Vec<u8>) {
        if self.write(&response).await.is_ok() {
            // The client may have closed it.
            let _ = self.stream.shutdown().await;
        }
    }
}

impl AdminState {
    /// Publishes the messages in these bodies, in order, and returns the responses.
    async fn respond(&self, bytes: &[u8], bodies: &[Range<usize>]) -> Vec<u8> {
        let mut items: Vec<PublishItem<'_>> = Vec::with_capacity(bodies.len());
        let parsed: Vec<_> =
            bodies.iter().map(|body| parse(&bytes[body.clone()]).map(|item| items.push(item))).collect();
        let mut outcomes = self.publish(&items).await.into_iter();
        let (mut responses, date) = (Vec::with_capacity(bodies.len() * 256), date());
        for parsed in parsed {
            let outcome = parsed
                .and_then(|()| outcomes.next().unwrap_or_else(|| Err(PublishError::Unavailable.into())));
            let (status, body) = match outcome {
                Ok(published) => (StatusCode::OK, published_json(published)),
                Err(error) => (error.status_code(), error.to_json()),
            };
            self.count(status);
            write_response(&mut responses, status, &body.to_string(), "", &date);
        }
        responses
    }

    fn count(&self, status: StatusCode) {
        let request = AdminRequest::new(Some("/v1/publish"), status.as_u16());
        self.metrics.admin_requests.get_or_create(&request).inc();
    }
}

fn date() -> String {
    HttpDate::from(SystemTime::now()).to_string()
}

/// Appends a response. `headers`: further headers, each with its line break.
fn write_response(out: &mut Vec<u8>, status: StatusCode, body: &str, headers: &str, date: &str) {
    let reason = status.canonical_reason().unwrap_or_default();
    let (code, length) = (status.as_u16(), body.len());
    let head = format!(
        "HTTP/1.1 {code} {reason}\r\ncontent-length: {length}\r\n{headers}content-type: application/json\r\n\
         x-content-type-options: nosniff\r\ncache-control: no-store\r\ndate: {date}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}
