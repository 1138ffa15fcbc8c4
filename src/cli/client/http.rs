//! One request over plain HTTP/1.1 on its own connection, with the codec that the server links as well.

use std::time::Duration;

use actix_codec::{BytesCodec, Framed};
use actix_http::body::BodySize;
use actix_http::h1::{ClientCodec, Message, MessageType};
use actix_http::header::{self, HeaderName, HeaderValue};
use actix_http::{
    ConnectionType, Method, RequestHead, RequestHeadType, ResponseHead, StatusCode, Uri, Version,
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::ANSWER_TIMEOUT;
use super::error::HttpError;
use super::resolve::resolve;
use super::url;

/// The maximum size of a response body.
const MAX_BODY_BYTES: usize = 2 << 20;

/// A request that is ready to be sent.
pub(in crate::cli) struct OutgoingRequest {
    pub(super) head: RequestHead,
    body: Option<Bytes>,
    timeout: Duration,
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
        Self { head, body, timeout: ANSWER_TIMEOUT }.header(header::HOST, &host)
    }

    /// Adds a header.
    pub(in crate::cli) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, HttpError> {
        self.head.headers.insert(name, HeaderValue::try_from(value)?);
        Ok(self)
    }

    /// Sets the maximum time until the response is complete.
    pub(in crate::cli) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the request; returns the status and the body of the response. Redirects are not followed, so the API key
    /// is sent only to the server that the user named.
    pub(in crate::cli) async fn send(mut self) -> Result<(StatusCode, String), HttpError> {
        self.head.set_connection_type(ConnectionType::Close);
        let deadline = Instant::now() + self.timeout;
        let heads = timeout_at(deadline, self.exchange_heads()).await;
        let (head, connection) = heads.map_err(|_| HttpError::Timeout)??;
        let body = timeout_at(deadline, read_body(&head, connection)).await;
        Ok((head.status, body.map_err(|_| HttpError::BodyTimeout)??))
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
        let head = read_head(&mut connection).await?;
        Ok((head, connection))
    }
}

async fn connect(uri: &Uri) -> Result<TcpStream, HttpError> {
    let port = url::port(uri).ok_or(HttpError::Port)?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let addresses = resolve(host.to_owned(), port).await.map_err(HttpError::Resolve)?;
    TcpStream::connect(&addresses[..]).await.map_err(HttpError::Connect)
}

/// The head of the final response. Interim responses are skipped (RFC 9110, section 15.2).
async fn read_head(connection: &mut Framed<TcpStream, ClientCodec>) -> Result<ResponseHead, HttpError> {
    loop {
        let head = connection.next().await.ok_or(HttpError::Closed)??;
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(head);
        }
        // An interim response has no body, and the codec must not expect one.
        if connection.codec_ref().message_type() != MessageType::None {
            return Err(HttpError::NotHttp);
        }
    }
}

/// Reads the body (RFC 9112, section 6.3). A body that ends early is an error.
async fn read_body(
    head: &ResponseHead,
    connection: Framed<TcpStream, ClientCodec>,
) -> Result<String, HttpError> {
    let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
    let mut body = Vec::new();
    if connection.codec_ref().message_type() != MessageType::None {
        let mut connection = connection.into_map_codec(ClientCodec::into_payload_codec);
        loop {
            match connection.next().await.transpose()? {
                Some(Some(chunk)) => append(&mut body, &chunk)?,
                Some(None) => break,
                None if head.version == Version::HTTP_10 && !has_length => break,
                None => return Err(HttpError::Truncated),
            }
        }
    } else if !has_length && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        // The codec knows no body that ends with the connection in HTTP/1.1.
        let mut connection = connection.into_map_codec(|_| BytesCodec);
        while let Some(part) = connection.next().await {
            append(&mut body, &part.map_err(HttpError::Receive)?)?;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn append(body: &mut Vec<u8>, part: &[u8]) -> Result<(), HttpError> {
    if body.len() + part.len() > MAX_BODY_BYTES {
        return Err(HttpError::BodyTooLarge);
    }
    body.extend_from_slice(part);
    Ok(())
}
