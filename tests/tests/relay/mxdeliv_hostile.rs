//! What strangers may send to the HTTPS port: nothing but what port 25 would take is delivered, and once.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use chatmail::Address;
use testbed::client::{ClientError, Connection, ImapClient, Security};
use testbed::foreign::ForeignDomain;
use testbed::mail::{self, Message};
use testbed::{Endpoint, TestRelay};

use crate::fixture::{Person, messages, random_name, shared_relay};

/// Longer than nginx waits for a request's header section.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections of one client that say nothing.
const IDLERS: usize = 300;

/// Somebody at a domain without a relay, whose web client we play, and somebody with an account.
pub(crate) struct Stranger {
    relay: std::sync::Arc<TestRelay>,
    domain: ForeignDomain,
    pub(crate) carol: Address,
    pub(crate) bob: Person,
    inbox: ImapClient,
}

impl Stranger {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let relay = shared_relay()?;
        let domain = ForeignDomain::new(relay.dns()?, &format!("{}.test", random_name(9)))?;
        let bob = Person::new(&relay.target)?;
        let inbox = bob.inbox(&relay.target).await?;
        Ok(Self {
            carol: format!("carol@{}", domain.name()).parse()?,
            relay,
            domain,
            bob,
            inbox,
        })
    }

    pub(crate) fn endpoint(&self) -> anyhow::Result<&Endpoint> {
        self.relay.target.https.as_ref().context("no HTTPS port")
    }

    pub(crate) fn writes(&self) -> anyhow::Result<Message> {
        let message = mail::encrypted(&self.carol, &self.bob.address, 3000)?;
        self.domain.sign(&message)
    }

    /// Header lines of a post from her to him.
    pub(crate) fn envelope(&self) -> String {
        format!(
            "X-Mail-From: {}\r\nX-Mail-To: {}\r\n",
            self.carol, self.bob.address
        )
    }

    /// A post with these header lines and this body, on a connection of its own: the answer.
    pub(crate) async fn post(&self, headers: &str, body: &[u8]) -> anyhow::Result<String> {
        let connection = Connection::open(self.endpoint()?, Security::TLS).await?;
        exchange(
            connection,
            &[request(headers, body.len()).as_bytes(), body].concat(),
        )
        .await
    }

    /// What he has is exactly this, in whatever order.
    pub(crate) async fn has(&mut self, expected: &[&Message]) -> anyhow::Result<()> {
        let found = messages(&mut self.inbox, expected.len()).await?;
        ensure!(found.len() == expected.len(), "{} messages", found.len());
        for message in expected {
            let copies = found
                .iter()
                .filter(|one| one.message.ends_with(&message.body));
            ensure!(copies.count() == 1, "a message is not there once");
        }
        Ok(())
    }
}

/// The head of a post with a body of this length.
pub(crate) fn request(headers: &str, length: usize) -> String {
    format!(
        "POST /mxdeliv HTTP/1.1\r\nHost: chat.test\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    )
}

/// Sends octets and gives what comes until the end. A server may end the connection before it has read
/// all of them.
pub(crate) async fn exchange(mut connection: Connection, octets: &[u8]) -> anyhow::Result<String> {
    connection.set_patience(PATIENCE);
    match connection.write(octets).await {
        Err(error) if !error.is_disconnect() => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let answer = match connection.read_to_end().await {
        Err(error) if error.is_disconnect() => Bytes::new(),
        answer => answer?,
    };
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// An error unless the answer has this status.
pub(crate) fn is(answer: &str, status: u16) -> anyhow::Result<()> {
    let line = format!("HTTP/1.1 {status} ");
    ensure!(answer.starts_with(&line), "not {status}: {answer}");
    Ok(())
}

#[tokio::test]
async fn a_post_is_delivered_once_however_often_it_comes() -> anyhow::Result<()> {
    let mut stranger = Stranger::new().await?;
    let message = stranger.writes()?;
    for _ in 0..3 {
        let answer = stranger
            .post(&stranger.envelope(), &message.to_bytes())
            .await?;
        is(&answer, 200)?;
        ensure!(answer.ends_with("\r\n\r\n250 OK"), "{answer}");
    }
    let other = stranger.writes()?;
    is(
        &stranger
            .post(&stranger.envelope(), &other.to_bytes())
            .await?,
        200,
    )?;
    stranger.has(&[&message, &other]).await
}

#[tokio::test]
async fn what_port_25_refuses_is_refused() -> anyhow::Result<()> {
    let mut stranger = Stranger::new().await?;
    let (carol, bob) = (stranger.carol.clone(), stranger.bob.address.clone());
    let good = stranger.writes()?;
    let other = ForeignDomain::new(stranger.relay.dns()?, &format!("{}.test", random_name(9)))?;
    let unsigned = mail::encrypted(&carol, &bob, 3000)?;
    let clear = mail::cleartext(&carol, &bob, "Read me.");
    let nobody = format!("{}@{}", random_name(9), stranger.relay.target.domain);
    let to = |recipient: &str| format!("X-Mail-From: {carol}\r\nX-Mail-To: {recipient}\r\n");
    let envelope = stranger.envelope();
    for (what, headers, message, status, reply) in [
        (
            "unsigned",
            &envelope,
            unsigned.clone(),
            403,
            "554 5.7.1 No DKIM signature",
        ),
        (
            "signed by another",
            &envelope,
            other.sign(&unsigned)?,
            403,
            "554 5.7.1 No DKIM",
        ),
        (
            "clear",
            &envelope,
            stranger.domain.sign(&clear)?,
            403,
            "523 5.7.1 ",
        ),
        ("unknown", &to(&nobody), good.clone(), 403, "550 5.1.1 "),
        (
            "relaying",
            &to("dave@elsewhere.test"),
            good.clone(),
            403,
            "5",
        ),
        ("nobody", &String::new(), good.clone(), 400, "5"),
    ] {
        let answer = stranger.post(headers, &message.to_bytes()).await?;
        is(&answer, status).context(what)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        ensure!(body.starts_with(reply), "{what}: {body}");
    }
    for line_end in ["\n", "\r"] {
        let text = String::from_utf8(good.to_bytes().to_vec())?;
        let text = text.replacen("\r\n\r\n", &format!("\r\nX: 1{line_end}Y: 2\r\n\r\n"), 1);
        let answer = stranger.post(&envelope, text.as_bytes()).await?;
        ensure!(!answer.starts_with("HTTP/1.1 2"), "{line_end:?}: {answer}");
    }
    is(&stranger.post(&envelope, &good.to_bytes()).await?, 200)?;
    stranger.has(&[&good]).await
}

#[tokio::test]
async fn no_report_will_go_to_a_domain_that_did_not_write() -> anyhow::Result<()> {
    let mut stranger = Stranger::new().await?;
    let message = stranger.writes()?;
    let headers = format!(
        "X-Mail-From: victim@elsewhere.test\r\nX-Mail-To: {}\r\n",
        stranger.bob.address
    );
    is(&stranger.post(&headers, &message.to_bytes()).await?, 200)?;
    let found = messages(&mut stranger.inbox, 1).await?;
    ensure!(
        found[0].message.starts_with(b"Return-Path: <>\r\n"),
        "a sender"
    );
    Ok(())
}

#[tokio::test]
async fn an_address_literal_is_where_the_connection_comes_from() -> anyhow::Result<()> {
    // Ours as loopback is, and no relay of any testbed.
    const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 7);
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 8);
    let mut stranger = Stranger::new().await?;
    stranger.carol = format!("carol@[{THERE}]").parse()?;
    let message = mail::encrypted(&stranger.carol, &stranger.bob.address, 3000)?;
    let body = message.to_bytes();
    for forged in [
        String::new(),
        format!("X-Real-IP: {THERE}\r\n"),
        format!("x-real-ip: {THERE}\r\nX-Real-IP: {THERE}\r\n"),
        format!("X_Real_IP: {THERE}\r\n"),
        format!("X-Forwarded-For: {THERE}\r\nForwarded: for={THERE}\r\n"),
    ] {
        let from = Connection::open_from(ELSEWHERE, stranger.endpoint()?, Security::TLS).await?;
        let head = request(&(forged.clone() + &stranger.envelope()), body.len());
        let answer = exchange(from, &[head.as_bytes(), &body].concat()).await?;
        is(&answer, 403).context(forged)?;
    }
    let from = Connection::open_from(THERE, stranger.endpoint()?, Security::TLS).await?;
    let head = request(&stranger.envelope(), body.len());
    is(
        &exchange(from, &[head.as_bytes(), &body].concat()).await?,
        200,
    )?;
    stranger.has(&[&message]).await
}

#[tokio::test]
async fn no_request_is_smuggled_inside_another() -> anyhow::Result<()> {
    // What follows a request without any length is another request, by the book: not one of these.
    let mut stranger = Stranger::new().await?;
    let (good, inner) = (stranger.writes()?, stranger.writes()?);
    let smuggled = {
        let body = inner.to_bytes();
        let head = request(&stranger.envelope(), body.len());
        [head.as_bytes(), &body].concat()
    };
    let size = smuggled.len();
    let chunk = format!("{size:x}\r\n");
    let chunked = [chunk.as_bytes(), &smuggled, b"\r\n0\r\n\r\n"].concat();
    let ended = [b"0\r\n\r\n", &smuggled[..]].concat();
    let envelope = stranger.envelope();
    let (whole, short) = (ended.len(), chunk.len());
    for (framing, body) in [
        // Who believes the length and who believes the chunks.
        (
            format!("Content-Length: {whole}\r\nTransfer-Encoding: chunked"),
            &ended,
        ),
        (
            format!("Content-Length: {short}\r\nTransfer-Encoding: chunked"),
            &chunked,
        ),
        (
            format!("Transfer-Encoding: chunked\r\nContent-Length: {whole}"),
            &ended,
        ),
        (
            format!("Content-Length: {whole}\r\nTransfer-Encoding : chunked"),
            &ended,
        ),
        (
            format!("Content-Length: {whole}\r\nTransfer-Encoding: xchunked"),
            &ended,
        ),
        (
            format!("Content-Length: {whole}\r\nTransfer-Encoding:\u{b}chunked"),
            &ended,
        ),
        (
            format!("Content-Length: {whole}\r\nTransfer-Encoding: identity, chunked"),
            &ended,
        ),
        (
            format!("Content-Length: {whole}\r\nTransfer_Encoding: chunked"),
            &ended,
        ),
        (
            format!("Content-Length: {whole}\r\nX: 1\nTransfer-Encoding: chunked"),
            &ended,
        ),
        (
            format!("Content-Length: {whole}\r\nX: 1\r\n Transfer-Encoding: chunked"),
            &ended,
        ),
        (
            format!("Content-Length: {whole}\r\nTransfer-Encoding:\r\n chunked"),
            &ended,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".to_owned(),
            &ended,
        ),
        // Which of two lengths.
        (
            format!("Content-Length: 0\r\nContent-Length: {size}"),
            &smuggled,
        ),
        (
            format!("Content-Length: {size}\r\nContent-Length: 0"),
            &smuggled,
        ),
        (format!("Content-Length: 0, {size}"), &smuggled),
        (format!("Content-Length: 0\r\n {size}"), &smuggled),
        (format!("Content-Length: +{size}"), &smuggled),
        (format!("Content-Length: 0x{size:x}"), &smuggled),
        (format!("Content-Length: {}{size}", u64::MAX), &smuggled),
        ("Content-Length: -1".to_owned(), &smuggled),
    ] {
        let head = format!(
            "POST /mxdeliv HTTP/1.1\r\nHost: chat.test\r\n{envelope}Connection: keep-alive\r\n\
             {framing}\r\n\r\n"
        );
        let mut connection = Connection::open(stranger.endpoint()?, Security::TLS).await?;
        connection.set_patience(PATIENCE);
        // What comes back is nginx's business; what is delivered is ours.
        let sent = async {
            connection.write(head.as_bytes()).await?;
            connection.write(body).await?;
            connection.half_close().await?;
            connection.read_to_end().await
        };
        match sent.await {
            Err(error) if !error.is_disconnect() => return Err(error).context(framing),
            Ok(_) | Err(_) => {}
        }
    }
    // By the book: two requests, one after the other, of which the second is for nobody.
    is(&stranger.post(&envelope, &good.to_bytes()).await?, 200)?;
    stranger.has(&[&good]).await
}

#[tokio::test]
async fn too_much_is_refused_before_it_is_there() -> anyhow::Result<()> {
    const GIBIBYTE: usize = 1 << 30;
    let mut stranger = Stranger::new().await?;
    let envelope = stranger.envelope();
    // By its length, at once.
    let connection = Connection::open(stranger.endpoint()?, Security::TLS).await?;
    let answer = exchange(connection, request(&envelope, GIBIBYTE).as_bytes()).await?;
    is(&answer, 413)?;
    // Without a length, when it turns out: what else comes is read for a moment and thrown away, so that the
    // client can read the answer.
    let mut connection = Connection::open(stranger.endpoint()?, Security::TLS).await?;
    let head = request(&envelope, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    connection.write(head.as_bytes()).await?;
    let piece = [b"100000\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
    let pieces = 1 + (stranger.relay.target.limits.max_message_size >> 20);
    for _ in 0..pieces {
        connection.write(&piece).await?;
    }
    let answer = connection.read_line("the answer").await?;
    is(std::str::from_utf8(&answer)?, 413)?;

    for headers in [
        "X-Flood: yes\r\n".repeat(100_000),
        format!("X-Flood: {}\r\n", "x".repeat(1 << 20)),
        format!("X-Mail-To: {}\r\n", stranger.bob.address).repeat(20_000),
    ] {
        let answer = stranger.post(&(envelope.clone() + &headers), b"x").await?;
        ensure!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    let good = stranger.writes()?;
    is(&stranger.post(&envelope, &good.to_bytes()).await?, 200)?;
    stranger.has(&[&good]).await
}

#[tokio::test]
async fn a_thousand_recipients_in_lines_or_in_one_are_let_in() -> anyhow::Result<()> {
    let mut stranger = Stranger::new().await?;
    let bob = stranger.bob.address.to_string();
    let sender = format!("X-Mail-From: {}\r\n", stranger.carol);
    let mut expected = Vec::new();
    for recipients in [
        format!("X-Mail-To: {bob}\r\n").repeat(1000),
        format!("X-Mail-To: {}\r\n", vec![bob.clone(); 1000].join(", ")),
        format!("X-Mail-To: {}\r\n", bob.to_uppercase()),
    ] {
        let message = stranger.writes()?;
        let answer = stranger
            .post(&(sender.clone() + &recipients), &message.to_bytes())
            .await?;
        is(&answer, 200)?;
        expected.push(message);
    }
    stranger.has(&expected.iter().collect::<Vec<_>>()).await
}

#[tokio::test]
async fn silent_clients_keep_nobody_out_and_are_sent_away() -> anyhow::Result<()> {
    let mut stranger = Stranger::new().await?;
    let envelope = stranger.envelope();
    let mut idlers = Vec::new();
    for number in 0..IDLERS {
        let mut connection = Connection::open(stranger.endpoint()?, Security::TLS).await?;
        let head = request(&envelope, 3000);
        // Some stop in the header section, some in the body.
        let octets = match number % 3 {
            0 => &head.as_bytes()[..20],
            1 => &head.as_bytes()[..head.len() - 2],
            _ => head.as_bytes(),
        };
        connection.write(octets).await?;
        connection.set_patience(PATIENCE);
        idlers.push(connection);
    }
    let good = stranger.writes()?;
    is(&stranger.post(&envelope, &good.to_bytes()).await?, 200)?;
    for mut idler in idlers {
        let end = idler.read_to_end().await;
        let sent_away = end
            .as_ref()
            .map_or_else(ClientError::is_disconnect, |_| true);
        ensure!(sent_away, "{end:?}");
    }
    stranger.has(&[&good]).await
}
