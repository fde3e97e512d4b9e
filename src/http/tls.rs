//! TLS of the client side: Mozilla's roots, and those in the file that `SSL_CERT_FILE` names.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::base::{Error, Kind, Result};
use crate::sys::env;

/// Returns what connects by TLS. Costs a millisecond: only for those who need it.
pub(crate) fn connector() -> Result<TlsConnector> {
    connector_with(env::var("SSL_CERT_FILE").as_deref().map(Path::new))
}

/// Returns whether a connection failed because what answers does not speak TLS.
pub(crate) fn is_plain(error: &std::io::Error) -> bool {
    let source = error.get_ref();
    let source = source.and_then(|e| e.downcast_ref::<rustls::Error>());
    matches!(source, Some(rustls::Error::InvalidMessage(_)))
}

/// Returns whether a connection failed because the server's certificate is not trusted.
pub(crate) fn is_distrust(error: &std::io::Error) -> bool {
    let source = error.get_ref();
    let source = source.and_then(|e| e.downcast_ref::<rustls::Error>());
    matches!(source, Some(rustls::Error::InvalidCertificate(_)))
}

/// The same with the extra roots of a PEM file.
pub(crate) fn connector_with(extra: Option<&Path>) -> Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = extra {
        let unreadable = |e: &dyn std::error::Error| {
            let message = format!(
                "no usable certificates in `{}` (SSL_CERT_FILE)",
                path.display()
            );
            Error::new(Kind::InvalidConfig, message).caused_by(e)
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))? {
            let certificate = certificate.map_err(|e| unreadable(&e))?;
            // System bundles hold some that are not acceptable; the others still count.
            drop(roots.add(certificate));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal("set up TLS", &e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
