//! One request over plain HTTP/1.1 on its own connection, with the codec that the server links as well.

use std::io;

use actix_codec::Framed;
use actix_http::body::BodySize;
use actix_http::error::{ParseError, PayloadError};
use actix_http::h1::{ClientCodec, Message, MessageType};
use actix_http::header::{self, HeaderName, HeaderValue, InvalidHeaderValue};
use actix_http::uri::InvalidUri;
use actix_http::{ConnectionType, Method, RequestHead, RequestHeadType, ResponseHead, StatusCode, Uri};
use actix_rt::time::timeout;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt as _};
use tokio::net::{TcpStream, lookup_host};

use super::ANSWER_TIMEOUT;

/// The maximum size of a response body.
const MAX_BODY_BYTES: usize = 2 << 20;
/// The port of a URL without a port.
const DEFAULT_PORT: u16 = 80;

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum HttpError {
    #[error("the URL is invalid: {0}")]
    Url(#[from] InvalidUri),
    #[error("{0}")]
    Header(#[from] InvalidHeaderValue),
    #[error("cannot resolve the host name: {0}")]
    Resolve(io::Error),
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Send(#[from] io::Error),
    #[error("{0}")]
    Head(#[from] ParseError),
    #[error("{0}")]
    Body(#[from] PayloadError),
    #[error("the connection was closed without a response")]
    Closed,
    #[error("timed out waiting for a response")]
    Timeout,
}

/// A request that is ready to be sent.
pub(in crate::cli) struct OutgoingRequest {
    pub(super) head: RequestHead,
    body: Option<Bytes>,
}

impl OutgoingRequest {
    /// A GET without a body.
    pub(in crate::cli) fn get(url: &str) -> Result<Self, HttpError> {
        Self::new(Method::GET, url, None)
    }

    /// A POST of JSON.
    pub(in crate::cli) fn post_json(url: &str, body: String) -> Result<Self, HttpError> {
        Self::new(Method::POST, url, Some(body.into()))?.header(header::CONTENT_TYPE, "application/json")
    }

    fn new(method: Method, url: &str, body: Option<Bytes>) -> Result<Self, HttpError> {
        let uri: Uri = url.parse()?;
        let host = uri.host().unwrap_or_default();
        let host = uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut head = RequestHead::default();
        (head.method, head.uri) = (method, uri);
        Self { head, body }.header(header::HOST, &host)
    }

    /// Adds a header.
    pub(in crate::cli) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, HttpError> {
        self.head.headers.insert(name, HeaderValue::try_from(value)?);
        Ok(self)
    }

    /// Sends the request; returns the status and the body of the response. Redirects are not followed, so the API key
    /// is sent only to the server that the user named.
    pub(in crate::cli) async fn send(mut self) -> Result<(StatusCode, String), HttpError> {
        self.head.set_connection_type(ConnectionType::Close);
        let exchange = async {
            let (head, connection) = self.exchange_heads().await?;
            Ok((head.status, read_body(connection).await?))
        };
        timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| HttpError::Timeout)?
    }

    /// Connects and sends the request; returns the head of the response, and the connection for the rest.
    pub(super) async fn exchange_heads(
        self,
    ) -> Result<(ResponseHead, Framed<TcpStream, ClientCodec>), HttpError> {
        let mut connection = Framed::new(connect(&self.head.uri).await?, ClientCodec::default());
        let length = self.body.as_ref().map_or(BodySize::None, |body| BodySize::Sized(body.len() as u64));
        connection.feed(Message::Item((self.head.into(), length))).await?;
        if let Some(body) = self.body {
            connection.feed(Message::Chunk(Some(body))).await?;
            connection.feed(Message::Chunk(None)).await?;
        }
        SinkExt::<Message<(RequestHeadType, BodySize)>>::flush(&mut connection).await?;
        let head = connection.next().await.ok_or(HttpError::Closed)??;
        Ok((head, connection))
    }
}

async fn connect(uri: &Uri) -> Result<TcpStream, HttpError> {
    let host = format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(DEFAULT_PORT));
    let addresses: Vec<_> = lookup_host(host).await.map_err(HttpError::Resolve)?.collect();
    TcpStream::connect(&addresses[..]).await.map_err(HttpError::Connect)
}

async fn read_body(connection: Framed<TcpStream, ClientCodec>) -> Result<String, HttpError> {
    if connection.codec_ref().message_type() == MessageType::None {
        return Ok(String::new());
    }
    let mut connection = connection.into_map_codec(ClientCodec::into_payload_codec);
    let mut body = Vec::new();
    while let Some(Some(chunk)) = connection.next().await.transpose()? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(PayloadError::Overflow.into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
