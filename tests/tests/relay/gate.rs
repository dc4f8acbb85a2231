//! Encrypted mail and securejoin requests pass and arrive as they were sent; all else is refused
//! after the final dot, with the rule it breaks, and the connection goes on.

use anyhow::{Context as _, ensure};
use testbed::TestRelay;
use testbed::client::Envelope;
use testbed::mail::{
    self, Encrypted, Key, KeyVersion, Message, Securejoin, Seipd, cleartext, securejoin_request,
};

use crate::fixture::{
    Correspondents, Person, accepted, messages, refused_at_dot, send, shared_relay, unhurried,
};

#[tokio::test]
async fn every_kind_of_encrypted_message_arrives_as_it_was_sent() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    let carol = Person::new(target)?;
    let mut carols = carol.inbox(target).await?;
    let recipients = [&people.bob.address, &carol.address].map(ToString::to_string);
    let envelope = Envelope {
        sender: people.alice.address.to_string(),
        recipients: recipients.to_vec(),
    };
    let mut sent = Vec::new();
    for keys in [KeyVersion::V4, KeyVersion::V6] {
        for seipd in [Seipd::V1, Seipd::V2] {
            let message = Encrypted::new(&people.alice.address, &people.bob.address)
                .and_to(&carol.address)
                .keys(keys)
                .seipd(seipd);
            let message = match seipd {
                Seipd::V1 => message,
                Seipd::V2 => message.without_checksum(),
            };
            let payload = format!("{keys:?} {seipd:?}\r\n.\r\n").into_bytes();
            let message = message.payload(payload.clone()).build()?;
            accepted(&send(&mut people.submission, &envelope, &message).await?)
                .with_context(|| format!("{keys:?} {seipd:?}"))?;
            sent.push((keys, payload, message.body));
        }
    }
    for (person, inbox) in [(&people.bob, &mut people.inbox), (&carol, &mut carols)] {
        let arrived = messages(inbox, sent.len()).await?;
        assert_eq!(arrived.len(), sent.len());
        for (keys, payload, body) in &sent {
            // Deliveries run side by side: the order is open.
            let found = arrived.iter().find(|found| found.message.ends_with(body));
            let found = found.context("a body did not arrive byte for byte")?;
            let recipient = Key::of(&person.address, *keys)?;
            let sender = Key::of(&people.alice.address, *keys)?;
            let opened = mail::decrypt(&found.message, &recipient, &sender)?;
            assert_eq!(&opened, payload);
        }
    }
    Ok(())
}

#[tokio::test]
async fn securejoin_requests_arrive_as_they_were_sent() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut people = Correspondents::new(&relay.target).await?;
    for (before, kind) in [Securejoin::Contact, Securejoin::Group]
        .into_iter()
        .enumerate()
    {
        let message = securejoin_request(&people.alice.address, &people.bob.address, kind);
        accepted(&people.send(&message).await?).with_context(|| kind.step().to_owned())?;
        let arrived = messages(&mut people.inbox, before + 1).await?;
        let last = arrived.last().context("an empty inbox")?;
        assert!(last.message.ends_with(&message.body));
        let step = format!("\r\nSecure-Join: {}\r\n", kind.step());
        let found = last
            .message
            .windows(step.len())
            .any(|at| at == step.as_bytes());
        assert!(found, "the header {step:?} is gone");
    }
    Ok(())
}

#[tokio::test]
async fn everything_else_is_refused_with_its_rule() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut people = Correspondents::new(&relay.target).await?;
    let encrypted = people.alice.writes_to(&people.bob)?;
    let request = securejoin_request(
        &people.alice.address,
        &people.bob.address,
        Securejoin::Contact,
    );
    let plain = cleartext(&people.alice.address, &people.bob.address, "Read me.");
    let mut cases = vec![
        ("not-encrypted", plain.clone()),
        ("content-type-missing", plain.without("Content-Type")),
    ];
    cases.extend(securejoin_cases(&request));
    cases.extend(mime_cases(&encrypted));
    cases.extend(armor_cases(&encrypted)?);
    for (before, (rule, message)) in cases.into_iter().enumerate() {
        let reply = format!("523 5.7.1 Encryption Needed: Invalid Unencrypted Mail ({rule})");
        refused_at_dot(&people.send(&message).await?, &reply)?;
        // On the same connection, and nothing but this one arrives.
        people
            .send_good(before)
            .await
            .with_context(|| format!("after {rule}"))?;
    }
    Ok(())
}

fn securejoin_cases(request: &Message) -> Vec<(&'static str, Message)> {
    let extra_part = "Content-Type: text/plain\r\n\r\nsecret\r\n--securejoin-boundary--";
    let second = format!("--securejoin-boundary\r\n{extra_part}");
    vec![
        (
            "secure-join-step",
            request.clone().with("Secure-Join", "vc-request-with-auth"),
        ),
        (
            "secure-join-repeated",
            request.clone().with_last("Secure-Join", "vc-request"),
        ),
        (
            "secure-join-text",
            request
                .clone()
                .replacing("vc-request", "vc-request and more"),
        ),
        (
            "part-extra",
            request
                .clone()
                .replacing("--securejoin-boundary--", &second),
        ),
        ("not-encrypted", request.clone().without("Secure-Join")),
    ]
}

fn mime_cases(encrypted: &Message) -> Vec<(&'static str, Message)> {
    const BOUNDARY: &str = "--encrypted-boundary-0123456789";
    let end = format!("{BOUNDARY}--");
    let third = format!("{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nhello\r\n{end}");
    let preamble = format!("Read this!\r\n{BOUNDARY}");
    let edited = |old: &str, new: &str| encrypted.clone().replacing(old, new);
    vec![
        (
            "content-type-repeated",
            encrypted.clone().with_last("Content-Type", "text/plain"),
        ),
        ("preamble-text", edited(BOUNDARY, &preamble)),
        (
            "epilogue-text",
            edited(&end, &format!("{end}\r\nRead this!")),
        ),
        ("part-extra", edited(&end, &third)),
        ("closing-delimiter-missing", edited(&end, "")),
        (
            "version-text",
            edited("Version: 1", "Version: 1\r\nRead this!"),
        ),
        (
            "part-type",
            edited("application/octet-stream", "text/plain"),
        ),
        (
            "part-nested",
            edited("application/octet-stream", "message/rfc822"),
        ),
        (
            "part-header",
            edited("\r\n\r\nVersion", "\r\nSubject: Read this!\r\n\r\nVersion"),
        ),
    ]
}

fn armor_cases(encrypted: &Message) -> anyhow::Result<Vec<(&'static str, Message)>> {
    const BEGIN: &str = "-----BEGIN PGP MESSAGE-----\r\n\r\n";
    const END: &str = "-----END PGP MESSAGE-----";
    let edited = |old: &str, new: &str| encrypted.clone().replacing(old, new);
    let with_header = "-----BEGIN PGP MESSAGE-----\r\nComment: Read this!\r\n\r\n";
    let body = std::str::from_utf8(&encrypted.body)?;
    let end = body.find(END).context("no end of the armor")?;
    let checksum = body.get(end - "\r\n=XXXX\r\n".len()..end);
    let checksum = checksum.context("no checksum")?;
    // A literal data packet (RFC 9580 section 5.9) in place of everything encrypted.
    let text = b"Nobody encrypted this.";
    let mut literal = vec![0xc0 | 11, u8::try_from(6 + text.len())?];
    literal.extend_from_slice(b"b\0\0\0\0\0");
    literal.extend_from_slice(text);
    Ok(vec![
        (
            "armor-begin",
            edited(BEGIN, &format!("Read this!\r\n{BEGIN}")),
        ),
        ("armor-header", edited(BEGIN, with_header)),
        ("armor-base64", edited(BEGIN, &format!("{BEGIN}!!!!\r\n"))),
        (
            "armor-trailing",
            edited(END, &format!("{END}\r\nRead this!")),
        ),
        ("armor-end", edited(END, "")),
        ("armor-checksum", edited(checksum, "\r\n=AAAA\r\n")),
        ("packet-tag", with_packets(encrypted, &literal)?),
        (
            "data-plain",
            with_packets(encrypted, &plain_in_seipd(encrypted)?)?,
        ),
    ])
}

/// The OpenPGP packets of an encrypted message.
fn packets_of(encrypted: &Message) -> anyhow::Result<Vec<u8>> {
    let body = std::str::from_utf8(&encrypted.body)?;
    let (_, rest) = body
        .split_once("MESSAGE-----\r\n\r\n")
        .context("no armor")?;
    let (base64, _) = rest.split_once("-----END").context("no end of the armor")?;
    // The checksum's line begins with `=`, which within the data stands at its end only.
    let (data, _) = base64.split_once("\r\n=").unwrap_or((base64, ""));
    let base64 = data.replace("\r\n", "");
    Ok(base64_simd::STANDARD.decode_to_vec(base64)?)
}

/// The message with other packets in its armor.
fn with_packets(encrypted: &Message, packets: &[u8]) -> anyhow::Result<Message> {
    let body = std::str::from_utf8(&encrypted.body)?;
    let (before, rest) = body
        .split_once("MESSAGE-----\r\n\r\n")
        .context("no armor")?;
    let (_, after) = rest.split_once("-----END").context("no end of the armor")?;
    let base64 = base64_simd::STANDARD.encode_to_string(packets);
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    let armored = lines.join("\r\n");
    let body = format!("{before}MESSAGE-----\r\n\r\n{armored}\r\n-----END{after}");
    Ok(encrypted.clone().with_body(body))
}

/// The session key of a real message, and then text where the encrypted bytes should be.
fn plain_in_seipd(encrypted: &Message) -> anyhow::Result<Vec<u8>> {
    let packets = packets_of(encrypted)?;
    // Both are new-format packets (RFC 9580 section 4.2.1); the session key's length is one octet.
    let &[tag, length, ..] = packets.as_slice() else {
        anyhow::bail!("no packets")
    };
    ensure!(tag == 0xc0 | 1 && length < 192, "not a short PKESK first");
    let mut forged = packets
        .get(..2 + usize::from(length))
        .context("a cut PKESK")?
        .to_vec();
    let text = b"All of this can be read by anybody who looks. ".repeat(20);
    // SEIPD version 2: AES-128, OCB, chunks of 8 KiB, then the salt.
    let mut data = vec![2, 7, 2, 7];
    data.extend_from_slice(&[0x5a; 32]);
    data.extend_from_slice(&text);
    let length = data.len() - 192;
    forged.extend_from_slice(&[0xc0 | 18, u8::try_from(192 + length / 256)?]);
    forged.push(u8::try_from(length % 256)?);
    forged.extend_from_slice(&data);
    Ok(forged)
}

#[tokio::test]
async fn cleartext_that_the_operator_lets_pass_arrives_byte_for_byte() -> anyhow::Result<()> {
    let relay =
        TestRelay::start(unhurried().with("passthrough_recipients", "echobot99@chat.test"))?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    people.bob.address = "echobot99@chat.test".parse()?;
    people.inbox = people.bob.inbox(target).await?;
    let text = "Dots:\r\n.\r\n..\r\n.and text\r\n\r\n\r\ntrailing blanks  \t\r\n\r\n";
    let message = cleartext(&people.alice.address, &people.bob.address, text);
    accepted(&people.send(&message).await?)?;
    let arrived = messages(&mut people.inbox, 1).await?;
    let arrived = arrived.first().context("an empty inbox")?;
    assert!(
        arrived
            .message
            .ends_with(&[b"\r\n\r\n", &message.body[..]].concat())
    );

    // To anybody else, or to both at once, it does not.
    let carol = Person::new(target)?;
    let envelope = Envelope {
        sender: people.alice.address.to_string(),
        recipients: vec![people.bob.address.to_string(), carol.address.to_string()],
    };
    let transaction = send(&mut people.submission, &envelope, &message).await?;
    let reply = "523 5.7.1 Encryption Needed: Invalid Unencrypted Mail (not-encrypted)";
    refused_at_dot(&transaction, reply)?;
    relay.stop()
}
