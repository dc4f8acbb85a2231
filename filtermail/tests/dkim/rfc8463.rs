//! The example of RFC 8463, appendix A: a message with an Ed25519 and an RSA signature.

use filtermail::dkim::{DkimFailure, DkimVerdict, KeyCache, PrivateKey, Verification};

use crate::dns::{Dns, Say};
use crate::message::Keys;

const HEADERS: [(&str, &str); 7] = [
    (
        "DKIM-Signature",
        " v=1; a=ed25519-sha256; c=relaxed/relaxed;\n d=football.example.com; \
         i=@football.example.com;\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\n \
         subject : date : message-id : from : subject : date;\n \
         bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n \
         b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\n \
         Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==",
    ),
    (
        "DKIM-Signature",
        " v=1; a=rsa-sha256; c=relaxed/relaxed;\n d=football.example.com; \
         i=@football.example.com;\n q=dns/txt; s=test; t=1528637909; h=from : to : subject :\n \
         date : message-id : from : subject : date;\n \
         bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n \
         b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\n \
         DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\n \
         dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=",
    ),
    ("From", " Joe SixPack <joe@football.example.com>"),
    ("To", " Suzie Q <suzie@shopping.example.net>"),
    ("Subject", " Is dinner ready?"),
    ("Date", " Fri, 11 Jul 2003 21:00:37 -0700 (PDT)"),
    (
        "Message-ID",
        " <20030712040037.46341.5F8J@football.example.com>",
    ),
];

const BODY: &str = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

const ED25519_NAME: &str = "brisbane._domainkey.football.example.com";
const ED25519_RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const ED25519_SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

const RSA_NAME: &str = "test._domainkey.football.example.com";
const RSA_RECORD: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR\
    iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lx\
    j+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

async fn verdict(records: &[(&str, &str)], body: &str) -> DkimVerdict {
    let dns = Dns::start().await;
    for (name, record) in records {
        dns.set(name, Say::txt(record));
    }
    let keys = Keys::new(&dns.config_line());
    let cache = KeyCache::new(&keys.config("x")).unwrap();
    let mut verification = Verification::new();
    for (name, value) in HEADERS {
        verification.header(name.as_bytes(), value.as_bytes());
    }
    let author = "football.example.com".parse().unwrap();
    verification.end_of_headers(Some(&author), &cache);
    verification.body(body.as_bytes());
    verification.finish().await
}

#[tokio::test]
async fn each_signature_by_itself() {
    for record in [(ED25519_NAME, ED25519_RECORD), (RSA_NAME, RSA_RECORD)] {
        assert_eq!(
            verdict(&[record], BODY).await,
            DkimVerdict::Valid,
            "{record:?}"
        );
    }
    let neither = verdict(&[], BODY).await;
    assert_eq!(neither, DkimVerdict::Invalid(DkimFailure::KeyMissing));
    let other_body = verdict(&[(RSA_NAME, RSA_RECORD)], "Hi.\r\n").await;
    assert_eq!(other_body, DkimVerdict::Invalid(DkimFailure::WrongBody));
}

#[test]
fn a_bare_key_is_read() {
    let key = PrivateKey::parse(ED25519_SEED.as_bytes()).unwrap();
    assert_eq!(key.record().unwrap(), ED25519_RECORD);
}
