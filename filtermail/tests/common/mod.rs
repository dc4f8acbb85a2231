//! A running filtermail and a client that speaks the milter protocol to it as Postfix does.

// Each test file is a program of its own and uses a part of this.
#![allow(dead_code, unused_imports)]

pub mod dns;
pub mod doveauth;
pub mod mta;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chatmail::Config;
use filtermail::daemon::Daemon;
use filtermail::metrics::{Door, Metrics};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use doveauth::Doveauth;
pub use mta::{Ending, Mta};

/// The address that the tests log in with.
pub const ALICE: &str = "alice@chat.example";

/// Somebody to write to.
pub const BOB: &str = "bob@chat.example";

/// Where mail from outside comes from, and who writes it: nobody needs to ask DNS.
pub const PEER: &str = "192.0.2.1";

/// See [`PEER`].
pub const CAROL: &str = "carol@[192.0.2.1]";

/// filtermail with a doveauth to ask.
pub async fn relay() -> (Filter, Doveauth) {
    let filter = Filter::start("").await;
    let doveauth = Doveauth::start(&filter.policy());
    (filter, doveauth)
}

/// filtermail in this process, on sockets of its own.
pub struct Filter {
    dir: tempfile::TempDir,
    metrics: Metrics,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Filter {
    /// Starts it; `keys` are lines of chatmail.ini.
    pub async fn start(keys: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), keys)
    }

    /// Starts it with this DKIM key, in PEM, as `dkim`.
    pub async fn with_dkim_key(pem: &str, keys: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("dkimkeys");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("dkim.private"), pem).unwrap();
        Self::start_in(dir, &format!("dkim_selectors = dkim\n{keys}"))
    }

    fn start_in(dir: tempfile::TempDir, keys: &str) -> Self {
        let at = |name: &str| dir.path().join(name).display().to_string();
        let text = format!(
            "[params]\nmail_domain = chat.example\nfiltermail_listen = unix:{}\n\
             filtermail_incoming_listen = unix:{}\nfiltermail_bounce_listen = unix:{}\n\
             policy_socket = {}\ndkim_keys_dir = {}\nfiltermail_metrics =\n{keys}\n",
            at("outgoing.sock"),
            at("incoming.sock"),
            at("bounce.sock"),
            at("policy.sock"),
            at("dkimkeys"),
        );
        let (config, warnings) = Config::parse(&text, Path::new("chatmail.ini")).unwrap();
        assert_eq!(warnings, []);
        let daemon = Daemon::bind(&config).unwrap();
        let metrics = daemon.metrics().clone();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(daemon.run(async { drop(stopped.await) }));
        Self {
            dir,
            metrics,
            stop: Some(stop),
            task,
        }
    }

    /// The path of its socket for submission.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("outgoing.sock")
    }

    /// The path of its socket for port 25.
    pub fn incoming(&self) -> PathBuf {
        self.dir.path().join("incoming.sock")
    }

    /// The path of its socket for what Postfix sends itself.
    pub fn bounce(&self) -> PathBuf {
        self.dir.path().join("bounce.sock")
    }

    /// Where it looks for doveauth.
    pub fn policy(&self) -> PathBuf {
        self.dir.path().join("policy.sock")
    }

    /// Waits until there are so many connections for port 25.
    pub async fn connections(&self, wanted: i64) {
        let open = self.metrics.at(Door::Incoming).sessions();
        let reached = async {
            while open.get() != wanted {
                tokio::task::yield_now().await;
            }
        };
        soon(reached).await;
    }

    /// Tells it to stop.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(self) {
        soon(self.task).await.unwrap();
    }
}

/// What must happen without a hang.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("it hangs")
}

/// An encrypted message's header fields.
pub fn encrypted_headers(from: &str) -> Vec<(&'static str, String)> {
    vec![
        ("From", format!("<{from}>")),
        ("To", "\"hidden-recipients\": ;".to_owned()),
        ("Subject", "a secret".to_owned()),
        ("Date", "Sat, 01 Jan 2000 00:00:00 +0000".to_owned()),
        ("Message-ID", "<1@localhost>".to_owned()),
        ("MIME-Version", "1.0".to_owned()),
        (
            "Content-Type",
            "multipart/encrypted; protocol=\"application/pgp-encrypted\";\n\tboundary=\"xyz\""
                .to_owned(),
        ),
    ]
}

/// An encrypted message's body with about this many octets of cipher text.
pub fn encrypted_body(size: usize) -> Vec<u8> {
    let packets = encrypted_packets(size);
    let encoded = base64_simd::STANDARD.encode_to_string(packets);
    let mut body = String::from(
        "--xyz\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\
         --xyz\r\nContent-Type: application/octet-stream\r\n\r\n\
         -----BEGIN PGP MESSAGE-----\r\n\r\n",
    );
    for line in encoded.as_bytes().chunks(64) {
        body.push_str(std::str::from_utf8(line).unwrap());
        body.push_str("\r\n");
    }
    body.push_str("-----END PGP MESSAGE-----\r\n--xyz--\r\n");
    body.into_bytes()
}

/// A session-key packet for a password and a packet of noise in place of cipher text
/// (RFC 9580 sections 5.3.1 and 5.13.1).
fn encrypted_packets(size: usize) -> Vec<u8> {
    let salt: [u8; 8] = rand::random();
    let mut session_key = vec![4, 9, 3, 8];
    session_key.extend(salt);
    session_key.push(0x60);
    let mut packets = vec![0xC3, u8::try_from(session_key.len()).unwrap()];
    packets.extend(session_key);
    let noise: Vec<u8> = (0..size.max(64)).map(|_| rand::random()).collect();
    packets.extend([0xD2, 0xFF]);
    packets.extend(u32::try_from(noise.len() + 1).unwrap().to_be_bytes());
    packets.push(1);
    packets.extend(noise);
    packets
}
