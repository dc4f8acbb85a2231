//! DKIM through the milters: what passes submission is signed as it leaves, bounces too, and on port
//! 25 the author's domain must have signed. DNS is a stand-in (`common/dns.rs`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use std::sync::LazyLock;

use common::dns::{Dns, Say};
use common::doveauth::OPEN;
use common::{ALICE, BOB, Doveauth, Ending, Filter, Mta, PEER, encrypted_body, encrypted_headers};
use filtermail::dkim::PrivateKey;

/// A key, its record, and where that is published.
static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate_rsa().unwrap());
const RECORD: &str = "dkim._domainkey.chat.example";

const ELSEWHERE: &str = "dave@example.org";

type Headers = Vec<(&'static str, String)>;

/// A relay that signs as chat.example and asks a DNS that knows its key.
async fn relay() -> (Filter, Doveauth, Dns) {
    let dns = Dns::start().await;
    dns.set(RECORD, Say::txt(&KEY.record().unwrap()));
    let keys = format!("{}\npassthrough_senders = {ALICE}", dns.config_line());
    let filter = Filter::with_dkim_key(&KEY.to_pem().unwrap(), &keys).await;
    let doveauth = Doveauth::start(&filter.policy());
    (filter, doveauth, dns)
}

/// The header section as Postfix makes it of filtermail's answer.
fn changed(mut headers: Headers, changes: &[String]) -> Headers {
    for change in changes {
        let (kind, rest) = change.split_once(' ').unwrap();
        let (index, field) = rest.split_once(' ').unwrap();
        let (name, value) = field.split_once(':').unwrap();
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match kind {
            "insert" => headers.insert(0, ("DKIM-Signature", value)),
            _ => {
                let named = |(other, _): &&mut (&str, String)| other.eq_ignore_ascii_case(name);
                let before = index.parse::<usize>().unwrap() - 1;
                let field = headers.iter_mut().filter(|field| named(field)).nth(before);
                field.unwrap().1 = value;
            }
        }
    }
    // A field without a value is one that goes.
    headers.retain(|(_, value)| !value.is_empty());
    headers
}

/// What port 25 says to a message from elsewhere.
async fn judged(filter: &Filter, recipient: &str, headers: &Headers, body: &[u8]) -> Ending {
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(ALICE, None).await;
    assert_eq!(mta.recipient(recipient).await, Ending::Pass);
    mta.headers(headers).await;
    mta.body(body).await.1
}

fn reply(text: &str) -> Ending {
    Ending::Reply(text.to_owned())
}

/// A message as it leaves by submission.
async fn submitted(filter: &Filter, headers: &Headers, body: &[u8]) -> Headers {
    let mut mta = Mta::ready(&filter.socket()).await;
    let (changes, ending) = mta.submit(ALICE, ELSEWHERE, headers, body).await;
    assert_eq!(ending, Ending::Pass);
    let signed = changed(headers.clone(), &changes);
    assert_eq!(signed[0].0, "DKIM-Signature");
    signed
}

#[tokio::test]
async fn what_one_relay_submits_another_takes() {
    let (filter, _doveauth, _dns) = relay().await;
    let mut headers = encrypted_headers(ALICE);
    headers.push(("X-Mailer", "x".to_owned()));
    headers.push(("Subject", "a second one".to_owned()));
    let body = encrypted_body(200_000);
    let signed = submitted(&filter, &headers, &body).await;
    assert_eq!(judged(&filter, BOB, &signed, &body).await, Ending::Pass);
    let subject = signed.iter().find(|(name, _)| *name == "Subject").unwrap();
    assert_eq!(subject.1, "[...]");

    let mut other = signed.clone();
    let subject = other.iter_mut().find(|(name, _)| *name == "Subject");
    subject.unwrap().1 = "something else".to_owned();
    let refused = reply("554 5.7.1 No valid DKIM signature found (wrong-signature)");
    assert_eq!(judged(&filter, BOB, &other, &body).await, refused);
    let refused = reply("554 5.7.1 No DKIM signature found");
    assert_eq!(judged(&filter, BOB, &headers, &body).await, refused);
}

#[tokio::test]
async fn cleartext_that_may_leave_is_signed_to_its_end() {
    let (filter, _doveauth, _dns) = relay().await;
    let headers = vec![
        ("From", ALICE.to_owned()),
        ("Content-Type", "text/plain".to_owned()),
    ];
    let body = b"Hello\r\n".repeat(30_000);
    let signed = submitted(&filter, &headers, &body).await;
    assert_eq!(judged(&filter, OPEN, &signed, &body).await, Ending::Pass);
    let refused = reply("554 5.7.1 No valid DKIM signature found (wrong-body)");
    let longer = [body.as_slice(), b"And more\r\n"].concat();
    assert_eq!(judged(&filter, OPEN, &signed, &longer).await, refused);
}

/// The number of signatures of a message to these recipients.
async fn signatures(filter: &Filter, recipients: &[&str]) -> usize {
    let mut mta = Mta::ready(&filter.socket()).await;
    mta.mail(ALICE, Some(ALICE)).await;
    for recipient in recipients {
        assert_eq!(mta.recipient(recipient).await, Ending::Pass);
    }
    mta.headers(&encrypted_headers(ALICE)).await;
    let (changes, ending) = mta.body(&encrypted_body(100)).await;
    assert_eq!(ending, Ending::Pass);
    let is_signature = |change: &&String| change.contains("DKIM-Signature");
    changes.iter().filter(is_signature).count()
}

#[tokio::test]
async fn what_stays_here_is_not_signed() {
    let (filter, _doveauth, _dns) = relay().await;
    assert_eq!(signatures(&filter, &[BOB]).await, 0);
    assert_eq!(signatures(&filter, &[BOB, OPEN]).await, 0);
    assert_eq!(signatures(&filter, &[BOB, ELSEWHERE]).await, 1);
    assert_eq!(signatures(&filter, &[ELSEWHERE, BOB]).await, 1);
    // Nobody knows where that goes.
    assert_eq!(signatures(&filter, &["\"b b\"@chat.example"]).await, 1);

    let pem = KEY.to_pem().unwrap();
    let filter = Filter::with_dkim_key(&pem, "dkim_sign_local = true").await;
    assert_eq!(signatures(&filter, &[BOB]).await, 1);
}

#[tokio::test]
async fn what_is_refused_is_not_signed() {
    let (filter, _doveauth, _dns) = relay().await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let headers = encrypted_headers("carol@chat.example");
    let (changes, ending) = mta.submit(ALICE, BOB, &headers, &encrypted_body(100)).await;
    assert!(matches!(ending, Ending::Reply(_)), "{ending:?}");
    assert_eq!(changes, [""; 0]);
}

#[tokio::test]
async fn a_header_section_too_large_to_sign_is_refused() {
    let (filter, _doveauth, _dns) = relay().await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let mut headers = encrypted_headers(ALICE);
    headers.push(("Chat-Content", "x".repeat(300_000)));
    let (_, ending) = mta
        .submit(ALICE, ELSEWHERE, &headers, &encrypted_body(100))
        .await;
    assert_eq!(ending, reply("554 5.6.0 Header section too large"));
}

#[tokio::test]
async fn bounces_are_signed() {
    let (filter, _doveauth, _dns) = relay().await;
    let content_type = "multipart/report; report-type=delivery-status; boundary=\"b\"";
    let headers = vec![
        ("From", "Mail <mailer-daemon@chat.example>".to_owned()),
        ("Auto-Submitted", "auto-replied".to_owned()),
        ("Content-Type", content_type.to_owned()),
    ];
    let mut mta = Mta::ready(&filter.bounce()).await;
    mta.mail("", None).await;
    assert_eq!(mta.recipient("carol@other.example").await, Ending::Pass);
    mta.headers(&headers).await;
    let body = b"--b\r\n\r\nIt came back.\r\n--b--\r\n";
    let (changes, ending) = mta.body(body).await;
    assert_eq!(ending, Ending::Pass);
    let signed = changed(headers, &changes);
    assert_eq!(signed[0].0, "DKIM-Signature");
    assert_eq!(judged(&filter, OPEN, &signed, body).await, Ending::Pass);
}

#[tokio::test]
async fn when_dns_fails_mail_waits() {
    let (filter, _doveauth, dns) = relay().await;
    let body = encrypted_body(1000);
    let signed = submitted(&filter, &encrypted_headers(ALICE), &body).await;
    dns.set(RECORD, Say::Code(2));
    let Ending::Reply(text) = judged(&filter, BOB, &signed, &body).await else {
        panic!("accepted without a key")
    };
    assert!(text.starts_with("451 4.7.5 "), "{text}");
    dns.set(RECORD, Say::Code(3));
    let refused = reply("554 5.7.1 No valid DKIM signature found (key-missing)");
    assert_eq!(judged(&filter, BOB, &signed, &body).await, refused);
    dns.set(RECORD, Say::txt(&KEY.record().unwrap()));
    assert_eq!(judged(&filter, BOB, &signed, &body).await, Ending::Pass);
}

#[tokio::test]
async fn a_connection_that_ends_while_a_key_is_looked_up() {
    let (filter, _doveauth, dns) = relay().await;
    let body = encrypted_body(1000);
    let signed = submitted(&filter, &encrypted_headers(ALICE), &body).await;
    dns.set(RECORD, Say::Silence);
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(ALICE, None).await;
    assert_eq!(mta.recipient(BOB).await, Ending::Pass);
    mta.headers(&signed).await;
    while dns.asked(RECORD) == 0 {
        tokio::task::yield_now().await;
    }
    drop(mta);
    dns.set(RECORD, Say::txt(&KEY.record().unwrap()));
    // The server never answered the first question; this is another.
    assert_eq!(judged(&filter, BOB, &signed, &body).await, Ending::Pass);
    assert!(dns.asked(RECORD) >= 2);
}
