//! Which messages the author's domain signed.

use filtermail::dkim::{DkimFailure, DkimVerdict, Verification};
use rstest::rstest;

use crate::dns::Say;
use crate::fixture::{Fixture, RECORD, rsa_record};
use crate::message::Message;

fn invalid(failure: DkimFailure) -> DkimVerdict {
    DkimVerdict::Invalid(failure)
}

#[rstest]
#[case("c=simple/simple; h=From:To:Subject:Content-Type")]
#[case("c=simple/relaxed; h=From:To:Subject:Content-Type")]
#[case("c=relaxed; h=From")]
#[case("h=From:To")]
#[case("c=relaxed/relaxed; h=from:to:from:subject:nowhere; i=@chat.example")]
#[case("c=relaxed/simple; h=FROM : To :Date:MESSAGE-ID; q=dns/txt; t=1; x=99999999999")]
#[case("h=From; i=somebody@mail.chat.example; z=From:x; something=else")]
#[tokio::test]
async fn any_signers_way_of_signing(#[case] tags: &str) {
    let fixture = Fixture::start().await;
    let mut message = Message::sample(500);
    message.headers[2].1 = b" two  words\n\t and  a fold ".to_vec();
    message.body.extend(b" trailing \t \r\n\r\n\r\n");
    let signed = fixture.forge.sign(&message, tags);
    assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Valid);

    let mut other_body = signed.clone();
    other_body.body[3] ^= 1;
    let verdict = fixture.verdict(&other_body).await;
    assert_eq!(verdict, invalid(DkimFailure::WrongBody));
    let mut other_header = signed.clone();
    other_header.headers[1].1[3] ^= 1;
    let verdict = fixture.verdict(&other_header).await;
    assert_eq!(verdict, invalid(DkimFailure::WrongSignature));
}

#[rstest]
#[case("")]
#[case("\r\n")]
#[case("\r\n\r\n")]
#[case("no line end")]
#[tokio::test]
async fn bodies_with_an_odd_end(#[case] body: &str) {
    let fixture = Fixture::start().await;
    let message = Message::new(&[("From", " <a@chat.example>")], body);
    for tags in ["c=simple/simple; h=From", "c=relaxed/relaxed; h=From"] {
        let signed = fixture.forge.sign(&message, tags);
        assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Valid, "{tags}");
    }
}

#[tokio::test]
async fn no_signature_or_another_domains() {
    let fixture = Fixture::start().await;
    let message = Message::sample(500);
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Missing);

    let tags = "v=1; a=rsa-sha256; s=rsa; h=From";
    for domain in ["example", "other.example", "mail.chat.example"] {
        let signed = fixture
            .forge
            .sign_as(&message, &format!("{tags}; d={domain}"));
        assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Missing);
    }
    let unreadable = message.with("DKIM-Signature", " d=chat.example; d=chat.example");
    assert_eq!(fixture.verdict(&unreadable).await, DkimVerdict::Missing);
}

#[tokio::test]
async fn an_author_without_a_domain_in_dns() {
    let fixture = Fixture::start().await;
    let signed = fixture.forge.sign(&Message::sample(100), "h=From");
    for author in [None, Some("[192.0.2.1]".parse().unwrap())] {
        let mut verification = Verification::new();
        for (name, value) in &signed.headers {
            verification.header(name.as_bytes(), value);
        }
        verification.end_of_headers(author.as_ref(), &fixture.cache);
        verification.body(&signed.body);
        assert_eq!(verification.finish().await, DkimVerdict::Missing);
    }
}

#[tokio::test]
async fn upper_case_domains_and_selectors() {
    let fixture = Fixture::start().await;
    let tags = "v=1; a=RSA-SHA256; d=CHAT.Example; s=RSA; h=From";
    let signed = fixture.forge.sign_as(&Message::sample(100), tags);
    assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Valid);
    assert_eq!(fixture.dns.asked(RECORD), 1);
}

#[tokio::test]
async fn one_valid_signature_is_enough_wherever_it_stands() {
    let fixture = Fixture::start().await;
    let good = fixture.forge.sign(&Message::sample(100), "h=From");
    let broken = " v=1; a=rsa-sha256; d=chat.example; s=rsa; h=From; bh=YQ==; b=YQ==";
    let above = good.clone().with("DKIM-Signature", broken);
    assert_eq!(fixture.verdict(&above).await, DkimVerdict::Valid);
    let mut below = good.clone();
    let field = ("DKIM-Signature".to_owned(), broken.as_bytes().to_vec());
    below.headers.push(field);
    assert_eq!(fixture.verdict(&below).await, DkimVerdict::Valid);
}

#[tokio::test]
async fn a_second_from_is_never_covered() {
    let fixture = Fixture::start().await;
    let message = Message::sample(100);
    let other = " <mallory@evil.example>";

    let signed = fixture.forge.sign(&message, "h=From:To");
    let verdict = fixture.verdict(&signed.clone().with("From", other)).await;
    assert_eq!(verdict, invalid(DkimFailure::FromNotCovered));
    let mut below = signed;
    below
        .headers
        .push(("FROM".to_owned(), other.as_bytes().to_vec()));
    let verdict = fixture.verdict(&below).await;
    assert_eq!(verdict, invalid(DkimFailure::FromNotCovered));

    let oversigned = fixture.forge.sign(&message, "h=From:From");
    let verdict = fixture.verdict(&oversigned.with("from", other)).await;
    assert_eq!(verdict, invalid(DkimFailure::WrongSignature));

    let not_signed = fixture.forge.sign(&message, "h=To:Subject");
    let verdict = fixture.verdict(&not_signed).await;
    assert_eq!(verdict, invalid(DkimFailure::FromNotCovered));
}

#[tokio::test]
async fn a_field_that_h_names_as_absent_cannot_be_added() {
    let fixture = Fixture::start().await;
    let signed = fixture.forge.sign(&Message::sample(100), "h=From:Reply-To");
    assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Valid);
    let verdict = fixture
        .verdict(&signed.with("Reply-To", " <x@evil.example>"))
        .await;
    assert_eq!(verdict, invalid(DkimFailure::WrongSignature));
}

#[tokio::test]
async fn repeated_fields_are_signed_from_the_bottom() {
    let fixture = Fixture::start().await;
    let headers = [
        ("X", " top"),
        ("From", " <a@chat.example>"),
        ("x", " bottom"),
    ];
    let message = Message::new(&headers, "text\r\n");
    let signed = fixture.forge.sign(&message, "c=relaxed; h=From:X");
    assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Valid);
    let mut top = signed.clone();
    top.headers[1].1 = b" changed".to_vec();
    assert_eq!(fixture.verdict(&top).await, DkimVerdict::Valid);
    let mut bottom = signed;
    bottom.headers[3].1 = b" changed".to_vec();
    let verdict = fixture.verdict(&bottom).await;
    assert_eq!(verdict, invalid(DkimFailure::WrongSignature));
}

#[tokio::test]
async fn a_body_length_must_be_the_whole_body() {
    let fixture = Fixture::start().await;
    let message = Message::new(&[("From", " <a@chat.example>")], "0123456789\r\n");
    let whole = fixture.forge.sign(&message, "l=12; h=From");
    assert_eq!(fixture.verdict(&whole).await, DkimVerdict::Valid);

    let mut longer = whole.clone();
    longer.body.extend(b"and a trojan horse\r\n");
    let verdict = fixture.verdict(&longer).await;
    assert_eq!(verdict, invalid(DkimFailure::BodyNotCovered));
    for part in ["l=0; h=From", "l=11; h=From"] {
        let signed = fixture.forge.sign(&message, part);
        let verdict = fixture.verdict(&signed).await;
        assert_eq!(verdict, invalid(DkimFailure::BodyNotCovered), "{part}");
    }
    for beyond in ["l=13; h=From", "l=18446744073709551615; h=From"] {
        let signed = fixture.forge.sign(&message, beyond);
        let verdict = fixture.verdict(&signed).await;
        assert_eq!(verdict, invalid(DkimFailure::WrongBody), "{beyond}");
    }
    let absurd = fixture.forge.sign(&message, "h=From");
    let tags = String::from_utf8(absurd.headers[0].1.clone()).unwrap();
    let tags = tags.replace("v=1", "v=1; l=99999999999999999999999");
    let verdict = fixture
        .verdict(&message.with("DKIM-Signature", &tags))
        .await;
    assert_eq!(verdict, invalid(DkimFailure::Syntax));
}

#[rstest]
#[case("h=From; x=1700000000", DkimFailure::Expired)]
#[case("h=From; t=1600000000; x=1700000000", DkimFailure::Expired)]
#[case("h=From; t=99999999999", DkimFailure::FromTheFuture)]
#[case("h=From; i=@other.example", DkimFailure::Syntax)]
#[case("h=From; i=@evilchat.example", DkimFailure::Syntax)]
#[case("h=From; q=dns/other", DkimFailure::Unsupported)]
#[tokio::test]
async fn tags_that_a_signature_cannot_have(#[case] tags: &str, #[case] failure: DkimFailure) {
    let fixture = Fixture::start().await;
    let signed = fixture.forge.sign(&Message::sample(100), tags);
    assert_eq!(fixture.verdict(&signed).await, invalid(failure));
    assert_eq!(fixture.dns.asked(RECORD), 0, "no key is needed to know");
}

#[tokio::test]
async fn sha1_is_refused() {
    let fixture = Fixture::start().await;
    let tags = "v=1; a=rsa-sha1; d=chat.example; s=rsa; h=From";
    let signed = fixture.forge.sign_as(&Message::sample(100), tags);
    let verdict = fixture.verdict(&signed).await;
    assert_eq!(verdict, invalid(DkimFailure::Unsupported));
}

#[tokio::test]
async fn another_key_does_not_verify() {
    let fixture = Fixture::start().await;
    let other = filtermail::dkim::PrivateKey::generate_rsa().unwrap();
    fixture.dns.set(RECORD, Say::txt(&other.record().unwrap()));
    let signed = fixture.forge.sign(&Message::sample(100), "h=From");
    let verdict = fixture.verdict(&signed).await;
    assert_eq!(verdict, invalid(DkimFailure::WrongSignature));
}

#[tokio::test]
async fn a_hundred_signatures_cost_three_questions() {
    let fixture = Fixture::start().await;
    let signed = fixture.forge.sign(&Message::sample(100), "h=From");
    let signature = String::from_utf8(signed.headers[0].1.clone()).unwrap();
    let mut message = Message::sample(100);
    for number in 0..100 {
        let tags = signature.replace("s=rsa", &format!("s=key{number}"));
        message = message.with("DKIM-Signature", &tags);
    }
    let verdict = fixture.verdict(&message).await;
    assert_eq!(verdict, invalid(DkimFailure::KeyMissing));
    let asked = |number| {
        fixture
            .dns
            .asked(&format!("key{number}._domainkey.chat.example"))
    };
    assert_eq!((0..100).map(asked).sum::<usize>(), 3);
    assert_eq!((97..100).map(asked).sum::<usize>(), 3, "those on top");
}

#[tokio::test]
async fn foreign_and_malformed_signatures_push_none_out() {
    let fixture = Fixture::start().await;
    let mut message = fixture.forge.sign(&Message::sample(100), "h=From");
    for number in 0..100 {
        let foreign =
            format!(" v=1; a=rsa-sha256; d=other{number}.example; s=rsa; h=From; bh=YQ==; b=YQ==");
        message = message.with("DKIM-Signature", &foreign);
        message = message.with("DKIM-Signature", " v=1; d=chat.example; s=rsa");
    }
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
    assert_eq!(fixture.dns.asked(RECORD), 1);
}

#[tokio::test]
async fn ten_signatures_are_tried() {
    let fixture = Fixture::start().await;
    let good = fixture.forge.sign(&Message::sample(100), "h=From");
    let broken = " v=1; a=rsa-sha256; d=chat.example; s=rsa; h=From; bh=YQ==; b=YQ==";
    let mut message = good;
    for _ in 0..9 {
        message = message.with("DKIM-Signature", broken);
    }
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::Valid);
    let message = message.with("DKIM-Signature", broken);
    let verdict = fixture.verdict(&message).await;
    assert_eq!(verdict, invalid(DkimFailure::WrongBody));
}

#[tokio::test]
async fn a_header_section_has_its_limit() {
    let fixture = Fixture::start().await;
    let signed = fixture.forge.sign(&Message::sample(100), "h=From");
    let message = signed.with("X-Long", &"x".repeat(256 << 10));
    assert_eq!(fixture.verdict(&message).await, DkimVerdict::TooLarge);
}

#[rstest]
#[case::the_key_is_for_subdomains_only("t=s; ", "h=From; i=@mail.chat.example", false)]
#[case::its_own_domain("t=s; ", "h=From; i=@chat.example", true)]
#[case::no_identity("t=s; ", "h=From", true)]
#[case::testing("t=y; ", "h=From", true)]
#[case::any_hash("h=sha1:sha256; ", "h=From", true)]
#[case::old_hash("h=sha1; ", "h=From", false)]
#[case::mail("s=email; ", "h=From", true)]
#[case::not_mail("s=tlsrpt; ", "h=From", false)]
#[case::notes("n=hello=20you; unknown=x; ", "h=From", true)]
#[tokio::test]
async fn what_a_key_is_for(#[case] tag: &str, #[case] tags: &str, #[case] good: bool) {
    let fixture = Fixture::start().await;
    let record = rsa_record().replace("k=rsa; ", &format!("{tag}k=rsa; "));
    fixture.dns.set(RECORD, Say::txt(&record));
    let signed = fixture.forge.sign(&Message::sample(100), tags);
    let expected = if good {
        DkimVerdict::Valid
    } else {
        invalid(DkimFailure::KeyUnusable)
    };
    assert_eq!(fixture.verdict(&signed).await, expected);
}
