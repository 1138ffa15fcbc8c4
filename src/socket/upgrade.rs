//! Turns a request into a socket or an event stream, or refuses it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use actix::StreamHandler;
use actix_http::error::PayloadError;
use actix_http::ws;
use actix_rt::net::TcpStream;
use actix_web_actors::ws::{Message, WebsocketContext};
use bytes::Bytes;
use futures_util::stream::empty;
#[cfg(target_os = "linux")]
use socket2::SockRef;

use super::client_prefix::ClientPrefix;
use super::extensions::negotiate_deflate;
use super::frame_reader::FrameReader;
use super::handshake::METHOD_NOT_ALLOWED;
use super::http_response::{FinalResponse, PageOrigin};
use super::inbound::SocketEvents;
use super::limits::{ConnectionLimiter, ConnectionPermit};
use super::outbox::Outbox;
use super::read_state::{InboundEnd, ReadState};
use super::request::{BAD_REQUEST, RequestHead};
use super::task::SocketTask;
use super::{Application, EVENTS_PATH, SocketEvent, SocketOptions, UpgradeRefusal, handshake};
use protocol::Encoding;
use protocol::close::CloseCode;

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
    opening: Opening,
}

/// What a request opens.
enum Opening {
    WebSocket {
        is_deflated: bool,
        /// The response with status 101.
        answer: Bytes,
    },
    EventStream {
        origin: PageOrigin,
        /// The message that the actor receives first.
        message: String,
    },
}

impl<A: Application> Upgrader<A> {
    /// Admits or refuses a request. `peer` is `None` if that address is unknown.
    pub(super) fn admit(
        &self,
        peer: Option<IpAddr>,
        request: &RequestHead<'_>,
    ) -> Result<AdmittedRequest<A::Admission>, FinalResponse> {
        if request.path() != EVENTS_PATH {
            return Ok(self.admit_socket(peer, request)?);
        }
        if request.method() == "OPTIONS" && !request.has_body() {
            return Err(FinalResponse::Preflight(PageOrigin::of(request)));
        }
        self.admit_event_stream(peer, request)
            .map_err(|refusal| FinalResponse::EventsRefused(refusal, PageOrigin::of(request)))
    }

    fn admit_event_stream(
        &self,
        peer: Option<IpAddr>,
        request: &RequestHead<'_>,
    ) -> Result<AdmittedRequest<A::Admission>, UpgradeRefusal> {
        if request.method() != "GET" {
            return Err(METHOD_NOT_ALLOWED);
        }
        if request.has_body() {
            return Err(BAD_REQUEST);
        }
        self.admit_client(peer, request, || {
            let message = self.application.first_message(request)?;
            Ok(Opening::EventStream { origin: PageOrigin::of(request), message })
        })
    }

    fn admit_socket(
        &self,
        peer: Option<IpAddr>,
        request: &RequestHead<'_>,
    ) -> Result<AdmittedRequest<A::Admission>, UpgradeRefusal> {
        let key = handshake::verify(request)?;
        self.admit_client(peer, request, || {
            let deflate = self.options.compression.then(|| negotiate_deflate(request)).flatten();
            Ok(Opening::WebSocket { is_deflated: deflate.is_some(), answer: answer(key, deflate) })
        })
    }

    /// Admits or refuses the client of a valid request, and then decides what the request opens.
    fn admit_client(
        &self,
        peer: Option<IpAddr>,
        request: &RequestHead<'_>,
        open: impl FnOnce() -> Result<Opening, UpgradeRefusal>,
    ) -> Result<AdmittedRequest<A::Admission>, UpgradeRefusal> {
        let options = &self.options;
        let client = peer.map(|peer| ClientPrefix::of(options.trusted_proxies.client(peer, request)));
        let admission = self.application.admit(request, client)?;
        let permit = self.connections.acquire(client, &options.metrics, Instant::now())?;
        Ok(AdmittedRequest { admission, permit, client, opening: open()? })
    }

    /// Starts the task of an admitted socket on this worker thread. `unread`: bytes that followed the request.
    pub(super) fn start(&self, request: AdmittedRequest<A::Admission>, stream: TcpStream, unread: Vec<u8>) {
        let AdmittedRequest { admission, permit, client, opening } = request;
        self.options.metrics.connections_opened.inc();
        let outbox = match opening {
            Opening::WebSocket { is_deflated, answer } => {
                self.open_socket(stream, client, is_deflated, answer, unread)
            }
            Opening::EventStream { origin, message } => {
                self.open_event_stream(stream, client, origin, message, &unread)
            }
        };
        let actor = self.application.open(admission, outbox.clone());
        // `inbound` explains why the context's own stream yields nothing. It ends at once, so that the context drops it.
        let empty_payload = empty::<Result<Bytes, PayloadError>>();
        let inbound = SocketEvents::new(outbox.clone());
        let context = WebsocketContext::with_factory(empty_payload, move |context| {
            <A::Actor as StreamHandler<SocketEvent>>::add_stream(inbound, context);
            actor
        });
        actix_rt::spawn(SocketTask::new(context, outbox, permit));
    }

    fn open_socket(
        &self,
        stream: TcpStream,
        client: Option<ClientPrefix>,
        is_deflated: bool,
        answer: Bytes,
        unread: Vec<u8>,
    ) -> Outbox {
        let frame_reader = FrameReader::new(self.options.inbound, is_deflated);
        let reading = ReadState::new(frame_reader, unread.into());
        let encoding = if is_deflated { Encoding::Deflated } else { Encoding::Plain };
        let outbox = Outbox::new(stream, reading, encoding, client, Rc::clone(&self.options));
        // Hello follows it in the queue, and the task writes both at once.
        outbox.queue_answer(answer);
        outbox
    }

    fn open_event_stream(
        &self,
        stream: TcpStream,
        client: Option<ClientPrefix>,
        origin: PageOrigin,
        message: String,
        unread: &[u8],
    ) -> Outbox {
        // The client never sends anything, so only the kernel notices that it is gone: nothing acknowledges the heartbeats.
        // A client that does not read is closed earlier, by `write_timeout`.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(2 * self.options.write_timeout));
        let frame_reader = FrameReader::new(self.options.inbound, false);
        let end = (!unread.is_empty()).then_some(InboundEnd::Violation(CloseCode::ProtocolError));
        let reading = ReadState::of_event_stream(frame_reader, Message::Text(message.into()), end);
        let outbox = Outbox::new(stream, reading, Encoding::EventStream, client, Rc::clone(&self.options));
        outbox.begin_event_stream(origin);
        outbox
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
