//! The steps to an endpoint: address, connection, TLS, and what it says to a GET.

use std::io;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Found, Probe};
use crate::routes::{Endpoint, PATH};

/// How much of an answer is read, in octets.
const ANSWER_MAX: u64 = 16 << 10;

/// Takes these steps. `None`: nobody takes them.
pub(super) async fn probe(probe: &Probe<'_>, endpoint: &Endpoint) -> Option<()> {
    let Some(addresses) = probe.addresses(&endpoint.host).await? else {
        return Some(());
    };
    let connected = probe.connect("connect", &addresses, endpoint.port).await?;
    let Some(stream) = connected else {
        return Some(());
    };
    let peer = stream.peer_addr().map(|address| address.ip());
    let greeted = probe.step("tls", endpoint, tls(probe, endpoint, stream, endpoint.lax));
    let stream = match (greeted.await?, peer) {
        (Some(stream), _) => Some(stream),
        (None, Ok(address)) => again_without_names(probe, endpoint, address).await,
        (None, Err(_)) => None,
    };
    if let Some(stream) = stream {
        probe.step("http", endpoint, get(endpoint, stream)).await?;
    }
    Some(())
}

/// A connection with any certificate, which mail would not take: only to see what is behind it.
async fn again_without_names(
    probe: &Probe<'_>,
    endpoint: &Endpoint,
    address: std::net::IpAddr,
) -> Option<TlsStream<TcpStream>> {
    let again = async {
        let address = (address, endpoint.port).into();
        let stream = probe.open(address).await.ok()?;
        tls(probe, endpoint, stream, true).await.ok()
    };
    let again = tokio::time::timeout(super::DEADLINE, again).await.ok()?;
    again.map(|(stream, _)| stream)
}

async fn tls(
    probe: &Probe<'_>,
    endpoint: &Endpoint,
    stream: TcpStream,
    lax: bool,
) -> Found<TlsStream<TcpStream>> {
    let mut settings = (*probe.routes.tls(lax)).clone();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(endpoint.server_name()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(settings));
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let certificate = match lax {
        true => "any certificate will do here",
        false => "the certificate is valid",
    };
    let detail = format!("{}, {certificate}", version(&stream));
    Ok((stream, detail))
}

/// TLS's version, as people write it.
pub(super) fn version<T>(stream: &TlsStream<T>) -> String {
    let version = stream.get_ref().1.protocol_version();
    let version = version.and_then(|version| version.as_str());
    version.unwrap_or("TLS").replace('_', ".")
}

async fn get(endpoint: &Endpoint, mut stream: TlsStream<TcpStream>) -> Found<()> {
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n");
    let answer = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        // Up to the end of the status line, which is all that is shown.
        while !answer.contains(&b'\n') && (answer.len() as u64) < ANSWER_MAX {
            if stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(answer)
    };
    let answer = answer.await.map_err(|error| error.to_string())?;
    match status(&answer) {
        Some(405) => Ok(((), "405: it takes POST, as mxdeliv does".to_owned())),
        Some(404) => Err("404: it does not speak mxdeliv".to_owned()),
        Some(status @ 200..300) => Err(format!("{status}: something else is served there")),
        Some(status) => Err(format!("{status}, and not the 405 of mxdeliv")),
        None => Err("it does not speak HTTP/1.1".to_owned()),
    }
}

/// RFC 9112 section 4.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|&octet| octet == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (_, digits) = rest.split_first_chunk::<2>()?;
    let (digits, after) = digits.split_first_chunk::<3>()?;
    let ends = matches!(after.first(), None | Some(b' ' | b'\r'));
    let digits = str::from_utf8(digits).ok()?;
    digits.parse().ok().filter(|_| ends)
}

#[cfg(test)]
mod tests {
    use super::status;
    use rstest::rstest;

    #[rstest]
    #[case("HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\n\r\n", Some(405))]
    #[case("HTTP/1.0 200\r\n", Some(200))]
    #[case("HTTP/1.1 4055 x\r\n", None)]
    #[case("HTTP/2 405\r\n", None)]
    #[case("220 mail ESMTP\r\n", None)]
    #[case("", None)]
    fn statuses(#[case] answer: &str, #[case] expected: Option<u16>) {
        assert_eq!(status(answer.as_bytes()), expected);
    }
}
