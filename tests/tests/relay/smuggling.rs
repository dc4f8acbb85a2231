//! SMTP smuggling: what is no end of a message to us, but to some other server, with another message
//! behind it. No second message ever comes into being, from outside as from our own users.

use anyhow::{Context as _, ensure};
use testbed::TestRelay;
use testbed::client::{Envelope, SmtpClient};
use testbed::foreign::{self, ForeignDomain};
use testbed::mail::{self, Message};

use crate::fixture::{Person, accepted, messages, send, unhurried};

/// Ends of messages that are none, in the pieces in which they are written.
const SEQUENCES: &[(&str, &[&str])] = &[
    ("LF . LF", &["\n.\n"]),
    ("LF . CRLF", &["\n.\r\n"]),
    ("CRLF . LF", &["\r\n.\n"]),
    ("CR . CR", &["\r.\r"]),
    ("CR . CRLF", &["\r.\r\n"]),
    ("CRLF . CR", &["\r\n.\r"]),
    ("CRLF . CR LF with a blank between", &["\r\n.\r \n"]),
    ("CRLF NUL . CRLF", &["\r\n\0.\r\n"]),
    ("CRLF . NUL CRLF", &["\r\n.\0\r\n"]),
    ("CRLF . blank CRLF", &["\r\n. \r\n"]),
    ("CRLF .. CRLF", &["\r\n..\r\n"]),
    ("CRLF CR . CRLF", &["\r\n\r.\r\n"]),
    ("LF CR . CR LF", &["\n\r.\r\n"]),
    ("LF . LF in three pieces", &["\n", ".", "\n"]),
    ("CRLF . LF in three pieces", &["\r\n", ".", "\n"]),
    ("CR and LF . CR apart", &["\r", ".\r"]),
    ("next line . next line", &["\u{85}.\u{85}"]),
    ("line separator . line separator", &["\u{2028}.\u{2028}"]),
];

/// Who smuggles.
enum Smuggler {
    /// One of our users.
    User(Person),
    /// A domain elsewhere.
    Domain(ForeignDomain),
}

impl Smuggler {
    fn address(&self) -> String {
        match self {
            Self::User(person) => person.address.to_string(),
            Self::Domain(domain) => format!("alice@{}", domain.name()),
        }
    }

    async fn connect(&self, relay: &TestRelay) -> anyhow::Result<SmtpClient> {
        match self {
            Self::User(person) => person.submission(&relay.target).await,
            Self::Domain(_) => Ok(foreign::connect(&relay.target).await?),
        }
    }

    fn message(&self, to: &Person) -> anyhow::Result<Message> {
        let message = mail::encrypted(&self.address().parse()?, &to.address, 3000)?;
        match self {
            Self::User(_) => Ok(message),
            Self::Domain(domain) => domain.sign(&message),
        }
    }
}

#[tokio::test]
async fn our_users_smuggle_nothing() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let alice = Person::new(&relay.target)?;
    nothing_is_smuggled(&relay, &Smuggler::User(alice)).await?;
    relay.stop()
}

#[tokio::test]
async fn other_relays_smuggle_nothing() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let domain = ForeignDomain::new(relay.dns()?, "peer.test")?;
    nothing_is_smuggled(&relay, &Smuggler::Domain(domain)).await?;
    relay.stop()
}

async fn nothing_is_smuggled(relay: &TestRelay, smuggler: &Smuggler) -> anyhow::Result<()> {
    let bob = Person::new(&relay.target)?;
    let mut inbox = bob.inbox(&relay.target).await?;
    for (before, (what, pieces)) in SEQUENCES.iter().enumerate() {
        let mut client = smuggler.connect(relay).await?;
        smuggles(&mut client, smuggler, &bob, pieces)
            .await
            .with_context(|| (*what).to_owned())?;

        // Only what is sent in the ordinary way arrives.
        let mut client = smuggler.connect(relay).await?;
        let message = smuggler.message(&bob)?;
        let envelope = Envelope::new(smuggler.address(), &bob.address);
        accepted(&send(&mut client, &envelope, &message).await?)?;
        let arrived = messages(&mut inbox, before + 1).await?;
        ensure!(arrived.len() == before + 1, "{what}: a second message");
        ensure!(
            arrived
                .iter()
                .any(|found| found.message.ends_with(&message.body)),
            "{what}: another message"
        );
    }
    Ok(())
}

/// Sends a message with what is no end in it, then commands and another message, then the true end.
/// There must be one reply, a refusal, or the relay hangs up.
async fn smuggles(
    client: &mut SmtpClient,
    smuggler: &Smuggler,
    to: &Person,
    pieces: &[&str],
) -> anyhow::Result<()> {
    let (from, to_address) = (smuggler.address(), &to.address);
    for (command, code) in [
        (format!("MAIL FROM:<{from}>"), 250),
        (format!("RCPT TO:<{to_address}>"), 250),
        ("DATA".to_owned(), 354),
    ] {
        client.command(&command).await?.expect(code, &command)?;
    }
    let mut outer = smuggler.message(to)?.to_bytes();
    outer.truncate(outer.len() - 2);
    let inner = smuggler.message(to)?.to_bytes();
    let commands = format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to_address}>\r\nDATA\r\n");
    let mut writes = vec![outer];
    writes.extend(pieces.iter().map(|piece| piece.as_bytes().to_vec()));
    writes.push([commands.as_bytes(), &inner, b"\r\n.\r\n"].concat());
    for write in writes {
        // A relay that has hung up at the sequence takes no more.
        if let Err(error) = client.raw(&write).await {
            ensure!(error.is_disconnect(), "{error}");
            return Ok(());
        }
    }
    match client.reply("the reply to the content").await {
        Ok(reply) => ensure!((500..600).contains(&reply.code), "{reply}"),
        Err(error) => {
            ensure!(error.is_disconnect(), "{error}");
            return Ok(());
        }
    }
    // Had the relay read two messages, the next reply would be one to the smuggled commands.
    match client.command("NOOP").await {
        Ok(reply) => ensure!(reply.code == 250, "a reply too many: {reply}"),
        Err(error) => ensure!(error.is_disconnect(), "{error}"),
    }
    Ok(())
}

/// The one true end, however it is cut into packets.
#[tokio::test]
async fn the_end_of_a_message_may_come_in_pieces() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let domain = ForeignDomain::new(relay.dns()?, "peer.test")?;
    let smuggler = Smuggler::Domain(domain);
    let bob = Person::new(&relay.target)?;
    let mut inbox = bob.inbox(&relay.target).await?;
    let mut client = smuggler.connect(&relay).await?;
    let ends: [&[&str]; 4] = [
        &["\r\n.\r\n"],
        &["\r\n.", "\r\n"],
        &["\r", "\n", ".", "\r", "\n"],
        &["\r\n.\r", "\n"],
    ];
    for (before, pieces) in ends.iter().enumerate() {
        let message = smuggler.message(&bob)?;
        for (command, code) in [
            (format!("MAIL FROM:<{}>", smuggler.address()), 250),
            (format!("RCPT TO:<{}>", bob.address), 250),
            ("DATA".to_owned(), 354),
        ] {
            client.command(&command).await?.expect(code, &command)?;
        }
        let mut content = message.to_bytes();
        content.truncate(content.len() - 2);
        client.raw(&content).await?;
        for piece in *pieces {
            client.raw(piece.as_bytes()).await?;
        }
        client.reply("the end").await?.expect(250, "the end")?;
        let arrived = messages(&mut inbox, before + 1).await?;
        ensure!(
            arrived
                .iter()
                .any(|found| found.message.ends_with(&message.body)),
            "{pieces:?}: another message"
        );
    }
    relay.stop()
}
