//! Which certificate authorities are trusted.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::settings::{check_is_file, one_line, read_bytes};
use crate::tls;

/// The maximum length of a file with certificate authorities, in bytes.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Why the certificate authorities cannot be used. The sentence follows the name of the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TlsError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable { path: String, reason: String },
    /// The file has no certificate.
    #[error("{path} has no valid certificate in PEM")]
    NoCertificate { path: String },
    /// The system has no certificate authorities.
    #[error("must be set, because this system has no certificate authorities")]
    NoneInSystem,
    /// The cryptography of this build is incomplete.
    #[error("cannot be used: the cryptography of this build supports no version of TLS")]
    Unsupported,
}

/// The trusted certificate authorities. Clones share them and the TLS sessions, which make later handshakes short.
#[derive(Clone)]
pub(crate) struct TlsTrust(TlsConnector);

impl TlsTrust {
    /// Loads the authorities in `ca_file`, or those of the system.
    ///
    /// # Errors
    /// There is no authority, or the file cannot be read.
    pub(crate) fn load(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let roots = match ca_file {
            Some(path) => roots_in(path)?,
            None => tls::roots_of_system().ok_or(TlsError::NoneInSystem)?,
        };
        let mut config = tls::client_config(roots, None).map_err(|_| TlsError::Unsupported)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Completes the handshake with the server and verifies that its certificate is for `host`.
    pub(super) async fn connect(self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

fn roots_in(path: &Path) -> Result<RootCertStore, TlsError> {
    let read = check_is_file(path).and_then(|()| read_bytes(path, MAX_PEM_BYTES));
    let path = one_line(path.display());
    let pem = read.map_err(|reason| TlsError::Unreadable { path: path.clone(), reason })?;
    tls::roots_in(&pem).ok_or(TlsError::NoCertificate { path })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let error = || TlsTrust::load(Some(&file)).map(drop).unwrap_err().to_string();
        assert!(error().contains("cannot be read: No such file"), "{}", error());
        for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            fs::write(&file, text).unwrap();
            assert!(error().ends_with("has no valid certificate in PEM"), "{}", error());
        }
    }
}
