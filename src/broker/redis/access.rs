//! Who we are to Redis, and whom we trust: passwords and certificates, read anew for each link.

use std::path::{Path, PathBuf};

use redis::{ClientTlsConfig, RedisConnectionInfo, TlsCertificates};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::link_error::LinkError;
use crate::settings::{Secret, check_is_file, read_bytes};

/// A PEM file longer than this (in bytes) is surely the wrong file: all authorities of a system take a quarter of it.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// A user with a password. What is absent here may stand in the URL.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user; `None`: Redis' user `default`.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// A file with the password, which goes before `password`.
    pub password_file: Option<PathBuf>,
}

/// PEM files for TLS.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// The authorities to trust; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Our own certificate, with the chain behind it. It counts only together with `key`.
    pub certificate: Option<PathBuf>,
    /// The key of `certificate`.
    pub key: Option<PathBuf>,
}

impl Credentials {
    /// `login` with these credentials. `key` is the setting of the file, for messages. Reads files: it may block.
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
    /// What the files hold now. Reads files: it may block.
    ///
    /// Everything is parsed here, although redis-rs does it again: its errors may repeat lines of a file, and a
    /// file without any certificate would be no error to it.
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
