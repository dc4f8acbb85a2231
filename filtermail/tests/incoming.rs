//! Port 25: who gets mail, and what passes. doveauth is a stand-in (`common/doveauth.rs`). Authors are at
//! address literals, whom no DNS vouches for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use common::doveauth::{BARRED, BLOCKED_CLIENT, BROKEN, FULL, MALLORY, OPEN, OPEN_TOO};
use common::{BOB, CAROL, Doveauth, Ending, Mta, PEER, encrypted_body, encrypted_headers, relay};

fn reply(text: &str) -> Ending {
    Ending::Reply(text.to_owned())
}

fn no_changes(ending: Ending) -> (Vec<String>, Ending) {
    (Vec::new(), ending)
}

fn cleartext(from: &str) -> Vec<(&'static str, String)> {
    vec![
        ("From", from.to_owned()),
        ("Content-Type", "text/plain".to_owned()),
    ]
}

fn delivery_report(from: &str) -> Vec<(&'static str, String)> {
    let content_type = "multipart/report; report-type=delivery-status;\n\tboundary=\"b\"";
    vec![
        ("From", format!("Mail Delivery System <{from}>")),
        ("Auto-Submitted", "auto-replied".to_owned()),
        ("Content-Type", content_type.to_owned()),
    ]
}

/// A whole message; all recipients must be accepted.
async fn submit(
    mta: &mut Mta,
    sender: &str,
    recipients: &[&str],
    headers: &[(&'static str, String)],
    body: &[u8],
) -> (Vec<String>, Ending) {
    mta.mail(sender, None).await;
    for recipient in recipients {
        assert_eq!(mta.recipient(recipient).await, Ending::Pass, "{recipient}");
    }
    mta.headers(headers).await;
    mta.body(body).await
}

#[tokio::test]
async fn recipients_are_answered_one_by_one() {
    let (filter, _doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(CAROL, None).await;
    let unknown = reply("550 5.1.1 No such user here");
    for (recipient, answer) in [
        (BOB, Ending::Pass),
        ("BOB@Chat.Example", Ending::Pass),
        ("bob+tag@chat.example", Ending::Pass),
        ("nobody@chat.example", unknown.clone()),
        ("nobody+bob@chat.example", unknown.clone()),
        ("\"bob\"@chat.example", unknown.clone()),
        ("bob", unknown),
        (BARRED, reply("550 5.7.1 This account is blocked")),
        (FULL, reply("452 4.2.2 Mailbox is full")),
        (BROKEN, reply("451 4.3.0 Try again later")),
    ] {
        assert_eq!(mta.recipient(recipient).await, answer, "{recipient}");
    }
    mta.headers(&encrypted_headers(CAROL)).await;
    let ended = mta.body(&encrypted_body(1000)).await;
    assert_eq!(ended, no_changes(Ending::Pass));
}

#[tokio::test]
async fn without_doveauth_mail_waits() {
    let (filter, doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(CAROL, None).await;
    assert_eq!(mta.recipient(BOB).await, Ending::Pass);
    doveauth.stop().await;
    let wait = reply("451 4.3.0 Try again later");
    assert_eq!(mta.recipient(BOB).await, wait);
    assert_eq!(mta.recipient("nobody@chat.example").await, wait);

    // The author is another than the sender, so the block list is asked once more.
    mta.headers(&encrypted_headers("dave@[192.0.2.1]")).await;
    assert_eq!(
        mta.body(&encrypted_body(1000)).await,
        no_changes(wait.clone())
    );

    // The first recipient's question of the sender was not answered: the next one's is.
    mta.mail(MALLORY, None).await;
    assert_eq!(mta.recipient(BOB).await, wait);
    let _doveauth = Doveauth::start(&filter.policy());
    let blocked = reply("550 5.7.1 Mail from you is blocked here");
    assert_eq!(mta.recipient(BOB).await, blocked);
}

#[tokio::test]
async fn a_message_without_recipients_goes_nowhere() {
    let (filter, _doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    let body = encrypted_body(1000);
    let (_, ending) = submit(&mut mta, CAROL, &[], &encrypted_headers(CAROL), &body).await;
    assert_eq!(ending, reply("554 5.5.1 No valid recipients"));
    mta.headers(&encrypted_headers(CAROL)).await;
    assert_eq!(mta.body(&body).await.1, reply("503 5.5.1 MAIL comes first"));
    assert_eq!(
        mta.recipient(BOB).await,
        reply("503 5.5.1 MAIL comes first")
    );
}

#[tokio::test]
async fn senders_peers_and_authors_can_be_blocked() {
    let (filter, _doveauth) = relay().await;
    let blocked = reply("550 5.7.1 Mail from you is blocked here");
    let mut mta = Mta::of(&filter.incoming(), "192.0.2.66").await;
    mta.mail(MALLORY, None).await;
    for recipient in [BOB, FULL, "nobody@chat.example"] {
        assert_eq!(mta.recipient(recipient).await, blocked, "{recipient}");
    }
    for sender in ["", "other@[192.0.2.66]"] {
        let (headers, body) = (encrypted_headers(MALLORY), encrypted_body(1000));
        let ended = submit(&mut mta, sender, &[BOB], &headers, &body).await;
        assert_eq!(ended, no_changes(blocked.clone()), "{sender:?}");
    }
    let mut mta = Mta::of(&filter.incoming(), BLOCKED_CLIENT).await;
    for sender in [CAROL, "", "\"odd one\"@peer.example"] {
        mta.mail(sender, None).await;
        assert_eq!(mta.recipient(BOB).await, blocked, "{sender:?}");
    }
}

#[tokio::test]
async fn authors_at_an_address_must_be_there() {
    let (filter, _doveauth) = relay().await;
    let elsewhere =
        reply("554 5.7.1 Invalid FROM: mail does not come from the address in its domain");
    let body = encrypted_body(1000);
    for (client, author, ending) in [
        ("192.0.2.1", "a@[192.0.2.1]", Ending::Pass),
        ("::ffff:192.0.2.1", "a@[192.0.2.1]", Ending::Pass),
        ("2001:db8::1", "a@[IPv6:2001:db8:0::1]", Ending::Pass),
        ("192.0.2.2", "a@[192.0.2.1]", elsewhere.clone()),
        ("2001:db8::2", "a@[IPv6:2001:db8::1]", elsewhere.clone()),
    ] {
        let mut mta = Mta::of(&filter.incoming(), client).await;
        let headers = encrypted_headers(author);
        let ended = submit(&mut mta, "", &[BOB], &headers, &body).await;
        assert_eq!(ended, no_changes(ending), "{client} {author}");
    }
    // A client of an unknown kind, and an MTA that does not say.
    for unknown in [true, false] {
        let mut mta = Mta::ready(&filter.incoming()).await;
        if unknown {
            mta.send(b'C', b"unknown\0U").await;
        }
        let headers = encrypted_headers(CAROL);
        let ended = submit(&mut mta, "", &[BOB], &headers, &body).await;
        assert_eq!(ended, no_changes(elsewhere.clone()));
    }
}

#[tokio::test]
async fn from_must_be_one_mailbox() {
    let (filter, _doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    for (from, rule) in [
        ("a@[192.0.2.1]>, <b@[192.0.2.1]", "from-several"),
        ("nobody", "from-address"),
    ] {
        let headers = encrypted_headers(from);
        let ended = submit(&mut mta, "", &[BOB], &headers, &encrypted_body(1000)).await;
        let expected = reply(&format!("554 5.7.1 Invalid FROM ({rule})"));
        assert_eq!(ended, no_changes(expected));
    }
    let mut headers = encrypted_headers(CAROL);
    headers.push(("from", CAROL.to_owned()));
    let ended = submit(&mut mta, "", &[BOB], &headers, &encrypted_body(1000)).await;
    let expected = reply("554 5.7.1 Invalid FROM (from-repeated)");
    assert_eq!(ended, no_changes(expected));
}

#[tokio::test]
async fn cleartext_needs_the_consent_of_every_recipient() {
    let (filter, _doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    let needed = reply("523 5.7.1 Encryption Needed: Invalid Unencrypted Mail (not-encrypted)");
    for (recipients, ending) in [
        (&[BOB][..], needed.clone()),
        (&[OPEN, BOB], needed.clone()),
        (&[BOB, OPEN], needed),
        (&[OPEN], Ending::Pass),
        (&[OPEN, OPEN_TOO], Ending::Pass),
        (&["open+news@chat.example"], Ending::Pass),
    ] {
        let ended = submit(&mut mta, CAROL, recipients, &cleartext(CAROL), b"Hello\r\n").await;
        assert_eq!(ended, no_changes(ending), "{recipients:?}");
    }
    // A refused recipient has no say.
    mta.mail(CAROL, None).await;
    assert_ne!(mta.recipient(FULL).await, Ending::Pass);
    assert_eq!(mta.recipient(OPEN).await, Ending::Pass);
    mta.headers(&cleartext(CAROL)).await;
    assert_eq!(mta.body(b"Hello\r\n").await, no_changes(Ending::Pass));
}

#[tokio::test]
async fn securejoin_requests_pass() {
    let (filter, _doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    let headers = [
        ("From", CAROL.to_owned()),
        ("Secure-Join", "vc-request".to_owned()),
        ("Content-Type", "multipart/mixed; boundary=b".to_owned()),
    ];
    let body = b"--b\r\nContent-Type: text/plain\r\n\r\nSecure-Join: vc-request\r\n--b--\r\n";
    let ended = submit(&mut mta, CAROL, &[BOB], &headers, body).await;
    assert_eq!(ended, no_changes(Ending::Pass));
}

#[tokio::test]
async fn delivery_reports_pass() {
    let (filter, _doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    let author = "mailer-daemon@[192.0.2.1]";
    let needed = |rule: &str| {
        let text = "523 5.7.1 Encryption Needed: Invalid Unencrypted Mail";
        reply(&format!("{text} ({rule})"))
    };
    let body = b"--b\r\n\r\nNo such user\r\n--b--\r\n";
    for (sender, ending) in [
        ("", Ending::Pass),
        ("MAILER-DAEMON@[192.0.2.1]", Ending::Pass),
        (CAROL, needed("report-sender")),
    ] {
        let ended = submit(&mut mta, sender, &[BOB], &delivery_report(author), body).await;
        assert_eq!(ended, no_changes(ending), "{sender:?}");
    }
    let mut by_hand = delivery_report(author);
    by_hand.retain(|(name, _)| *name != "Auto-Submitted");
    let ended = submit(&mut mta, "", &[BOB], &by_hand, body).await;
    assert_eq!(ended, no_changes(needed("report-auto-submitted")));

    let large = "x\r\n".repeat(400_000).into_bytes();
    let ended = submit(&mut mta, "", &[BOB], &delivery_report(author), &large).await;
    assert_eq!(ended, no_changes(needed("report-too-large")));

    // The author's domain must vouch for it all the same.
    let elsewhere = delivery_report("mailer-daemon@[192.0.2.2]");
    let (_, ending) = submit(&mut mta, "", &[BOB], &elsewhere, body).await;
    assert!(matches!(&ending, Ending::Reply(text) if text.starts_with("554 5.7.1 Invalid FROM")));
}

#[tokio::test]
async fn bounces_go_to_the_authors_domain_or_nowhere() {
    let (filter, _doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    let (headers, body) = (encrypted_headers(CAROL), encrypted_body(1000));
    for (sender, reset) in [
        ("", false),
        (CAROL, false),
        ("list-bounces@[192.0.2.1]", false),
        ("\"odd one\"@[192.0.2.1]", false),
        ("carol@peer.example", true),
        ("carol@[192.0.2.2]", true),
        ("\"odd one\"@peer.example", true),
        ("odd one", true),
    ] {
        let (changes, ending) = submit(&mut mta, sender, &[BOB], &headers, &body).await;
        assert_eq!(ending, Ending::Pass, "{sender:?}");
        let expected: &[&str] = if reset { &["sender <>"] } else { &[] };
        assert_eq!(changes, expected, "{sender:?}");
    }
}
