//! TLS settings of connections to peers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Why no connection to a peer could be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of authorities cannot be read.
    #[error(
        "cannot read the certificate authorities in {path}: {source}; install ca-certificates or set \
         mxdeliv_authorities",
        path = path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no certificate in it.
    #[error(
        "{path} holds no certificate authority in PEM; install ca-certificates or set \
         mxdeliv_authorities",
        path = path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The TLS library does not take our settings.
    #[error("TLS cannot be used: {0}")]
    Library(#[from] Error),
}

/// Settings that want a certificate for the host's name, of one of these authorities.
pub(super) fn strict(authorities: &Path) -> Result<ClientConfig, TlsError> {
    let pem = std::fs::read(authorities).map_err(|source| TlsError::Unreadable {
        path: authorities.into(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    // What is no certificate that we can use is left out, as is usual with such collections.
    let certificates = CertificateDer::pem_slice_iter(&pem);
    roots.add_parsable_certificates(certificates.filter_map(usable));
    if roots.is_empty() {
        return Err(TlsError::Empty {
            path: authorities.into(),
        });
    }
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Settings that take any certificate. The connection is encrypted, for whoever answers.
pub(super) fn lax() -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(builder.with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn usable(
    certificate: Result<CertificateDer<'static>, pem::Error>,
) -> Option<CertificateDer<'static>> {
    certificate.ok()
}

/// Takes any certificate of whoever has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
