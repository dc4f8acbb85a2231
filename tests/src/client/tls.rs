//! TLS for clients of the testbed.
//!
//! **Any certificate is accepted**: the testbed's relays sign their own, and what is tested is the
//! relay, not the web's trust. Nothing outside this package may use it.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::target::Endpoint;

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plain,
    /// In clear text first, then `STARTTLS`.
    StartTls(TlsVersion),
    /// TLS from the first byte.
    Implicit(TlsVersion),
}

impl Security {
    /// TLS from the first byte, as chat clients do.
    pub const TLS: Self = Self::Implicit(TlsVersion::Any);
}

/// Which TLS versions the client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 and 1.3.
    Any,
    /// 1.2 alone, which a chatmail relay refuses on IMAPS and SMTPS.
    Only12,
    /// 1.3 alone.
    Only13,
}

impl TlsVersion {
    fn offered(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
        match self {
            Self::Any => &BOTH,
            Self::Only12 => &BOTH[..1],
            Self::Only13 => &BOTH[1..],
        }
    }
}

/// Makes the handshake, offering these protocols (ALPN). The server's name is not sent, since relays on
/// loopback have none.
///
/// # Errors
/// The peer speaks no TLS, or not the version asked for.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    version: TlsVersion,
    protocols: &[&str],
) -> io::Result<TlsStream<S>> {
    let mut config = accepting_anybody(version).map_err(io::Error::other)?;
    config.alpn_protocols = protocols.iter().map(|name| (*name).into()).collect();
    let nameless = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    TlsConnector::from(Arc::new(config))
        .connect(nameless, stream)
        .await
}

/// How many session tickets (RFC 8446, section 4.6.1) a server sends before it has greeted.
///
/// # Errors
/// It is not there, or does not speak TLS 1.3.
pub async fn tickets_before_greeting(endpoint: &Endpoint) -> io::Result<u32> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    let mut stream = handshake(stream, TlsVersion::Only13, &[]).await?;
    stream.read_u8().await?;
    Ok(stream.get_ref().1.tls13_tickets_received())
}

/// A client that takes any certificate.
///
/// # Errors
/// The TLS library lacks the version.
pub(crate) fn accepting_anybody(version: TlsVersion) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(version.offered())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth())
}

/// Accepts whoever holds the key of the certificate that it shows.
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
