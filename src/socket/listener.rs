//! The public port: accepts connections, reads one request from each, and passes the request to the upgrade.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Method, Protocol as Http, Request, Response};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{Service as _, apply_fn_factory, fn_factory, fn_service};
use bytes::Bytes;
use futures_util::future::Either;
use socket2::{Domain, Protocol, Socket, Type};

use super::handshake::{METHOD_NOT_ALLOWED, UPGRADE_REQUIRED};
use super::handshake_stream::HandshakeStream;
use super::limits::{ConnectionLimiter, HandshakePermit};
use super::raw_refusal::write_refusal;
use super::upgrade::{AnsweredFlag, FramedHandshake, response, upgrade};
use super::{Application, SocketOptions, UpgradeRefusal};
use crate::metrics::Metrics;

/// How many connections may wait to be accepted. After a restart all clients reconnect at once. The kernel caps the
/// value at `net.core.somaxconn`.
pub const BACKLOG: i32 = 4_096;

/// Binds a port without accepting connections yet; up to `backlog` connections wait. Port 0 selects a free port.
pub fn bind(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Serves sockets from `listener` on `workers` threads. Each thread calls `make_application` once.
///
/// The server runs until its handle stops it. It ignores signals: the caller handles them.
pub fn serve<A, F>(
    listener: TcpListener,
    workers: usize,
    options: SocketOptions,
    connections: ConnectionLimiter,
    make_application: F,
) -> io::Result<Server>
where
    A: Application,
    F: Fn() -> A + Clone + Send + 'static,
{
    let handshakes = options.max_handshakes.div_ceil(workers.max(1)).max(1);
    let factory = move || {
        let (make_application, options, connections) =
            (make_application.clone(), options.clone(), connections.clone());
        let (accept_options, accept_connections) = (options.clone(), connections.clone());
        let http = HttpService::build()
            .keep_alive(KeepAlive::Disabled)
            // The stream enforces the deadline, because it checks the kernel for unread data first.
            .client_request_timeout(Duration::ZERO)
            .h1_allow_half_closed(false)
            .on_connect_ext(|_, data| {
                data.insert(AnsweredFlag::default());
            })
            .upgrade(fn_factory(move || {
                let (application, options) = (Rc::new(make_application()), Rc::new(options.for_thread()));
                let connections = connections.clone();
                async move {
                    Ok::<_, ()>(fn_service(move |(request, framed): (Request, FramedHandshake)| {
                        upgrade(
                            Rc::clone(&application),
                            Rc::clone(&options),
                            connections.clone(),
                            request,
                            framed,
                        )
                    }))
                }
            }))
            .finish(fn_service(refuse_plain_request));
        apply_fn_factory(http, move |stream: TcpStream, http| {
            let peer = stream.peer_addr().ok();
            match begin_handshake(&accept_options, &accept_connections, peer) {
                Err(refusal) => {
                    write_refusal(&stream, &refusal);
                    Either::Left(ready(Ok(())))
                }
                Ok(handshake) => {
                    let stream = HandshakeStream::new(stream, accept_options.handshake_timeout);
                    let served = http.call((stream, Http::Http1, peer));
                    let metrics = accept_options.metrics.clone();
                    Either::Right(async move {
                        let served = served.await;
                        if let Err(DispatchError::Parse(_)) = served {
                            Metrics::count(&metrics.upgrades_refused, "bad_request");
                        }
                        drop(handshake);
                        served
                    })
                }
            }
        })
    };
    Ok(Server::build()
        .workers(workers)
        .max_concurrent_connections(handshakes)
        .disable_signals()
        .shutdown_timeout(0)
        .listen("gateway", listener, factory)?
        .run())
}

/// Counts one more handshake of the peer, or refuses it. Handshakes of a trusted proxy are not counted: the client's
/// address is in a header that has not been read yet.
fn begin_handshake(
    options: &SocketOptions,
    connections: &ConnectionLimiter,
    peer: Option<SocketAddr>,
) -> Result<HandshakePermit, UpgradeRefusal> {
    let peer = peer.map(|peer| peer.ip()).filter(|&peer| !options.trusted_proxies.contains(peer));
    connections.begin_handshake(peer, &options.metrics).inspect_err(|refusal| {
        Metrics::count(&options.metrics.upgrades_refused, refusal.reason);
    })
}

/// Refuses a request that does not ask for a WebSocket.
async fn refuse_plain_request(request: Request) -> Result<Response<Bytes>, Infallible> {
    if let Some(answered) = request.conn_data::<AnsweredFlag>() {
        answered.set();
    }
    Ok(response(if request.method() == Method::GET { &UPGRADE_REQUIRED } else { &METHOD_NOT_ALLOWED }))
}
