//! The steps to a mail host's port 25: connection, banner, EHLO, STARTTLS, TLS.

use std::sync::Arc;

use chatmail::Domain;
use chatmail::smtp::{ClientName, Extensions, ReplyReader, ServerReply};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::https::version;
use super::{Found, Probe};
use crate::redaction::without_addresses;

/// Takes these steps. `None`: nobody takes them.
pub(super) async fn probe(probe: &Probe<'_>, host: &Domain, port: u16, own: &Domain) -> Option<()> {
    let Some(addresses) = probe.addresses(host).await? else {
        return Some(());
    };
    let connected = probe.connect("smtp-connect", &addresses, port).await?;
    let Some(stream) = connected else {
        return Some(());
    };
    let mut server = Server {
        stream,
        replies: ReplyReader::new(),
        ahead: Vec::new(),
    };
    let banner = probe.step("smtp-banner", host, server.positive(None));
    if banner.await?.is_none() {
        return Some(());
    }
    let hello = format!("EHLO {}\r\n", ClientName::from(own).as_str());
    let hello = probe.step("smtp-ehlo", host, server.positive(Some(&hello)));
    let Some(hello) = hello.await? else {
        return Some(());
    };
    let starttls = probe.step("smtp-starttls", host, server.starttls(&hello));
    if starttls.await?.is_some() {
        probe
            .step("smtp-tls", host, tls(probe, host, server))
            .await?;
    }
    Some(())
}

struct Server {
    stream: TcpStream,
    replies: ReplyReader,
    /// What came behind a reply.
    ahead: Vec<u8>,
}

impl Server {
    /// The reply to a command, or the banner; anything but 2yz has failed.
    async fn positive(&mut self, command: Option<&str>) -> Found<ServerReply> {
        let reply = self.reply(command).await?;
        let text = without_addresses(&format!("{} {}", reply.code, reply.lines.join(", ")));
        match reply.is_positive() {
            true => Ok((reply, text)),
            false => Err(text),
        }
    }

    async fn starttls(&mut self, hello: &ServerReply) -> Found<()> {
        if !Extensions::from_reply(hello).starttls {
            return Err("not offered".to_owned());
        }
        let (_, text) = self.positive(Some("STARTTLS\r\n")).await?;
        match self.ahead.is_empty() {
            true => Ok(((), text)),
            // RFC 3207 section 4.2; CVE-2011-0411.
            false => Err("something came behind the reply, in clear".to_owned()),
        }
    }

    async fn reply(&mut self, command: Option<&str>) -> Result<ServerReply, String> {
        if let Some(command) = command {
            let sent = self.stream.write_all(command.as_bytes()).await;
            sent.map_err(|error| error.to_string())?;
        }
        loop {
            let mut input = self.ahead.as_slice();
            let reply = self.replies.take(&mut input);
            let taken = self.ahead.len() - input.len();
            self.ahead.drain(..taken);
            if let Some(reply) = reply {
                return reply.map_err(|error| error.to_string());
            }
            let mut octets = [0; 2048];
            match self.stream.read(&mut octets).await {
                Ok(0) => return Err("the connection was closed".to_owned()),
                Ok(length) => self.ahead.extend(octets.iter().take(length)),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// With any certificate, as Postfix sends mail.
async fn tls(probe: &Probe<'_>, host: &Domain, server: Server) -> Found<()> {
    let name = match host.ip() {
        Some(address) => ServerName::from(address),
        None => {
            let name = ServerName::try_from(host.to_string());
            name.map_err(|error| error.to_string())?
        }
    };
    let mut settings = (*probe.routes.tls(true)).clone();
    settings.alpn_protocols.clear();
    let connector = TlsConnector::from(Arc::new(settings));
    let stream = connector.connect(name, server.stream).await;
    let mut stream = stream.map_err(|error| error.to_string())?;
    let version = version(&stream);
    // Politeness; what becomes of it does not matter.
    let _ = stream.write_all(b"QUIT\r\n").await;
    let _ = stream.shutdown().await;
    Ok(((), format!("{version}, any certificate will do for SMTP")))
}
