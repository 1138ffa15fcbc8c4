//! Credentials and certificates for Redis, read again for each link.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{ClientTlsConfig, RedisConnectionInfo, TlsCertificates};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::link_error::LinkError;
use crate::settings::{Secret, check_is_file, one_line, read_bytes};
use crate::tls;

/// The most bytes of a PEM file. A longer one is the wrong file: all authorities of a system take a quarter of this.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// A user and a password. The settings allow one source of the password: the URL, `password` or `password_file`
/// (`settings::validate::broker`), so their order does not matter.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user; `None`: Redis' user `default`.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// A file with the password.
    pub password_file: Option<PathBuf>,
}

/// PEM files for TLS.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// The authorities to trust; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The gateway's own certificate with its chain. Used only together with `key`.
    pub certificate: Option<PathBuf>,
    /// The key of `certificate`.
    pub key: Option<PathBuf>,
}

impl Credentials {
    /// Adds these credentials to `login`. `key` names the setting of the file in errors. Reads a file, so it may block.
    pub(super) fn apply_to(
        &self,
        login: RedisConnectionInfo,
        key: &'static str,
    ) -> Result<RedisConnectionInfo, LinkError> {
        let login = match &self.username {
            Some(username) => login.set_username(username),
            None => login,
        };
        let password = match &self.password_file {
            Some(path) => Some(Secret::read_file(path).map_err(|reason| unusable(key, path, reason))?),
            None => self.password.clone(),
        };
        Ok(match password {
            Some(password) => login.set_password(password.expose()),
            None => login,
        })
    }
}

impl TlsFiles {
    /// The current content of the files. Reads files, so it may block.
    ///
    /// The files are parsed here, although redis-rs parses them again: its errors may repeat lines of a file, and it
    /// accepts a file without a certificate.
    pub(super) fn read(&self) -> Result<TlsCertificates, LinkError> {
        let root_cert = match &self.ca {
            Some(path) => Some(read_certificates("broker.tls_ca_file", path)?),
            None => None,
        };
        let client_tls = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(ClientTlsConfig {
                client_cert: read_certificates("broker.tls_cert_file", certificate)?,
                client_key: read_key("broker.tls_key_file", key)?,
            }),
            _ => None,
        };
        Ok(TlsCertificates { client_tls, root_cert })
    }

    /// The configuration of the subscriber's connection, with what [`read`](Self::read) returned. redis-rs makes its
    /// own.
    pub(super) fn client_config(&self, read: &TlsCertificates) -> Result<Arc<ClientConfig>, LinkError> {
        let roots = match (&self.ca, &read.root_cert) {
            (Some(path), Some(pem)) => tls::roots_in(pem).ok_or_else(|| {
                unusable("broker.tls_ca_file", path, "it holds no valid certificate of an authority")
            })?,
            _ => tls::roots_of_system()
                .ok_or_else(|| LinkError::Connect("this system has no certificate authorities".into()))?,
        };
        let config = match (&self.key, &read.client_tls) {
            (Some(path), Some(ClientTlsConfig { client_cert, client_key })) => {
                tls::identity_in(client_cert, client_key)
                    .and_then(|identity| tls::client_config(roots, Some(identity)))
                    .map_err(|error| unusable("broker.tls_key_file", path, one_line(error)))?
            }
            _ => tls::client_config(roots, None).map_err(|error| LinkError::Connect(one_line(error)))?,
        };
        Ok(Arc::new(config))
    }
}

fn read_certificates(key: &'static str, path: &Path) -> Result<Vec<u8>, LinkError> {
    let pem = read_pem(key, path)?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate.map_err(|_| unusable(key, path, "it is not PEM"))?;
        count += 1;
    }
    if count == 0 { Err(unusable(key, path, "it holds no certificate in PEM")) } else { Ok(pem) }
}

fn read_key(key: &'static str, path: &Path) -> Result<Vec<u8>, LinkError> {
    let pem = read_pem(key, path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable(key, path, "it holds no private key in PEM"))?;
    Ok(pem)
}

fn read_pem(key: &'static str, path: &Path) -> Result<Vec<u8>, LinkError> {
    let read = check_is_file(path).and_then(|()| read_bytes(path, MAX_PEM_BYTES));
    read.map_err(|reason| unusable(key, path, reason))
}

fn unusable(key: &'static str, path: &Path, reason: impl Into<String>) -> LinkError {
    LinkError::File { key, path: path.to_owned(), reason: reason.into() }
}
