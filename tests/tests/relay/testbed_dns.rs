//! The testbed's DNS: what tests change is what is answered, at once.

use std::time::Duration;

use anyhow::Context as _;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use nix::sys::signal::Signal;
use testbed::TestRelay;
use testbed::dns::{Data, Dns, Failure, SERVFAIL, TIMEOUT};

use crate::fixture::{shared_federation, unhurried};

/// What a resolver makes of a question: the records in presentation format with their TTLs, or a word.
async fn asked(dns: &Dns, name: &str, kind: RecordType) -> anyhow::Result<Vec<String>> {
    let server = NameServerConfig::udp_and_tcp(dns.server.ip());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_millis(500);
    options.attempts = 0;
    *builder.options_mut() = options;
    let word = |word: &str| Ok(vec![word.to_owned()]);
    match builder.build()?.lookup(format!("{name}."), kind).await {
        Ok(found) => Ok(found
            .answers()
            .iter()
            .map(|record| format!("{} {}", record.ttl, record.data))
            .collect()),
        Err(error) if error.is_nx_domain() => word("no such name"),
        Err(error) if error.is_no_records_found() => word("no such record"),
        Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail))) => {
            word("server failure")
        }
        Err(NetError::Timeout) => word("timeout"),
        Err(error) => Err(error).with_context(|| name.to_owned()),
    }
}

#[tokio::test]
async fn relays_are_found_and_nobody_else() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    let dns = relays.dns()?;
    for target in [&relays.target, &relays.peers[0], &relays.peers[1]] {
        let domain = &target.domain;
        let mx = asked(dns, domain, RecordType::MX).await?;
        assert_eq!(mx, [format!("60 10 {domain}.")]);
        let a = asked(dns, domain, RecordType::A).await?;
        assert_eq!(a, [format!("60 {}", target.mx.host)]);
    }
    for (name, kind, answer) in [
        ("nullmx.test", RecordType::MX, "60 0 ."),
        ("nomx.test", RecordType::MX, "no such record"),
        ("missing.test", RecordType::MX, "no such name"),
        ("example.org", RecordType::A, "no such name"),
        (SERVFAIL, RecordType::MX, "server failure"),
        ("a.servfail.test", RecordType::TXT, "server failure"),
        (TIMEOUT, RecordType::A, "timeout"),
        ("a.timeout.test", RecordType::TXT, "timeout"),
    ] {
        assert_eq!(asked(dns, name, kind).await?, [answer], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn changes_are_seen_at_once() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let dns = relay.dns()?;
    let txt = async || asked(dns, "key._domainkey.peer.test", RecordType::TXT).await;
    assert_eq!(txt().await?, ["no such name"]);
    for round in 0..3 {
        let text = format!("v=DKIM1; round {round}");
        dns.set("key._domainkey.peer.test", round, &[Data::txt(&text)])?;
        assert_eq!(txt().await?, [format!("{round} {text}")]);
    }
    dns.fail("peer.test", Failure::Timeout)?;
    assert_eq!(txt().await?, ["timeout"]);
    dns.fail("peer.test", Failure::ServFail)?;
    assert_eq!(txt().await?, ["server failure"]);
    dns.recover("peer.test")?;
    assert_eq!(txt().await?, ["2 v=DKIM1; round 2"]);
    dns.remove("key._domainkey.peer.test")?;
    assert_eq!(txt().await?, ["no such name"]);

    // More than a datagram holds: it takes TCP.
    dns.set("huge.peer.test", 1, &[Data::txt(&"x".repeat(60_000))])?;
    let huge = asked(dns, "huge.peer.test", RecordType::TXT).await?;
    assert_eq!(huge.concat().matches('x').count(), 60_000);
    relay.stop()
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_records() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let dns = relay.dns()?;
    dns.set("peer.test", 60, &[Data::Mx(10, "mail.peer.test".into())])?;
    dns.signal(Signal::SIGKILL)?;
    // A change waits until the server is there again.
    dns.set("other.test", 60, &[Data::Cname("peer.test".into())])?;
    let mx = asked(dns, "peer.test", RecordType::MX).await?;
    assert_eq!(mx, ["60 10 mail.peer.test."]);
    relay.stop()
}
