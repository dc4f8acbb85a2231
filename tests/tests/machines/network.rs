//! Machines find each other by name and address, and nobody else.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::ensure;
use testbed::authority::Certificate;
use testbed::dns::{Data, Failure};
use testbed::machine::{Lan, Machine};

fn ping(from: &Machine, to: &str) -> anyhow::Result<()> {
    from.run_ok(&["ping", "-c", "1", "-W", "30", to]).map(drop)
}

/// The lines that a resolver in the machine says to this question.
fn asked(machine: &Machine, database: &str, name: &str) -> anyhow::Result<Vec<String>> {
    let output = machine.run(&["getent", database, name])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect())
}

#[test]
fn machines_reach_each_other_and_nobody_else() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    let two = lan.machine("two", lan.ip(12))?;
    for (from, to) in [(&one, &two), (&two, &one)] {
        ping(from, &to.address().to_string())?;
        ping(from, &to.host_name())?;
        if let Some(address) = to.address6() {
            ping(from, &address.to_string())?;
            let found = asked(from, "ahostsv6", &to.host_name())?;
            assert!(found.contains(&address.to_string()), "{found:?}");
        }
    }

    // At once, and not after a timeout.
    let outside = one.run(&["ping", "-c", "1", "-W", "60", "192.0.2.1"])?;
    let said = String::from_utf8_lossy(&outside.stdout).into_owned();
    assert!(said.contains("Destination Host Unreachable"), "{said}");
    assert_eq!(
        asked(&one, "ahostsv4", "example.org")?,
        Vec::<String>::new()
    );
    Ok(())
}

#[test]
fn clients_of_a_test_are_on_the_lan() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    // A program, by name.
    let script = "exec 3<>/dev/tcp/one.test/22; read -t 60 -r line <&3; echo \"$line\"";
    let output = lan.command("bash").args(["-c", script]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("SSH-2.0-"), "{output:?}");

    // The test itself, by address.
    let address = SocketAddr::from((one.address(), 22));
    let patience = Duration::from_secs(60);
    let connect = || TcpStream::connect_timeout(&address, patience);
    let mut stream = lan.network().enter(connect)??;
    stream.set_read_timeout(Some(patience))?;
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting)?;
    assert_eq!(&greeting, b"SSH-2.0-");
    Ok(())
}

#[test]
fn the_dns_says_what_a_test_wants() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    lan.dns()
        .set("mail.example.test", 60, &[Data::A(lan.ip(77))])?;
    assert_eq!(
        asked(&one, "ahostsv4", "mail.example.test")?.first(),
        Some(&"10.77.0.77".to_owned())
    );

    // Whatever a mail server asks for.
    one.run_ok(&["apt-get", "update", "--quiet"])?;
    one.run_ok(&[
        "apt-get",
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "bind9-host",
    ])?;
    let text = Data::txt("v=DKIM1; p=");
    lan.dns()
        .set("example.test", 60, &[Data::Mx(10, one.host_name())])?;
    lan.dns().set("key.example.test", 60, &[text])?;
    let host = |kind: &str, name: &str| one.run_ok(&["host", "-t", kind, name]);
    let mx = host("MX", "example.test")?;
    ensure!(mx.contains("mail is handled by 10 one.test."), "{mx}");
    let txt = host("TXT", "key.example.test")?;
    ensure!(txt.contains("\"v=DKIM1; p=\""), "{txt}");

    lan.dns().fail("example.test", Failure::ServFail)?;
    assert!(host("MX", "example.test").is_err());
    lan.dns().recover("example.test")?;
    host("MX", "example.test")?;
    Ok(())
}

#[test]
fn a_machine_believes_the_authority_after_it_was_told_to() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    let folder = tempfile::tempdir()?;
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    lan.authority().write(
        Certificate::Right,
        vec![one.host_name()],
        &certificate,
        &key,
    )?;
    one.write_file("/etc/ssl/one.pem", &std::fs::read(&certificate)?, 0o644)?;

    let believes = || one.run(&["openssl", "verify", "/etc/ssl/one.pem"]);
    assert!(!believes()?.status.success());
    one.trust(lan.authority())?;
    assert!(believes()?.status.success());
    Ok(())
}
