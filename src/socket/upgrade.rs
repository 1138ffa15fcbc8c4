//! Turns an upgrade request into a socket, or refuses it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use actix::StreamHandler;
use actix_http::error::PayloadError;
use actix_http::ws;
use actix_rt::net::TcpStream;
use actix_web_actors::ws::WebsocketContext;
use bytes::Bytes;
use futures_util::stream::empty;

use super::client_prefix::ClientPrefix;
use super::extensions::negotiate_deflate;
use super::frame_reader::FrameReader;
use super::inbound::EventStream;
use super::limits::{ConnectionLimiter, ConnectionPermit};
use super::outbox::Outbox;
use super::read_state::ReadState;
use super::request::RequestHead;
use super::task::SocketTask;
use super::{Application, SocketEvent, SocketOptions, UpgradeRefusal, handshake};

/// What one worker thread needs to turn requests into sockets.
pub(super) struct Upgrader<A> {
    pub(super) application: A,
    pub(super) options: Rc<SocketOptions>,
    pub(super) connections: ConnectionLimiter,
}

/// A request that becomes a socket.
pub(super) struct AdmittedRequest<T> {
    admission: T,
    permit: ConnectionPermit,
    client: Option<ClientPrefix>,
    is_deflated: bool,
    /// The response with status 101.
    answer: Bytes,
}

impl<A: Application> Upgrader<A> {
    /// Admits or refuses a request. `peer` is `None` if that address is unknown.
    pub(super) fn admit(
        &self,
        peer: Option<IpAddr>,
        request: &RequestHead<'_>,
    ) -> Result<AdmittedRequest<A::Admission>, UpgradeRefusal> {
        let options = &self.options;
        let key = handshake::verify(request)?;
        let client = peer.map(|peer| ClientPrefix::of(options.trusted_proxies.client(peer, request)));
        let admission = self.application.admit(request, client)?;
        let permit = self.connections.acquire(client, &options.metrics, Instant::now())?;
        let deflate = options.compression.then(|| negotiate_deflate(request)).flatten();
        Ok(AdmittedRequest {
            admission,
            permit,
            client,
            is_deflated: deflate.is_some(),
            answer: answer(key, deflate),
        })
    }

    /// Starts the task of an admitted socket on this worker thread. `unread`: bytes that followed the request.
    pub(super) fn start(&self, request: AdmittedRequest<A::Admission>, stream: TcpStream, unread: Vec<u8>) {
        let AdmittedRequest { admission, permit, client, is_deflated, answer } = request;
        self.options.metrics.connections_opened.inc();
        let frame_reader = FrameReader::new(self.options.inbound, is_deflated);
        let reading = ReadState::new(frame_reader, unread.into());
        let outbox = Outbox::new(stream, reading, is_deflated, client, Rc::clone(&self.options));
        // Hello follows it in the queue, and the task writes both at once.
        outbox.queue_answer(answer);
        let actor = self.application.open(admission, outbox.clone());
        // `inbound` explains why the context's own stream yields nothing. It ends at once, so that the context drops it.
        let empty_payload = empty::<Result<Bytes, PayloadError>>();
        let inbound = EventStream::new(outbox.clone());
        let context = WebsocketContext::with_factory(empty_payload, move |context| {
            <A::Actor as StreamHandler<SocketEvent>>::add_stream(inbound, context);
            actor
        });
        actix_rt::spawn(SocketTask::new(context, outbox, permit));
    }
}

/// The answer to an admitted request (RFC 6455, section 4.2.2). `deflate`: the accepted extension.
fn answer(key: &[u8], deflate: Option<&str>) -> Bytes {
    let accept = ws::hash_key(key);
    let deflate = deflate.map(|deflate| ["sec-websocket-extensions: ", deflate, "\r\n"].concat());
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ",
        &accept[..],
        b"\r\n",
        deflate.unwrap_or_default().as_bytes(),
        b"\r\n",
    ]
    .concat()
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn the_answer_contains_the_accepted_key_and_extension() {
        let plain = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(answer(key, None), format!("{plain}\r\n"));
        let deflated = format!("{plain}sec-websocket-extensions: permessage-deflate\r\n\r\n");
        assert_eq!(answer(key, Some("permessage-deflate")), deflated);
    }
}
