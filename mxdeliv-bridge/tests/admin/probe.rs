//! `probe`: a peer's HTTPS and SMTP are stand-ins in this process that say what a test tells them to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::bridge::Bridge;
use crate::dns::Dns;

/// A peer at 127.0.0.1 with a certificate for this name or address.
struct Peer {
    https: SocketAddr,
    smtp: SocketAddr,
    certificate: String,
}

impl Peer {
    /// `status` is what a GET is answered with; `starttls`: whether SMTP offers it.
    async fn start(name: &str, status: &'static str, starttls: bool) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let settings = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(settings));
        let (https, smtp) = (listener().await, listener().await);
        let peer = Self {
            https: https.local_addr().unwrap(),
            smtp: smtp.local_addr().unwrap(),
            certificate: made.cert.pem(),
        };
        let for_https = acceptor.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = https.accept().await {
                tokio::spawn(serve_https(for_https.clone(), stream, status));
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = smtp.accept().await {
                tokio::spawn(serve_smtp(acceptor.clone(), stream, starttls));
            }
        });
        peer
    }

    /// A bridge that trusts its certificate and knows its ports.
    fn bridge(&self, dns: &Dns) -> Bridge {
        let keys = format!(
            "{}\nmxdeliv_peer_port = {}\nmxdeliv_peer_smtp_port = {}\n",
            dns.config_line(),
            self.https.port(),
            self.smtp.port(),
        );
        Bridge::trusting(&self.certificate, &keys)
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// Reads a request up to its empty line and answers with a status.
async fn serve_https(acceptor: TlsAcceptor, stream: TcpStream, status: &'static str) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "GET /mxdeliv HTTP/1.1\r\n");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn serve_smtp(acceptor: TlsAcceptor, stream: TcpStream, starttls: bool) {
    let mut stream = BufReader::new(stream);
    let banner = b"220 mx.peer.example ESMTP <postmaster@peer.example>\r\n";
    stream.write_all(banner).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "EHLO chat.example\r\n");
    if !starttls {
        stream.write_all(b"250 mx.peer.example\r\n").await.unwrap();
        return;
    }
    let hello = b"250-mx.peer.example\r\n250 STARTTLS\r\n";
    stream.write_all(hello).await.unwrap();
    line.clear();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "STARTTLS\r\n");
    stream.write_all(b"220 go on\r\n").await.unwrap();
    if let Ok(mut stream) = acceptor.accept(stream.into_inner()).await {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// The steps that were taken: name, whether it went well, and what came of it.
fn steps(rows: &[Value]) -> Vec<(&str, bool, &str)> {
    let step = |row: &'_ Value| row["milliseconds"].as_f64().unwrap() >= 0.0;
    assert!(rows.iter().all(step));
    rows.iter()
        .map(|row| {
            let [name, detail] = [&row["step"], &row["detail"]].map(|text| text.as_str().unwrap());
            (name, row["ok"].as_bool().unwrap(), detail)
        })
        .collect()
}

const ROUTE: &str = "Postfix is told to send by SMTP: nothing is known of the host yet";

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_at_an_address_is_tried_step_by_step() {
    let dns = Dns::start().await;
    let peer = Peer::start("127.0.0.1", "405 Method Not Allowed", true).await;
    let bridge = peer.bridge(&dns);
    let rows = bridge.json(&["probe", "127.0.0.1"]);
    let expected = [
        ("mx", true, "[127.0.0.1]"),
        ("address", true, "127.0.0.1"),
        ("connect", true, "connected"),
        ("tls", true, "TLSv1.3, any certificate will do here"),
        ("http", true, "405: it takes POST, as mxdeliv does"),
        ("address", true, "127.0.0.1"),
        ("smtp-connect", true, "connected"),
        ("smtp-banner", true, "220 mx.peer.example ESMTP …"),
        ("smtp-ehlo", true, "250 mx.peer.example, STARTTLS"),
        ("smtp-starttls", true, "220 go on"),
        (
            "smtp-tls",
            true,
            "TLSv1.3, any certificate will do for SMTP",
        ),
    ];
    let all = steps(&rows);
    assert_eq!(all[..expected.len()], expected);
    assert_eq!(
        (all.len(), all[expected.len()].0),
        (expected.len() + 1, "route")
    );
    let (text, _) = bridge.run(0, &["probe", "[127.0.0.1]"]);
    assert_eq!(text.lines().count(), rows.len());
    assert!(text.lines().all(|line| line.starts_with("  ")) && !text.contains('@'));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked_as_for_mail() {
    let dns = Dns::start().await;
    for (name, valid) in [("127.0.0.1", true), ("other.example", false)] {
        let peer = Peer::start(name, "405 Method Not Allowed", false).await;
        let bridge = peer.bridge(&dns);
        let endpoint = format!("https://127.0.0.1:{}", peer.https.port());
        bridge.run(0, &["endpoint", "set", "peer.example", &endpoint]);
        let rows = bridge.json(&["probe", "peer.example"]);
        let all = steps(&rows);
        assert_eq!(all[0], ("mx", false, "there is no such name in DNS"));
        let (_, ok, detail) = all[3];
        assert_eq!((all[3].0, ok), ("tls", valid), "{detail}");
        let why = if valid {
            "the certificate is valid"
        } else {
            "certificate"
        };
        assert!(detail.contains(why), "{detail}");
        // What is behind it is seen all the same.
        assert_eq!(all[4].0, "http");
        let (route, _, decided) = all[5];
        assert_eq!((all.len(), route), (6, "route"));
        assert!(
            decided.contains(&endpoint) && decided.contains("decided"),
            "{decided}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_mxdeliv_is_said_to_be_none() {
    let dns = Dns::start().await;
    for (status, detail) in [
        ("404 Not Found", "404: it does not speak mxdeliv"),
        ("200 OK", "200: something else is served there"),
        ("503 Busy", "503, and not the 405 of mxdeliv"),
    ] {
        let peer = Peer::start("127.0.0.1", status, false).await;
        let bridge = peer.bridge(&dns);
        let rows = bridge.json(&["probe", "127.0.0.1"]);
        let all = steps(&rows);
        assert_eq!(all[4], ("http", false, detail));
        assert!(all.contains(&("smtp-starttls", false, "not offered")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_said_not_to_be() {
    let dns = Dns::start().await;
    // Ports that were free a moment ago, and nobody listens on them now.
    let (https, smtp) = (listener().await, listener().await);
    let ports = [&https, &smtp].map(|listener| listener.local_addr().unwrap().port());
    drop((https, smtp));
    let bridge = Bridge::start(&format!(
        "{}\nmxdeliv_peer_port = {}\nmxdeliv_peer_smtp_port = {}\n",
        dns.config_line(),
        ports[0],
        ports[1],
    ));
    let rows = bridge.json(&["probe", "127.0.0.1"]);
    let names: Vec<_> = steps(&rows)
        .into_iter()
        .map(|(name, ok, _)| (name, ok))
        .collect();
    let expected = [
        ("mx", true),
        ("address", true),
        ("connect", false),
        ("address", true),
        ("smtp-connect", false),
        ("route", true),
    ];
    assert_eq!(names, expected);
    assert!(steps(&rows)[2].2.contains("refused"));
    let rows = bridge.json(&["probe", "nowhere.example"]);
    let expected = [
        ("mx", false, "there is no such name in DNS"),
        ("route", true, ROUTE),
    ];
    assert_eq!(steps(&rows), expected);
    let (text, _) = bridge.run(0, &["probe", "nowhere.example"]);
    assert!(text.starts_with("! mx "), "{text}");
}
