//! Port 25: the author's domain must have signed a message. DNS and doveauth are stand-ins
//! (`common/dns.rs`, `common/doveauth.rs`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use chatmail::Config;
use common::dns::{Dns, Say};
use common::doveauth::OPEN;
use common::{BOB, Doveauth, Ending, Filter, Mta, PEER, encrypted_body, encrypted_headers};
use filtermail::dkim::{PrivateKey, Signer};
use filtermail::report::{REPORT_MAX, Report};
use filtermail::session::Edit;
use tokio::sync::Semaphore;

/// Somebody at a domain that signs, and where its key is.
const CAROL: &str = "carol@peer.example";
const RECORD: &str = "peer._domainkey.peer.example";

/// Making a key takes a while, and the tests need no secret.
static KEY: LazyLock<String> =
    LazyLock::new(|| PrivateKey::generate_rsa().unwrap().to_pem().unwrap());

type Headers = Vec<(&'static str, String)>;

/// A relay, its doveauth, and a peer whose key is in DNS.
struct Fixture {
    filter: Filter,
    dns: Dns,
    _doveauth: Doveauth,
}

impl Fixture {
    async fn start() -> Self {
        Self::with("").await
    }

    /// With another line of chatmail.ini.
    async fn with(key: &str) -> Self {
        let dns = Dns::start().await;
        let filter = Filter::start(&format!("{}\n{key}", dns.config_line())).await;
        let fixture = Self {
            _doveauth: Doveauth::start(&filter.policy()),
            filter,
            dns,
        };
        fixture.publish();
        fixture
    }

    fn publish(&self) {
        let key = PrivateKey::parse(KEY.as_bytes()).unwrap();
        self.dns.set(RECORD, Say::txt(&key.record().unwrap()));
    }

    async fn mta(&self) -> Mta {
        Mta::of(&self.filter.incoming(), PEER).await
    }

    /// Submits on a connection of its own.
    async fn submit(
        &self,
        sender: &str,
        recipient: &str,
        headers: &Headers,
        body: &[u8],
    ) -> (Vec<String>, Ending) {
        let mut mta = self.mta().await;
        mta.mail(sender, None).await;
        assert_eq!(mta.recipient(recipient).await, Ending::Pass);
        mta.headers(headers).await;
        mta.body(body).await
    }
}

/// With the signature of a domain, made with the peer's key.
fn signed(domain: &str, mut headers: Headers, body: &[u8]) -> Headers {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("peer.private"), KEY.as_str()).unwrap();
    let text = format!(
        "[params]\nmail_domain = {domain}\ndkim_selectors = peer\ndkim_keys_dir = {}\n",
        dir.path().display()
    );
    let (config, _) = Config::parse(&text, Path::new("chatmail.ini")).unwrap();
    let mut signing = Signer::load(&config).unwrap().unwrap().begin();
    for (name, value) in &headers {
        signing.header(name.as_bytes(), format!(" {value}").as_bytes());
    }
    signing.body(body);
    for edit in signing.finish(&[]).unwrap() {
        let Edit::Insert { value, .. } = edit else {
            panic!("{edit:?}")
        };
        headers.insert(0, ("DKIM-Signature", value));
    }
    headers
}

fn passes() -> (Vec<String>, Ending) {
    (Vec::new(), Ending::Pass)
}

fn refused(text: &str) -> (Vec<String>, Ending) {
    (Vec::new(), Ending::Reply(text.to_owned()))
}

#[tokio::test]
async fn mail_that_the_authors_domain_signed_passes() {
    let fixture = Fixture::start().await;
    let body = encrypted_body(100_000);
    let headers = signed("peer.example", encrypted_headers(CAROL), &body);
    for sender in [CAROL, ""] {
        let ended = fixture.submit(sender, BOB, &headers, &body).await;
        assert_eq!(ended, passes(), "{sender:?}");
    }
    let ended = fixture.submit("x@elsewhere.example", BOB, &headers, &body);
    assert_eq!(ended.await, (vec!["sender <>".to_owned()], Ending::Pass));
    assert_eq!(fixture.dns.asked(RECORD), 1, "the key is remembered");
}

#[tokio::test]
async fn unsigned_mail_and_other_domains_signatures_are_refused() {
    let fixture = Fixture::start().await;
    let missing = refused("554 5.7.1 No DKIM signature found");
    let body = encrypted_body(1000);
    let headers = encrypted_headers(CAROL);
    assert_eq!(fixture.submit(CAROL, BOB, &headers, &body).await, missing);
    let headers = signed("other.example", headers, &body);
    assert_eq!(fixture.submit(CAROL, BOB, &headers, &body).await, missing);
}

#[tokio::test]
async fn changed_mail_is_refused() {
    let fixture = Fixture::start().await;
    let body = encrypted_body(1000);
    let headers = signed("peer.example", encrypted_headers(CAROL), &body);
    let other = encrypted_body(1000);
    let text = "554 5.7.1 No valid DKIM signature found (wrong-body)";
    let ended = fixture.submit(CAROL, BOB, &headers, &other).await;
    assert_eq!(ended, refused(text));
    // What the gate refuses is refused for that, whoever signed it.
    let clear = b"Hello\r\n";
    let (_, ending) = fixture.submit(CAROL, BOB, &headers, clear).await;
    assert!(matches!(&ending, Ending::Reply(text) if text.starts_with("523 5.7.1 ")));
}

#[tokio::test]
async fn a_key_that_is_revoked_or_missing_is_final() {
    let fixture = Fixture::start().await;
    let body = encrypted_body(1000);
    let headers = signed("peer.example", encrypted_headers(CAROL), &body);
    for (say, why) in [
        (Say::txt("v=DKIM1; p="), "key-revoked"),
        (Say::Code(3), "key-missing"),
    ] {
        fixture.dns.set(RECORD, say);
        let ended = fixture.submit(CAROL, BOB, &headers, &body).await;
        let text = format!("554 5.7.1 No valid DKIM signature found ({why})");
        assert_eq!(ended, refused(&text));
    }
    fixture.publish();
    assert_eq!(fixture.submit(CAROL, BOB, &headers, &body).await, passes());
}

#[tokio::test]
async fn cleartext_and_delivery_reports_must_be_signed_too() {
    let fixture = Fixture::start().await;
    let missing = refused("554 5.7.1 No DKIM signature found");
    let body = b"Hello\r\n";
    let clear = vec![
        ("From", CAROL.to_owned()),
        ("Content-Type", "text/plain".to_owned()),
    ];
    assert_eq!(fixture.submit(CAROL, OPEN, &clear, body).await, missing);
    let clear = signed("peer.example", clear, body);
    assert_eq!(fixture.submit(CAROL, OPEN, &clear, body).await, passes());

    let content_type = "multipart/report; report-type=delivery-status; boundary=b";
    let report = vec![
        ("From", "MAILER-DAEMON@peer.example".to_owned()),
        ("Auto-Submitted", "auto-replied".to_owned()),
        ("Content-Type", content_type.to_owned()),
    ];
    assert_eq!(fixture.submit("", BOB, &report, body).await, missing);
    let report = signed("peer.example", report, body);
    assert_eq!(fixture.submit("", BOB, &report, body).await, passes());
}

#[tokio::test]
async fn a_header_section_without_end_is_refused() {
    let fixture = Fixture::start().await;
    let body = encrypted_body(1000);
    let mut headers = signed("peer.example", encrypted_headers(CAROL), &body);
    headers.extend((0..10_000).map(|_| ("X-Filler", "x".repeat(100))));
    let ended = fixture.submit(CAROL, BOB, &headers, &body).await;
    assert_eq!(ended, refused("554 5.6.0 Header section too large"));
}

#[tokio::test]
async fn a_key_that_comes_late_holds_up_nobody_else() {
    let fixture = Fixture::start().await;
    let permit = Arc::new(Semaphore::new(0));
    let key = PrivateKey::parse(KEY.as_bytes()).unwrap();
    let late = Say::When(permit.clone(), Say::txt(&key.record().unwrap()).into());
    fixture.dns.set(RECORD, late);
    let body = encrypted_body(1000);
    let headers = signed("peer.example", encrypted_headers(CAROL), &body);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut mta = fixture.mta().await;
        mta.mail(CAROL, None).await;
        assert_eq!(mta.recipient(BOB).await, Ending::Pass);
        mta.headers(&headers).await;
        mta.send(b'E', &body).await;
        waiting.push(mta);
    }
    let here = "dave@[192.0.2.1]";
    let others = encrypted_headers(here);
    assert_eq!(fixture.submit(here, BOB, &others, &body).await, passes());
    // Those who go away are not waited for.
    fixture.filter.connections(20).await;
    waiting.truncate(1);
    fixture.filter.connections(1).await;
    permit.add_permits(100);
    let answer = waiting.pop().unwrap().receive().await;
    assert_eq!(answer, Some((b'c', Vec::new())));
}

#[tokio::test]
async fn mail_that_proves_its_domain_is_reported_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report");
    let fixture = Fixture::with(&format!("mxdeliv_report_socket = {}", path.display())).await;
    let body = encrypted_body(1000);
    let unsigned = encrypted_headers(CAROL);
    let headers = signed("peer.example", unsigned.clone(), &body);
    // Nobody listens, and nobody minds.
    assert_eq!(fixture.submit(CAROL, BOB, &headers, &body).await, passes());
    let reports = tokio::net::UnixDatagram::bind(&path).unwrap();
    let (_, refused) = fixture.submit(CAROL, BOB, &unsigned, &body).await;
    assert!(matches!(refused, Ending::Reply(_)));
    let began = std::time::Instant::now();
    assert_eq!(fixture.submit(CAROL, BOB, &headers, &body).await, passes());
    let at_most = began.elapsed();
    let mut datagram = [0; REPORT_MAX];
    let length = reports.recv(&mut datagram).await.unwrap();
    let report = Report::parse(&datagram[..length]).unwrap();
    assert_eq!(report.domain.as_str(), "peer.example");
    assert!(report.accepted && report.took <= at_most);
    assert!(reports.try_recv(&mut datagram).is_err());
}
