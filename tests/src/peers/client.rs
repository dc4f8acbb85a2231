//! How a played peer posts a message.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::client::TlsVersion;
use crate::client::tls::accepting_anybody;

/// A message on its way from one domain to another.
pub struct Letter<'a> {
    /// The envelope sender; empty for the null sender.
    pub sender: &'a str,
    /// The recipients.
    pub recipients: &'a [&'a str],
    /// The message.
    pub message: &'a [u8],
}

/// Whose certificates a peer takes.
pub(super) enum Trust<'a> {
    /// Those of these authorities (a PEM file), for the right name.
    Authorities(&'a Path),
    /// All.
    Everybody,
}

/// Posts a message from an address to a host: the status, and what the host says.
///
/// # Errors
/// There is no connection, no TLS, or no answer.
pub(super) async fn post(
    from: IpAddr,
    to: SocketAddr,
    host: &str,
    trust: Trust<'_>,
    letter: &Letter<'_>,
) -> anyhow::Result<(u16, String)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(to).await?;
    let config = match trust {
        Trust::Everybody => accepting_anybody(TlsVersion::Any)?,
        Trust::Authorities(file) => strict(file)?,
    };
    let name = ServerName::try_from(host.to_owned())?;
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let mut head = format!(
        "POST /mxdeliv HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\
         X-Mail-From: {}\r\n",
        letter.message.len(),
        letter.sender
    );
    for recipient in letter.recipients {
        head.push_str(&format!("X-Mail-To: {recipient}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(letter.message).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    let status = head.split(' ').nth(1).context("no status")?;
    ensure!(head.starts_with("HTTP/1.1 "), "{head}");
    Ok((status.parse()?, body.to_owned()))
}

fn strict(authorities: &Path) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
