//! One request over HTTP/1.1 on its own connection.

use std::time::Duration;

use actix_codec::{AsyncRead, AsyncWrite, Framed};
use actix_http::h1::ClientCodec;
use actix_http::header::{self, HeaderName, HeaderValue};
use actix_http::{ConnectionType, Method, RequestHead, ResponseHead, StatusCode, Uri};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::error::HttpError;
use super::exchange::{exchange_heads, read_body};
use super::resolve::resolve;
use super::tls::TlsTrust;

/// The maximum size of a response body, unless the request has its own.
const MAX_BODY_BYTES: usize = 2 << 20;
/// The maximum time until the response is complete, unless the request has its own.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A request that is ready to be sent.
pub(crate) struct OutgoingRequest {
    pub(crate) head: RequestHead,
    body: Option<Bytes>,
    timeout: Duration,
    max_body_bytes: usize,
    tls: Option<TlsTrust>,
}

impl OutgoingRequest {
    /// A GET without a body.
    pub(crate) fn get(url: &str) -> Result<Self, HttpError> {
        Self::new(Method::GET, url, None)
    }

    /// A POST of JSON.
    pub(crate) fn post_json(url: &str, body: String) -> Result<Self, HttpError> {
        Self::new(Method::POST, url, Some(body.into()))?.header(header::CONTENT_TYPE, "application/json")
    }

    /// A POST of a form, from [`form_body`](super::form_body).
    pub(crate) fn post_form(url: &str, body: String) -> Result<Self, HttpError> {
        Self::new(Method::POST, url, Some(body.into()))?
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
    }

    fn new(method: Method, url: &str, body: Option<Bytes>) -> Result<Self, HttpError> {
        let uri: Uri = url.parse()?;
        let host = uri.host().unwrap_or_default();
        let host = uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut head = RequestHead::default();
        (head.method, head.uri) = (method, uri);
        let (timeout, max_body_bytes) = (TIMEOUT, MAX_BODY_BYTES);
        Self { head, body, timeout, max_body_bytes, tls: None }.header(header::HOST, &host)
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, HttpError> {
        self.head.headers.insert(name, HeaderValue::try_from(value)?);
        Ok(self)
    }

    /// Sets the maximum time until the response is complete, from the lookup of the host on.
    pub(crate) fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets the maximum size of the body of the response.
    pub(crate) fn max_body_bytes(self, max_body_bytes: usize) -> Self {
        Self { max_body_bytes, ..self }
    }

    /// Allows an `https` URL.
    pub(crate) fn tls(self, tls: TlsTrust) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Sends the request; returns the status and the body of the response. Redirects are not followed, so credentials
    /// are sent only to the server that the settings or the user named.
    pub(crate) async fn send(mut self) -> Result<(StatusCode, String), HttpError> {
        self.head.set_connection_type(ConnectionType::Close);
        let deadline = Instant::now() + self.timeout;
        let stream = timeout_at(deadline, connect(&self.head.uri));
        let stream = stream.await.map_err(|_| HttpError::Timeout)??;
        if !is_https(&self.head.uri) {
            return self.send_over(stream, deadline).await;
        }
        let tls = self.tls.take().ok_or(HttpError::TlsNotSupported)?;
        let stream = timeout_at(deadline, tls.connect(host(&self.head.uri), stream));
        let stream = stream.await.map_err(|_| HttpError::Timeout)?.map_err(HttpError::Tls)?;
        self.send_over(stream, deadline).await
    }

    async fn send_over<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        stream: S,
        deadline: Instant,
    ) -> Result<(StatusCode, String), HttpError> {
        let heads = timeout_at(deadline, exchange_heads(stream, self.head, self.body)).await;
        let (head, connection) = heads.map_err(|_| HttpError::Timeout)??;
        let body = timeout_at(deadline, read_body(&head, connection, self.max_body_bytes)).await;
        Ok((head.status, body.map_err(|_| HttpError::BodyTimeout)??))
    }

    /// Connects without TLS and sends the request; returns the head of the response, and the connection for the rest.
    pub(crate) async fn exchange_heads(
        self,
    ) -> Result<(ResponseHead, Framed<TcpStream, ClientCodec>), HttpError> {
        exchange_heads(connect(&self.head.uri).await?, self.head, self.body).await
    }
}

async fn connect(uri: &Uri) -> Result<TcpStream, HttpError> {
    let port = port(uri).ok_or(HttpError::Port)?;
    let addresses = resolve(host(uri).to_owned(), port).await.map_err(HttpError::Resolve)?;
    TcpStream::connect(&addresses[..]).await.map_err(HttpError::Connect)
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

/// The host of a URL, without the brackets of an IPv6 address.
fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// The port of a URL. `None` if its text is not a port: the parser ignores such a text.
pub(crate) fn port(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?;
    match authority.as_str().strip_prefix(authority.host())? {
        "" => Some(if is_https(uri) { 443 } else { 80 }),
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port != 0),
    }
}
