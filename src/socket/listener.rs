//! The public port: accepts connections, reads one request from each, and hands it to the upgrade.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use actix_http::{HttpService, KeepAlive, Method, Request, Response};
use actix_server::Server;
use actix_service::{fn_factory, fn_service};
use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

use super::limits::Connections;
use super::upgrade::{Answered, Handover, METHOD_NOT_ALLOWED, UPGRADE_REQUIRED, response, upgrade};
use super::{Application, SocketOptions};

/// How many connections may wait to be accepted. After a restart of everything they come in thousands; the
/// kernel caps this at its own `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Binds a port without accepting from it yet. Port 0 takes a free one.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves sockets from `listener` on `workers` threads. `make` is called once on each of them.
///
/// The server is started by this call and ends when it is stopped by its handle; signals are the caller's.
pub fn serve<A, F>(
    listener: TcpListener,
    workers: usize,
    options: SocketOptions,
    connections: Connections,
    make: F,
) -> io::Result<Server>
where
    A: Application,
    F: Fn() -> A + Clone + Send + 'static,
{
    let handshakes = options.handshakes.div_ceil(workers.max(1)).max(1);
    let factory = move || {
        let (make, options, connections) = (make.clone(), options.clone(), connections.clone());
        HttpService::build()
            .keep_alive(KeepAlive::Disabled)
            .client_request_timeout(options.handshake_timeout)
            .h1_allow_half_closed(false)
            .tcp_nodelay(true)
            .on_connect_ext(|_, data| {
                data.insert(Answered::default());
            })
            .upgrade(fn_factory(move || {
                let (application, options) = (Rc::new(make()), Rc::new(options.clone()));
                let connections = connections.clone();
                async move {
                    Ok::<_, ()>(fn_service(move |(request, handover): (Request, Handover)| {
                        upgrade(
                            Rc::clone(&application),
                            Rc::clone(&options),
                            connections.clone(),
                            request,
                            handover,
                        )
                    }))
                }
            }))
            .finish(fn_service(plain))
            .tcp()
    };
    Ok(Server::build()
        .workers(workers)
        .max_concurrent_connections(handshakes)
        .disable_signals()
        .shutdown_timeout(0)
        .listen("gateway", listener, factory)?
        .run())
}

/// A request that does not ask for a WebSocket.
async fn plain(request: Request) -> Result<Response<Bytes>, Infallible> {
    if let Some(answered) = request.conn_data::<Answered>() {
        answered.set();
    }
    Ok(response(if request.method() == Method::GET { &UPGRADE_REQUIRED } else { &METHOD_NOT_ALLOWED }))
}
