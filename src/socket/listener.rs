//! The public port: accepts connections, and reads and answers one request from each.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;

use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::fn_service;
use socket2::{Domain, Protocol, Socket, Type};

use super::handshake_stream::HandshakeStream;
use super::limits::{ConnectionLimiter, HandshakePermit};
use super::raw_refusal::write_refusal;
use super::upgrade::Upgrader;
use super::{Application, SocketOptions, UpgradeRefusal, deadlines};
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
    // Called once on each worker thread.
    let factory = move || {
        deadlines::start_timer();
        let upgrader = Rc::new(Upgrader {
            application: make_application(),
            options: Rc::new(options.for_thread()),
            connections: connections.clone(),
        });
        fn_service(move |stream| serve_connection(Rc::clone(&upgrader), stream))
    };
    Ok(Server::build()
        .workers(workers)
        .max_concurrent_connections(handshakes)
        .disable_signals()
        .shutdown_timeout(0)
        .listen("gateway", listener, factory)?
        .run())
}

/// Reads the request of a connection and answers it. An admitted connection gets a task of its own.
async fn serve_connection<A: Application>(
    upgrader: Rc<Upgrader<A>>,
    stream: TcpStream,
) -> Result<(), Infallible> {
    let peer = stream.peer_addr().ok().map(|peer| peer.ip());
    let options = &upgrader.options;
    // Released when the connection is answered.
    let _handshake = match begin_handshake(options, &upgrader.connections, peer) {
        Ok(permit) => permit,
        Err(refusal) => {
            write_refusal(&stream, &refusal.into());
            return Ok(());
        }
    };
    let mut handshake = HandshakeStream::new(stream, options.handshake_timeout);
    match handshake.read_head(|request| upgrader.admit(peer, request)).await {
        Some(Ok(request)) => {
            let (stream, unread) = handshake.into_parts();
            upgrader.start(request, stream, unread);
        }
        Some(Err(response)) => {
            if let Some(reason) = response.reason() {
                Metrics::count(&options.metrics.upgrades_refused, reason);
                log::debug!("refused an upgrade: {reason}");
            }
            handshake.refuse(&response).await;
        }
        None => {}
    }
    Ok(())
}

/// Counts one more handshake of the peer, or refuses it. Handshakes of a trusted proxy are not counted: the client's
/// address is in a header that has not been read yet.
fn begin_handshake(
    options: &SocketOptions,
    connections: &ConnectionLimiter,
    peer: Option<IpAddr>,
) -> Result<HandshakePermit, UpgradeRefusal> {
    let peer = peer.filter(|&peer| !options.trusted_proxies.contains(peer));
    connections.begin_handshake(peer, &options.metrics).inspect_err(|refusal| {
        Metrics::count(&options.metrics.upgrades_refused, refusal.reason);
    })
}
