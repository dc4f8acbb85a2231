//! TLS to the database.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::SetupError;

/// Accepts a server whose certificate is for its name and from one of these authorities (a PEM file).
pub(super) fn connector(authorities: &Path) -> Result<MakeRustlsConnect, SetupError> {
    let pem = std::fs::read(authorities).map_err(|source| SetupError::Authorities {
        path: authorities.into(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    // What is no certificate that we can use is left out, as is usual with such collections.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if roots.is_empty() {
        let path = authorities.into();
        return Err(SetupError::NoAuthorities { path });
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
