//! Turns an upgrade request into a socket, or refuses it.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use actix::StreamHandler;
use actix_codec::Framed;
use actix_http::body::BodySize;
use actix_http::error::PayloadError;
use actix_http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS};
use actix_http::{ConnectionType, Request, Response, h1, ws};
use actix_rt::time::timeout;
use actix_web_actors::ws::WebsocketContext;
use bytes::Bytes;
use futures_util::SinkExt as _;
use futures_util::stream::empty;

use super::client_prefix::ClientPrefix;
use super::extensions::negotiate_deflate;
use super::frame_reader::FrameReader;
use super::handshake_stream::HandshakeStream;
use super::inbound::EventStream;
use super::limits::{ConnectionLimiter, ConnectionPermit};
use super::outbox::Outbox;
use super::read_state::ReadState;
use super::task::SocketTask;
use super::{Application, SocketEvent, SocketOptions, UpgradeRefusal, deadlines, handshake};
use crate::metrics::Metrics;

/// A connection with its HTTP codec, as the HTTP dispatcher passes it to the upgrade.
pub type FramedHandshake = Framed<HandshakeStream, h1::Codec>;

/// Whether a request of this connection has been answered. Later requests of the connection are ignored. The HTTP
/// dispatcher would otherwise serve pipelined requests.
#[derive(Debug, Default)]
pub(super) struct AnsweredFlag(Cell<bool>);

impl AnsweredFlag {
    pub(super) fn set(&self) {
        self.0.set(true);
    }

    fn is_set(&self) -> bool {
        self.0.get()
    }
}

/// Answers one upgrade request. An admitted socket gets its own task, so that the HTTP dispatcher and its buffers (16
/// KiB) are freed.
pub(super) async fn upgrade<A: Application>(
    application: Rc<A>,
    options: Rc<SocketOptions>,
    connections: ConnectionLimiter,
    request: Request,
    mut framed: FramedHandshake,
) -> Result<(), Infallible> {
    let deadline = options.handshake_timeout;
    if request.conn_data::<AnsweredFlag>().is_some_and(AnsweredFlag::is_set) {
        // The earlier answer closes the connection, but it may not have been written yet.
        let _ = timeout(deadline, framed.flush()).await;
        return Ok(());
    }
    match admit(&*application, &options, &connections, &request) {
        Err(refusal) => {
            Metrics::count(&options.metrics.upgrades_refused, refusal.reason);
            let answered = timeout(deadline, refuse(framed, &refusal)).await;
            log::debug!(
                "refused an upgrade: {} (answered: {})",
                refusal.reason,
                matches!(answered, Ok(Ok(())))
            );
        }
        Ok((admission, permit, client)) => {
            let deflate = options.compression.then(|| negotiate_deflate(request.head().headers())).flatten();
            let mut answer = ws::handshake_response(request.head());
            if let Some(deflate) = deflate {
                answer.insert_header((SEC_WEBSOCKET_EXTENSIONS, deflate));
            }
            let answer = answer.finish().drop_body();
            let answer = h1::Message::Item((answer, BodySize::None));
            if let Ok(Ok(())) = timeout(deadline, framed.send(answer)).await {
                options.metrics.connections_opened.inc();
                start(&*application, options, (permit, client), admission, deflate.is_some(), framed);
            }
        }
    }
    Ok(())
}

fn admit<A: Application>(
    application: &A,
    options: &SocketOptions,
    connections: &ConnectionLimiter,
    request: &Request,
) -> Result<(A::Admission, ConnectionPermit, Option<ClientPrefix>), UpgradeRefusal> {
    handshake::verify(request.head())?;
    let headers = &request.head().headers;
    let client = request.peer_addr().map(|peer| options.trusted_proxies.client(peer.ip(), headers));
    let client = client.map(ClientPrefix::of);
    let admission = application.admit(request.head(), client)?;
    let permit = connections.acquire(client, &options.metrics, Instant::now())?;
    Ok((admission, permit, client))
}

/// Starts the task of an admitted socket on this worker thread.
fn start<A: Application>(
    application: &A,
    options: Rc<SocketOptions>,
    (permit, client): (ConnectionPermit, Option<ClientPrefix>),
    admission: A::Admission,
    is_deflated: bool,
    framed: FramedHandshake,
) {
    let parts = framed.into_parts();
    let (stream, unread) = parts.io.into_parts();
    // Copied, because the dispatcher's buffer keeps 8 KiB even for a few bytes.
    let initial = [&parts.read_buf[..], &unread].concat().into();
    let reading = ReadState::new(FrameReader::new(options.inbound, is_deflated), initial);
    let outbox = Outbox::new(stream, reading, is_deflated, client, options);
    let actor = application.open(admission, outbox.clone());
    // `inbound` explains why the context's own stream yields nothing. It ends at once, so that the context drops it.
    let empty_payload = empty::<Result<Bytes, PayloadError>>();
    deadlines::start_timer();
    let inbound = EventStream::new(outbox.clone());
    let context = WebsocketContext::with_factory(empty_payload, move |context| {
        <A::Actor as StreamHandler<SocketEvent>>::add_stream(inbound, context);
        actor
    });
    actix_rt::spawn(SocketTask::new(context, outbox, permit));
}

/// The HTTP response of a refusal.
pub(super) fn response(refusal: &UpgradeRefusal) -> Response<Bytes> {
    let body = Bytes::from_static(refusal.reason.as_bytes());
    let mut response = Response::with_body(refusal.status, body);
    // Not set as a header, because the codec would still write `connection: upgrade` after an upgrade request.
    response.head_mut().set_connection_type(ConnectionType::Close);
    let headers = response.headers_mut();
    for (name, value) in refusal.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn refuse(mut framed: FramedHandshake, refusal: &UpgradeRefusal) -> io::Result<()> {
    let body = Bytes::from_static(refusal.reason.as_bytes());
    let head = response(refusal).drop_body();
    framed.send(h1::Message::Item((head, BodySize::Sized(body.len() as u64)))).await?;
    framed.send(h1::Message::Chunk(Some(body))).await
}
