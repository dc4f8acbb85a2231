//! Keys from DNS: in any form that is used, and when DNS is dead, slow, wrong or changing.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use base64_simd::STANDARD;
use filtermail::dkim::{DkimFailure, DkimVerdict, KeyCache, PrivateKey, Verification};
use rstest::rstest;
use tokio::sync::Semaphore;

use crate::dns::Say;
use crate::fixture::{Fixture, RECORD, rsa_record};
use crate::message::Message;

/// The verdict when DNS says this.
async fn verdict(say: Say) -> DkimVerdict {
    let fixture = Fixture::start().await;
    fixture.dns.set(RECORD, say);
    fixture.verdict(&signed(&fixture)).await
}

fn signed(fixture: &Fixture) -> Message {
    fixture.forge.sign(&Message::sample(100), "h=From")
}

/// The record's `p=`.
fn key() -> String {
    let record = rsa_record();
    let (_, key) = record.split_once("p=").unwrap();
    key.to_owned()
}

#[tokio::test]
async fn a_key_in_any_dress() {
    // A SubjectPublicKeyInfo of RSA has 24 octets before the RSAPublicKey.
    let info = STANDARD.decode_to_vec(key()).unwrap();
    let pkcs1 = STANDARD.encode_to_string(&info[24..]);
    let spaced: Vec<String> = key()
        .as_bytes()
        .chunks(60)
        .map(|part| String::from_utf8(part.to_vec()).unwrap())
        .collect();
    for record in [
        format!("p={}", key()),
        format!("k=rsa;p={};", key()),
        format!("v=DKIM1;p={pkcs1}"),
        format!(" v = DKIM1 ; k = RSA ; p = {} ; ", spaced.join(" \t ")),
        format!("v=DKIM1; p={}", spaced.join("\n")),
        format!("v=DKIM1; p={}\r\n", spaced.join("\r\n\t")),
    ] {
        assert_eq!(
            verdict(Say::txt(&record)).await,
            DkimVerdict::Valid,
            "{record}"
        );
    }
}

#[rstest]
#[case("", DkimFailure::KeyUnusable)]
#[case("v=spf1 -all", DkimFailure::KeyUnusable)]
#[case("v=DKIM1; k=rsa; p=", DkimFailure::KeyRevoked)]
#[case("v=DKIM1; k=rsa", DkimFailure::KeyUnusable)]
#[case("v=DKIM1; k=rsa; p=AAAA", DkimFailure::KeyUnusable)]
#[case("v=DKIM1; k=rsa; p=!", DkimFailure::KeyUnusable)]
#[case("v=DKIM1; k=ed25519; p=KEY", DkimFailure::KeyUnusable)]
#[case("v=DKIM1; k=other; p=KEY", DkimFailure::KeyUnusable)]
#[case("v=DKIM2; p=KEY", DkimFailure::KeyUnusable)]
#[case("k=rsa; v=DKIM1; p=KEY", DkimFailure::KeyUnusable)]
#[case("p=KEY; p=KEY", DkimFailure::KeyUnusable)]
#[case("p=KEY\0", DkimFailure::KeyUnusable)]
#[tokio::test]
async fn records_without_a_usable_key(#[case] record: &str, #[case] failure: DkimFailure) {
    let record = record.replace("KEY", &key());
    let verdict = verdict(Say::txt(&record)).await;
    assert_eq!(verdict, DkimVerdict::Invalid(failure));
}

#[tokio::test]
async fn octets_that_are_no_text() {
    let say = Say::Txt(3600, vec![b"v=DKIM1; p=\xff\xfe".to_vec()]);
    let expected = DkimVerdict::Invalid(DkimFailure::KeyUnusable);
    assert_eq!(verdict(say).await, expected);
}

#[tokio::test]
async fn an_rsa_key_of_less_than_1024_bits() {
    // An RSAPublicKey is a SEQUENCE of two INTEGERs.
    let public_key = |octets: u8| {
        let mut modulus = vec![0x02, octets + 1, 0];
        modulus.extend((0..octets).map(|at| 0x81 | at));
        let exponent = [0x02, 0x03, 1, 0, 1];
        let length = u8::try_from(modulus.len() + exponent.len()).unwrap();
        let der = [&[0x30, length], modulus.as_slice(), &exponent].concat();
        format!("v=DKIM1; p={}", STANDARD.encode_to_string(der))
    };
    for bits in [512, 768, 896] {
        let record = public_key(u8::try_from(bits / 8).unwrap());
        let expected = DkimVerdict::Invalid(DkimFailure::KeyTooShort);
        assert_eq!(verdict(Say::txt(&record)).await, expected, "{bits}");
    }
}

#[tokio::test]
async fn several_records() {
    let good = rsa_record().into_bytes();
    let bad = b"v=spf1 -all".to_vec();
    let revoked = b"v=DKIM1; p=".to_vec();
    let other = PrivateKey::generate_ed25519().unwrap().record().unwrap();
    let three = vec![bad.clone(), other.into_bytes(), good.clone()];
    assert_eq!(verdict(Say::Txt(60, three)).await, DkimVerdict::Valid);
    let four = vec![bad.clone(), bad.clone(), bad.clone(), good];
    let expected = DkimVerdict::Invalid(DkimFailure::KeyUnusable);
    assert_eq!(verdict(Say::Txt(60, four)).await, expected);
    let first_counts = vec![revoked, bad];
    let expected = DkimVerdict::Invalid(DkimFailure::KeyRevoked);
    assert_eq!(verdict(Say::Txt(60, first_counts)).await, expected);
}

#[rstest]
#[case::no_such_name(Say::Code(3), DkimVerdict::Invalid(DkimFailure::KeyMissing))]
#[case::no_such_record(Say::Code(0), DkimVerdict::Invalid(DkimFailure::KeyMissing))]
#[case::servfail(Say::Code(2), DkimVerdict::Temporary(DkimFailure::DnsFailure))]
#[case::refused(Say::Code(5), DkimVerdict::Temporary(DkimFailure::DnsFailure))]
#[case::format_error(Say::Code(1), DkimVerdict::Temporary(DkimFailure::DnsFailure))]
#[case::unknown_code(Say::Code(12), DkimVerdict::Temporary(DkimFailure::DnsFailure))]
#[case::another_name(
    Say::OfAnother(rsa_record().into_bytes()),
    DkimVerdict::Invalid(DkimFailure::KeyMissing)
)]
#[tokio::test]
async fn what_dns_says(#[case] say: Say, #[case] expected: DkimVerdict) {
    assert_eq!(verdict(say).await, expected);
}

#[tokio::test]
async fn garbage_is_a_temporary_failure() {
    let verdict = verdict(Say::Octets(vec![0xFF; 40])).await;
    assert!(matches!(verdict, DkimVerdict::Temporary(_)), "{verdict:?}");
}

#[tokio::test]
async fn nobody_listens() {
    let fixture = Fixture::start().await;
    let message = signed(&fixture);
    let (udp, tcp) = (
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
        fixture.keys.config("rsa"),
    );
    let mut config = tcp;
    config.dns_servers.0 = vec![udp.local_addr().unwrap()];
    drop(udp);
    let cache = KeyCache::new(&config).unwrap();
    let mut verification = Verification::new();
    message.to_verification(&mut verification, &cache);
    let verdict = verification.finish().await;
    assert!(matches!(verdict, DkimVerdict::Temporary(_)), "{verdict:?}");
}

#[tokio::test]
async fn silence_ends_after_ten_seconds() {
    let before = std::time::Instant::now();
    let verdict = verdict(Say::Silence).await;
    assert_eq!(verdict, DkimVerdict::Temporary(DkimFailure::DnsTimeout));
    assert!(before.elapsed().as_secs() < 60, "it ends at all");
}

#[tokio::test]
async fn one_temporary_failure_leaves_hope() {
    let fixture = Fixture::start().await;
    fixture
        .dns
        .set("other._domainkey.chat.example", Say::Code(2));
    let message = signed(&fixture);
    let tags = "v=1; a=rsa-sha256; d=chat.example; s=other; h=From";
    let both = fixture.forge.sign_as(&message, tags);
    assert_eq!(fixture.verdict(&both).await, DkimVerdict::Valid);
    fixture.dns.set(RECORD, Say::Code(3));
    let fresh = KeyCache::new(&fixture.keys.config("rsa")).unwrap();
    let mut verification = Verification::new();
    both.to_verification(&mut verification, &fresh);
    let expected = DkimVerdict::Temporary(DkimFailure::DnsFailure);
    assert_eq!(verification.finish().await, expected);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let say = Say::OverTcp(Box::new(Say::txt(&rsa_record())));
    assert_eq!(verdict(say).await, DkimVerdict::Valid);
}

#[tokio::test]
async fn a_huge_record_is_refused() {
    let record = format!("{}; n={}", rsa_record(), "x".repeat(20_000));
    let say = Say::OverTcp(Box::new(Say::txt(&record)));
    let expected = DkimVerdict::Invalid(DkimFailure::KeyUnusable);
    assert_eq!(verdict(say).await, expected);
    let record = format!("{}; n={}", rsa_record(), "x".repeat(10_000));
    let say = Say::OverTcp(Box::new(Say::txt(&record)));
    assert_eq!(verdict(say).await, DkimVerdict::Valid);
}

#[tokio::test]
async fn an_alias_is_followed() {
    let fixture = Fixture::start().await;
    let target = "keys.provider.example";
    fixture.dns.set(RECORD, Say::Alias(3600, target.to_owned()));
    fixture.dns.set(target, Say::txt(&rsa_record()));
    let message = signed(&fixture);
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
    assert_eq!(fixture.dns.asked(target), 1);
}

#[tokio::test]
async fn an_alias_without_end_or_target() {
    let to_itself = verdict(Say::Alias(60, RECORD.to_owned())).await;
    assert_ne!(to_itself, DkimVerdict::Valid);
    let nowhere = verdict(Say::Alias(60, "nowhere.example".to_owned())).await;
    assert_eq!(nowhere, DkimVerdict::Invalid(DkimFailure::KeyMissing));
}

#[tokio::test]
async fn an_alias_with_a_short_life() {
    let fixture = Fixture::start().await;
    let target = "keys.provider.example";
    fixture.dns.set(RECORD, Say::Alias(0, target.to_owned()));
    fixture.dns.set(target, Say::txt(&rsa_record()));
    let message = signed(&fixture);
    for asked in 1..=3 {
        assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
        assert_eq!(fixture.dns.asked(RECORD), asked);
    }
}

#[tokio::test]
async fn a_key_is_remembered_for_its_ttl() {
    let fixture = Fixture::start().await;
    let message = signed(&fixture);
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
    fixture.dns.set(RECORD, Say::Code(2));
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
    assert_eq!(fixture.dns.asked(RECORD), 1);
}

#[tokio::test]
async fn a_key_that_is_revoked_between_two_messages() {
    let fixture = Fixture::start().await;
    let message = signed(&fixture);
    let record = rsa_record().into_bytes();
    fixture.dns.set(RECORD, Say::Txt(1, vec![record]));
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
    fixture.dns.set(RECORD, Say::txt("v=DKIM1; p="));
    // Its second passes, however long that takes here.
    while fixture.verdict(&message).await == DkimVerdict::Valid {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let expected = DkimVerdict::Invalid(DkimFailure::KeyRevoked);
    assert_eq!(fixture.verdict(&message).await, expected);
}

#[tokio::test]
async fn a_ttl_of_zero_is_not_remembered() {
    let fixture = Fixture::start().await;
    let message = signed(&fixture);
    let record = rsa_record().into_bytes();
    fixture.dns.set(RECORD, Say::Txt(0, vec![record]));
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
    fixture.dns.set(RECORD, Say::txt("v=DKIM1; p="));
    let expected = DkimVerdict::Invalid(DkimFailure::KeyRevoked);
    assert_eq!(fixture.verdict(&message).await, expected);
}

#[tokio::test]
async fn the_absence_of_a_key_is_never_remembered() {
    let fixture = Fixture::start().await;
    let message = signed(&fixture);
    for say in [
        Say::Code(3),
        Say::Code(0),
        Say::Code(2),
        Say::txt("v=DKIM1; p="),
        Say::txt("nonsense"),
    ] {
        fixture.dns.set(RECORD, say);
        assert_ne!(fixture.verdict(&message).await, DkimVerdict::Valid);
    }
    fixture.dns.set(RECORD, Say::txt(&rsa_record()));
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
}

#[tokio::test]
async fn messages_at_the_same_time_ask_once() {
    let fixture = Fixture::start().await;
    let message = signed(&fixture);
    let permits = Arc::new(Semaphore::new(0));
    let answer = Say::Txt(0, vec![rsa_record().into_bytes()]);
    fixture
        .dns
        .set(RECORD, Say::When(permits.clone(), Box::new(answer)));
    let mut verdicts: Vec<Pin<Box<dyn Future<Output = DkimVerdict>>>> = Vec::new();
    for _ in 0..50 {
        verdicts.push(Box::pin(fixture.verdict(&message)));
    }
    // All are under way, and their lookups with them, before there is an answer.
    poll_fn(|context| {
        for verdict in &mut verdicts {
            assert!(verdict.as_mut().poll(context).is_pending());
        }
        Poll::Ready(())
    })
    .await;
    while fixture.dns.asked(RECORD) == 0 {
        tokio::task::yield_now().await;
    }
    permits.add_permits(1000);
    for verdict in verdicts {
        assert_eq!(verdict.await, DkimVerdict::Valid);
    }
    assert_eq!(fixture.dns.asked(RECORD), 1);
}

#[tokio::test]
async fn a_message_that_is_given_up_takes_no_other_with_it() {
    let fixture = Fixture::start().await;
    let message = signed(&fixture);
    let permits = Arc::new(Semaphore::new(0));
    let answer = Say::txt(&rsa_record());
    fixture
        .dns
        .set(RECORD, Say::When(permits.clone(), Box::new(answer)));
    let mut first = Verification::new();
    message.to_verification(&mut first, &fixture.cache);
    while fixture.dns.asked(RECORD) == 0 {
        tokio::task::yield_now().await;
    }
    let mut second = Verification::new();
    message.to_verification(&mut second, &fixture.cache);
    drop(first);
    permits.add_permits(1000);
    assert_eq!(second.finish().await, DkimVerdict::Valid);
}
