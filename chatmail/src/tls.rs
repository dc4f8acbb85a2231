//! TLS of connections that we open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Why no server could be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of authorities cannot be read.
    #[error(
        "cannot read the certificate authorities in {path}: {source}; install ca-certificates or set {key}",
        path = path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The key of `chatmail.ini` that names it.
        key: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// There is no certificate in it.
    #[error(
        "{path} holds no certificate authority in PEM; install ca-certificates or set {key}",
        path = path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// The key of `chatmail.ini` that names it.
        key: &'static str,
    },
    /// The TLS library does not take our settings.
    #[error("TLS cannot be used: {0}")]
    Library(#[from] rustls::Error),
}

/// Settings that want a certificate for the server's name, of one of the authorities in a file (PEM) that this key
/// of `chatmail.ini` names.
///
/// # Errors
/// There is none in it, or the TLS library takes no such settings.
pub fn client(authorities: &Path, key: &'static str) -> Result<ClientConfig, TlsError> {
    let path = || authorities.to_path_buf();
    let pem = std::fs::read(authorities).map_err(|source| TlsError::Unreadable {
        path: path(),
        key,
        source,
    })?;
    let mut roots = RootCertStore::empty();
    // What is no certificate that we can use is left out, as is usual with such collections.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if roots.is_empty() {
        return Err(TlsError::Empty { path: path(), key });
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
