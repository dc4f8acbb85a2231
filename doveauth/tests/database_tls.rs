//! TLS to the database: with `sslmode=require` the server must be who it says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use common::Relay;
use postgres_server::Server;

const LOGIN: &[u8] = b"Lshared/passdb/a password\"bob@x.org\tbob@x.org\n";

/// A certificate for this address, and its key, where the server can read them.
fn certificate(folder: &Path, address: &str) {
    let made = rcgen::generate_simple_self_signed([address.to_owned()]).unwrap();
    let files = [
        ("cert.pem", made.cert.pem()),
        ("key.pem", made.signing_key.serialize_pem()),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some(user) = nix::unistd::User::from_name("postgres").unwrap() {
            let _ = chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_server_without_a_certificate_of_our_authorities_is_not_asked() {
    // An address of the loopback network that nobody else listens on.
    let pid = std::process::id();
    let address = format!("127.{}.{}.1", 64 + pid / 256 % 128, pid % 256);
    let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificate(ours.path(), &address);
    certificate(others.path(), &address);
    let file = |name: &str| ours.path().join(name).display().to_string();
    let server = Server::start(&[
        &format!("listen_addresses={address}"),
        "ssl=on",
        &format!("ssl_cert_file={}", file("cert.pem")),
        &format!("ssl_key_file={}", file("key.pem")),
    ]);
    let name = server.database();
    let name = Server::name(&name);
    let relay = |mode: &str, host: &str, authorities: &Path| {
        Relay::start(&format!(
            "database_url = postgresql://postgres@{host}/{name}?sslmode={mode}\nbackend_name = here\n\
            database_authorities = {}",
            authorities.join("cert.pem").display()
        ))
    };
    let trusted = relay("require", &address, ours.path());
    let answer = trusted.ask("auth", LOGIN).await;
    assert!(answer.starts_with('O'), "{answer}");
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'chatmail'";
    assert_eq!(server.sql(name, encrypted), "t");
    for (host, authorities) in [
        (address.as_str(), others.path()),
        ("127.0.0.1", ours.path()),
    ] {
        let answer = relay("require", host, authorities).ask("auth", LOGIN).await;
        assert!(
            answer.starts_with('F') && !answer.contains("bob"),
            "{answer}"
        );
    }
    // Without, nobody looks.
    let plain = relay("disable", &address, others.path());
    assert!(plain.ask("auth", LOGIN).await.starts_with('O'));
}

#[tokio::test]
async fn a_server_that_has_no_tls_is_not_asked_in_clear() {
    let pid = std::process::id();
    let address = format!("127.{}.{}.2", 64 + pid / 256 % 128, pid % 256);
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), &address);
    let server = Server::start(&[&format!("listen_addresses={address}")]);
    let name = server.database();
    let name = Server::name(&name);
    let relay = Relay::start(&format!(
        "database_url = postgresql://postgres@{address}/{name}?sslmode=require\nbackend_name = here\n\
        database_authorities = {}",
        folder.path().join("cert.pem").display()
    ));
    let answer = relay.ask("auth", LOGIN).await;
    assert!(answer.starts_with('F'), "{answer}");
}
