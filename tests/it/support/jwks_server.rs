//! A server with a key set, over HTTPS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificates::Authority;

/// A server on a free port; its thread ends with the process.
pub(crate) struct JwksServer {
    address: SocketAddr,
    /// The authority of its certificate, in PEM.
    pub(crate) authority: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The response to every request. `None`: requests wait.
    response: Mutex<Option<String>>,
    responds: Condvar,
    requests: AtomicUsize,
}

impl JwksServer {
    pub(crate) fn start() -> Self {
        let authority = Authority::new();
        let issued = authority.issue();
        let certificates = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (served, config) = (Arc::clone(&shared), Arc::new(config));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, config) = (Arc::clone(&served), Arc::clone(&config));
                thread::spawn(move || serve(stream, &shared, config));
            }
        });
        Self { address, authority: authority.pem, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/jwks?a=b", self.address)
    }

    /// Answers from now on with this key set.
    pub(crate) fn publish(&self, key_set: &str) {
        self.respond(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{key_set}",
            key_set.len()
        ));
    }

    /// Answers from now on, and the requests that wait, with these bytes.
    pub(crate) fn respond(&self, bytes: &str) {
        *self.shared.response.lock().unwrap() = Some(bytes.to_owned());
        self.shared.responds.notify_all();
    }

    /// Lets later requests wait.
    pub(crate) fn pause(&self) {
        *self.shared.response.lock().unwrap() = None;
    }

    /// The number of requests that arrived.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, shared: &Shared, config: Arc<ServerConfig>) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part) {
            // The client does not trust the certificate, or has gone.
            Ok(0) | Err(_) => return,
            Ok(length) => head.extend_from_slice(&part[..length]),
        }
    }
    assert!(head.starts_with(b"GET /jwks?a=b HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&head));
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let mut response = shared.response.lock().unwrap();
    while response.is_none() {
        response = shared.responds.wait(response).unwrap();
    }
    let bytes = response.clone().unwrap();
    drop(response);
    // A client that has read enough closes the connection.
    let _ = stream.write_all(bytes.as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}
