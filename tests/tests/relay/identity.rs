//! Nobody sends in another's name, and nothing is said in clear.

use anyhow::{Context as _, ensure};
use testbed::client::{
    ClientError, Connection, Envelope, ImapClient, Security, SmtpClient, TlsVersion, tls,
};
use testbed::{Target, mail};

use crate::fixture::{
    Correspondents, Person, accepted, messages, refused_at_dot, send, shared_relay,
};

#[tokio::test]
async fn another_envelope_sender_is_refused_at_rcpt() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut people = Correspondents::new(&relay.target).await?;
    let domain = &relay.target.domain;
    let message = people.alice.writes_to(&people.bob)?;
    for sender in [
        people.bob.address.to_string(),
        format!("nobody-at-all@{domain}"),
        "somebody@elsewhere.test".to_owned(),
    ] {
        let envelope = Envelope::new(&sender, &people.bob.address);
        let transaction = send(&mut people.submission, &envelope, &message).await?;
        let reply = transaction.recipients.first().context("no reply to RCPT")?;
        ensure!(
            reply.to_string().starts_with("553 5.7.1"),
            "{sender}: {reply}"
        );
        assert!(transaction.content.is_none_or(|reply| !reply.is_positive()));
    }
    // The null sender belongs to nobody, so Postfix lets it pass and the gate has to refuse.
    let envelope = Envelope::new("", &people.bob.address);
    let transaction = send(&mut people.submission, &envelope, &message).await?;
    let alice = people.alice.address.clone();
    refused_at_dot(
        &transaction,
        &format!("500 5.7.1 Invalid FROM <> for <{alice}>"),
    )?;
    people.send_good(0).await
}

#[tokio::test]
async fn a_from_that_is_not_the_login_is_refused_at_the_dot() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut people = Correspondents::new(&relay.target).await?;
    let message = people.alice.writes_to(&people.bob)?;
    let (alice, bob) = (people.alice.address.clone(), people.bob.address.clone());
    let from = |value: String| message.clone().with("From", value);
    let cases = [
        (from(format!("<{bob}>")), format!("<{bob}>"), None),
        (
            from(format!("\"{alice}\" <{bob}>")),
            "<>".into(),
            Some("from-syntax"),
        ),
        (
            from(format!("\"{bob}\" <{alice}>")),
            "<>".into(),
            Some("from-syntax"),
        ),
        (from(bob.to_string()), format!("<{bob}>"), None),
        (
            message.clone().without("From"),
            "<>".into(),
            Some("from-missing"),
        ),
        (
            message.clone().with_last("From", format!("<{bob}>")),
            "<>".into(),
            Some("from-repeated"),
        ),
        (
            message.clone().with_first("From", format!("<{alice}>")),
            "<>".into(),
            Some("from-repeated"),
        ),
        (
            from(format!("<{alice}>, <{bob}>")),
            "<>".into(),
            Some("from-several"),
        ),
        (
            from(format!("All: <{alice}>;")),
            "<>".into(),
            Some("from-group"),
        ),
        (
            from(format!("<{alice}> ({bob})")),
            "<>".into(),
            Some("from-comment"),
        ),
        (
            from(format!("({bob}) <{alice}>")),
            "<>".into(),
            Some("from-comment"),
        ),
    ];
    for (before, (message, author, rule)) in cases.into_iter().enumerate() {
        let rule = rule.map(|rule| format!(" ({rule})")).unwrap_or_default();
        let reply = format!("500 5.7.1 Invalid FROM {author} for <{alice}>{rule}");
        refused_at_dot(&people.send(&message).await?, &reply)?;
        people.send_good(before).await?;
    }
    Ok(())
}

#[tokio::test]
async fn display_names_and_capitals_do_not_make_another_author() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut people = Correspondents::new(&relay.target).await?;
    let message = people.alice.writes_to(&people.bob)?;
    let alice = people.alice.address.to_string();
    let authors = [
        alice.clone(),
        format!("Alice <{alice}>"),
        format!("\"{alice}\" <{alice}>"),
        format!("\"Smith, Alice @ Home\" <{alice}>"),
        format!("=?utf-8?q?=C3=84lice?= <{alice}>"),
        format!("<{}>", alice.to_uppercase()),
        format!("Alice\r\n <{alice}>"),
    ];
    let count = authors.len();
    for author in authors {
        accepted(
            &people
                .send(&message.clone().with("From", author.clone()))
                .await?,
        )
        .with_context(|| author)?;
    }
    messages(&mut people.inbox, count).await?;
    Ok(())
}

#[tokio::test]
async fn without_login_nobody_submits() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let (alice, bob) = (Person::new(target)?, Person::new(target)?);
    bob.log_in(target).await?;
    let message = alice.writes_to(&bob)?;
    let envelope = Envelope::new(&alice.address, &bob.address);
    for (endpoint, security) in [
        (&target.smtps, Security::TLS),
        (&target.submission, Security::StartTls(TlsVersion::Any)),
    ] {
        let mut client = SmtpClient::connect(endpoint, security).await?;
        client.hello().await?;
        let transaction = send(&mut client, &envelope, &message).await?;
        let reply = transaction.recipients.first().context("no reply to RCPT")?;
        ensure!(reply.to_string().starts_with("554 5.7.1"), "{reply}");
        assert!(!transaction.is_accepted());
    }
    Ok(())
}

#[tokio::test]
async fn submission_with_starttls_is_the_same_door() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    people.submission = SmtpClient::login(
        &target.submission,
        Security::StartTls(TlsVersion::Any),
        &people.alice.address.to_string(),
        &people.alice.password,
    )
    .await?;
    let message = mail::cleartext(&people.alice.address, &people.bob.address, "Read me.");
    let reply = "523 5.7.1 Encryption Needed: Invalid Unencrypted Mail (not-encrypted)";
    refused_at_dot(&people.send(&message).await?, reply)?;
    people.send_good(0).await
}

#[tokio::test]
async fn before_starttls_nothing_goes() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    for endpoint in [&target.mx, &target.submission] {
        let mut client = SmtpClient::connect(endpoint, Security::Plain).await?;
        let extensions = client.hello().await?;
        assert!(
            !extensions.iter().any(|line| line.starts_with("AUTH")),
            "{extensions:?}"
        );
        let reply = client.command("MAIL FROM:<a@elsewhere.test>").await?;
        assert_eq!(reply.code, 530, "{reply}");
        let reply = client
            .auth_plain("somebody@chat.test", "a password")
            .await?;
        ensure!((500..600).contains(&reply.code), "{reply}");
    }
    Ok(())
}

/// The greeting would wait until a client has acknowledged the ticket, which takes it 40 ms.
#[tokio::test]
async fn the_greeting_does_not_wait_behind_a_session_ticket() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let tickets = tls::tickets_before_greeting(&relay.target.smtps).await?;
    ensure!(tickets == 0, "{tickets} session tickets");
    Ok(())
}

#[tokio::test]
async fn tls_below_1_3_is_refused_where_clients_log_in() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let Target { imap, smtps, .. } = &relay.target;
    for endpoint in [imap, smtps] {
        let old = Connection::open(endpoint, Security::Implicit(TlsVersion::Only12)).await;
        ensure!(
            matches!(old, Err(ClientError::Tls { .. })),
            "{endpoint} takes TLS 1.2"
        );
    }
    let new = Security::Implicit(TlsVersion::Only13);
    SmtpClient::connect(smtps, new).await?;
    ImapClient::connect(imap, new).await?;
    Ok(())
}
