//! Connects to the server: TCP, TLS or a unix socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::select_ok;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::SockRef;
use redis::{ConnectionAddr, ConnectionInfo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

/// A connection to the server.
pub(super) type ServerStream = Box<dyn ByteStream + Send>;

/// Reads and writes.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream for S {}

/// Connects. A host name with several addresses is tried at all of them at once, as redis-rs does it.
pub(super) async fn connect(
    info: &ConnectionInfo,
    tls: Option<&Arc<ClientConfig>>,
) -> io::Result<ServerStream> {
    let settings = info.tcp_settings();
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => {
            let attempts = lookup_host((host.as_str(), *port)).await?;
            let attempts: Vec<_> = attempts.map(|addr| Box::pin(connect_tcp(addr, settings))).collect();
            if attempts.is_empty() {
                return Err(no_address());
            }
            Ok(Box::new(select_ok(attempts).await?.0))
        }
        ConnectionAddr::TcpTls { host, port, insecure: false, .. } => {
            let config = tls.ok_or_else(|| io::Error::other("the certificates are missing"))?;
            let connector = TlsConnector::from(Arc::clone(config));
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let attempts = lookup_host((host.as_str(), *port)).await?;
            let attempts: Vec<_> = attempts
                .map(|addr| {
                    let (connector, name) = (connector.clone(), name.clone());
                    Box::pin(async move { connector.connect(name, connect_tcp(addr, settings).await?).await })
                })
                .collect();
            if attempts.is_empty() {
                return Err(no_address());
            }
            Ok(Box::new(select_ok(attempts).await?.0))
        }
        ConnectionAddr::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        _ => Err(io::Error::other("this kind of address is not supported")),
    }
}

async fn connect_tcp(address: SocketAddr, settings: &TcpSettings) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(settings.nodelay())?;
    let socket = SockRef::from(&stream);
    if let Some(keepalive) = settings.keepalive() {
        socket.set_tcp_keepalive(keepalive)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(settings.user_timeout())?;
    Ok(stream)
}

fn no_address() -> io::Error {
    io::Error::other("the host has no address")
}
