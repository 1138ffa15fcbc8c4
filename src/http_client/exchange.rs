//! Sends a request over an open connection and reads the response.

use actix_codec::{AsyncRead, AsyncWrite, BytesCodec, Framed};
use actix_http::body::BodySize;
use actix_http::h1::{ClientCodec, Message, MessageType};
use actix_http::{RequestHead, RequestHeadType, ResponseHead, StatusCode, Version, header};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt as _};

use super::error::HttpError;

/// Sends the request; returns the head of the response, and the connection for the rest.
pub(super) async fn exchange_heads<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    head: RequestHead,
    body: Option<Bytes>,
) -> Result<(ResponseHead, Framed<S, ClientCodec>), HttpError> {
    let mut connection = Framed::new(stream, ClientCodec::default());
    let length = body.as_ref().map_or(BodySize::None, |body| BodySize::Sized(body.len() as u64));
    connection.feed(Message::Item((head.into(), length))).await?;
    if let Some(body) = body {
        connection.feed(Message::Chunk(Some(body))).await?;
        connection.feed(Message::Chunk(None)).await?;
    }
    SinkExt::<Message<(RequestHeadType, BodySize)>>::flush(&mut connection).await?;
    let head = read_head(&mut connection).await?;
    Ok((head, connection))
}

/// The head of the final response. Interim responses are skipped (RFC 9110, section 15.2).
async fn read_head<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Framed<S, ClientCodec>,
) -> Result<ResponseHead, HttpError> {
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

/// Reads a body of at most `max_bytes` (RFC 9112, section 6.3). A body that ends early is an error.
pub(super) async fn read_body<S: AsyncRead + AsyncWrite + Unpin>(
    head: &ResponseHead,
    connection: Framed<S, ClientCodec>,
    max_bytes: usize,
) -> Result<String, HttpError> {
    let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
    let mut body = Vec::new();
    if connection.codec_ref().message_type() != MessageType::None {
        let mut connection = connection.into_map_codec(ClientCodec::into_payload_codec);
        loop {
            match connection.next().await.transpose()? {
                Some(Some(chunk)) => append(&mut body, &chunk, max_bytes)?,
                Some(None) => break,
                None if head.version == Version::HTTP_10 && !has_length => break,
                None => return Err(HttpError::Truncated),
            }
        }
    } else if !has_length && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        // The codec knows no body that ends with the connection in HTTP/1.1.
        let mut connection = connection.into_map_codec(|_| BytesCodec);
        while let Some(part) = connection.next().await {
            append(&mut body, &part.map_err(HttpError::Receive)?, max_bytes)?;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn append(body: &mut Vec<u8>, part: &[u8], max_bytes: usize) -> Result<(), HttpError> {
    if body.len() + part.len() > max_bytes {
        return Err(HttpError::BodyTooLarge);
    }
    body.extend_from_slice(part);
    Ok(())
}
