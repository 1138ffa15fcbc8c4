//! The TLS configuration of the gateway's own clients: HTTPS, and the subscriber of Redis.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// A certificate with its chain, and its key.
pub(crate) type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A configuration that trusts `roots` and presents `identity`, if there is one.
///
/// # Errors
/// The build supports no version of TLS, or the key does not belong to the certificate.
pub(crate) fn client_config(
    roots: RootCertStore,
    identity: Option<ClientCertificate>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The certificate with its chain, and its key, of two PEM files.
///
/// # Errors
/// One of them is not PEM.
pub(crate) fn identity_in(certificate: &[u8], key: &[u8]) -> Result<ClientCertificate, rustls::Error> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>();
    let invalid = |error: rustls::pki_types::pem::Error| rustls::Error::General(error.to_string());
    Ok((chain.map_err(invalid)?, PrivateKeyDer::from_pem_slice(key).map_err(invalid)?))
}

/// The authorities in `pem`; `None`: it has none, or one that is not valid.
pub(crate) fn roots_in(pem: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

/// The authorities of the system; `None`: it has none.
pub(crate) fn roots_of_system() -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // A system may have certificates that rustls does not support; the others are used.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    (!roots.is_empty()).then_some(roots)
}
