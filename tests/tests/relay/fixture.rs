//! What the tests begin with: a relay, people with accounts on it, and their mail.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chatmail::{Address, Config};
use testbed::client::imap::Fetched;
use testbed::client::smtp::Transaction;
use testbed::client::{ClientError, Envelope, ImapClient, ImapError, Security, SmtpClient};
use testbed::deltachat::{Account, DeltaChat};
use testbed::foreign::{self, ForeignDomain};
use testbed::mail::{self, Message};
use testbed::{DomainKind, RelayOptions, Target, TestRelay};

/// How long anything may take that takes a moment: generous, since other tests run beside.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that changes.
const PAUSE: Duration = Duration::from_millis(50);

/// A relay where nobody runs into the sending rate.
pub(crate) fn unhurried() -> RelayOptions {
    RelayOptions::default()
        .with("max_user_send_burst_size", 10_000)
        .with("max_user_send_per_minute", 10_000)
}

/// The relay of all tests that leave it as they found it. It ends with the last of them.
pub(crate) fn shared_relay() -> anyhow::Result<Arc<TestRelay>> {
    static RELAY: Mutex<Weak<TestRelay>> = Mutex::new(Weak::new());
    shared(&RELAY, unhurried())
}

/// Relays of each kind that federate, for all tests that leave them as they found them: a named one,
/// then another, one with an underscore, one known by its address.
pub(crate) fn shared_federation() -> anyhow::Result<Arc<TestRelay>> {
    static RELAYS: Mutex<Weak<TestRelay>> = Mutex::new(Weak::new());
    shared(&RELAYS, every_kind())
}

/// The same relays with SMTP only.
pub(crate) fn shared_smtp_federation() -> anyhow::Result<Arc<TestRelay>> {
    static RELAYS: Mutex<Weak<TestRelay>> = Mutex::new(Weak::new());
    shared(&RELAYS, every_kind().by_smtp())
}

fn every_kind() -> RelayOptions {
    unhurried()
        .with_peer(DomainKind::Name)
        .with_peer(DomainKind::Underscore)
        .with_peer(DomainKind::IpLiteral)
}

/// What is shared, started unless it runs. It ends with the last of those who have it.
fn shared(place: &Mutex<Weak<TestRelay>>, options: RelayOptions) -> anyhow::Result<Arc<TestRelay>> {
    let mut known = place.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = known.upgrade() {
        return Ok(running);
    }
    let started = Arc::new(TestRelay::start(options)?);
    *known = Arc::downgrade(&started);
    Ok(started)
}

/// The settings that a relay's daemons run with.
pub(crate) fn config(target: &Target) -> anyhow::Result<Config> {
    Ok(Config::load(&target.chatmail_ini)?.0)
}

/// A name that nobody else has.
pub(crate) fn random_name(length: usize) -> String {
    use rand::Rng as _;

    let mut random = rand::rng();
    (0..length)
        .map(|_| random.random_range('a'..='z'))
        .collect()
}

/// Somebody with an address and a password. The account comes with the first login.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) address: Address,
    pub(crate) password: String,
}

impl Person {
    /// Invents a person that nobody has heard of.
    pub(crate) fn new(target: &Target) -> anyhow::Result<Self> {
        let address = format!("{}@{}", random_name(9), target.domain);
        Ok(Self {
            address: address.parse()?,
            password: random_name(20),
        })
    }

    /// Logs in and opens the inbox.
    pub(crate) async fn inbox(&self, target: &Target) -> anyhow::Result<ImapClient> {
        let mut inbox = self.log_in(target).await?;
        inbox.select("INBOX").await?;
        Ok(inbox)
    }

    /// Logs in over IMAP.
    pub(crate) async fn log_in(&self, target: &Target) -> Result<ImapClient, ImapError> {
        ImapClient::login(&target.imap, &self.address.to_string(), &self.password).await
    }

    /// Logs in to send.
    pub(crate) async fn submission(&self, target: &Target) -> anyhow::Result<SmtpClient> {
        let login = self.address.to_string();
        let client =
            SmtpClient::login(&target.smtps, Security::TLS, &login, &self.password).await?;
        Ok(client)
    }

    /// A short encrypted message to somebody.
    pub(crate) fn writes_to(&self, recipient: &Self) -> anyhow::Result<Message> {
        mail::encrypted(&self.address, &recipient.address, 3000)
    }
}

/// Two people with accounts, the first one logged in to send, the second one at the inbox.
pub(crate) struct Correspondents {
    pub(crate) alice: Person,
    pub(crate) bob: Person,
    pub(crate) submission: SmtpClient,
    pub(crate) inbox: ImapClient,
}

impl Correspondents {
    pub(crate) async fn new(target: &Target) -> anyhow::Result<Self> {
        let (alice, bob) = (Person::new(target)?, Person::new(target)?);
        let submission = alice.submission(target).await?;
        let inbox = bob.inbox(target).await?;
        Ok(Self {
            alice,
            bob,
            submission,
            inbox,
        })
    }

    /// The first one sends the second one a message.
    pub(crate) async fn send(&mut self, message: &Message) -> anyhow::Result<Transaction> {
        let envelope = Envelope::new(&self.alice.address, &self.bob.address);
        Ok(send(&mut self.submission, &envelope, message).await?)
    }

    /// The first one begins a message to the second one: the content is to follow.
    pub(crate) async fn begin_content(&mut self) -> Result<&mut SmtpClient, ClientError> {
        let (alice, bob) = (&self.alice.address, &self.bob.address);
        let smtp = &mut self.submission;
        for (command, code) in [
            (format!("MAIL FROM:<{alice}>"), 250),
            (format!("RCPT TO:<{bob}>"), 250),
            ("DATA".to_owned(), 354),
        ] {
            smtp.command(&command).await?.expect(code, &command)?;
        }
        Ok(smtp)
    }

    /// The first one sends a short encrypted message, which must be accepted and arrive after
    /// `before` others.
    pub(crate) async fn send_good(&mut self, before: usize) -> anyhow::Result<()> {
        let message = self.alice.writes_to(&self.bob)?;
        accepted(&self.send(&message).await?)?;
        let arrived = messages(&mut self.inbox, before + 1).await?;
        ensure!(arrived.len() == before + 1, "{} messages", arrived.len());
        let last = arrived.last().context("an empty inbox")?;
        ensure!(last.message.ends_with(&message.body), "another message");
        Ok(())
    }
}

/// A new Delta Chat account with an address at a relay, online.
pub(crate) async fn delta_chat_account(
    clients: &DeltaChat,
    target: &Target,
) -> anyhow::Result<(Person, Account)> {
    let person = Person::new(target)?;
    let mut account = clients.add_account().await?;
    let address = person.address.to_string();
    account.login(target, &address, &person.password).await?;
    Ok((person, account))
}

/// Somebody at a domain without a relay, whose mail server we play at port 25, and somebody with an
/// account, at the inbox.
pub(crate) struct Outsider {
    pub(crate) domain: ForeignDomain,
    pub(crate) address: Address,
    pub(crate) smtp: SmtpClient,
    pub(crate) bob: Person,
    pub(crate) inbox: ImapClient,
}

impl Outsider {
    pub(crate) async fn new(relay: &TestRelay) -> anyhow::Result<Self> {
        let domain = ForeignDomain::new(relay.dns()?, &format!("{}.test", random_name(9)))?;
        let address = format!("carol@{}", domain.name()).parse()?;
        let bob = Person::new(&relay.target)?;
        let inbox = bob.inbox(&relay.target).await?;
        let smtp = foreign::connect(&relay.target).await?;
        Ok(Self {
            domain,
            address,
            smtp,
            bob,
            inbox,
        })
    }

    /// A short encrypted message that nobody has signed.
    pub(crate) fn writes(&self) -> anyhow::Result<Message> {
        mail::encrypted(&self.address, &self.bob.address, 3000)
    }

    /// Sends a message as it is.
    pub(crate) async fn send(&mut self, message: &Message) -> anyhow::Result<Transaction> {
        let envelope = Envelope::new(&self.address, &self.bob.address);
        Ok(send(&mut self.smtp, &envelope, message).await?)
    }

    /// Sends a short encrypted message with a signature.
    pub(crate) async fn send_signed(&mut self) -> anyhow::Result<Transaction> {
        let message = self.domain.sign(&self.writes()?)?;
        self.send(&message).await
    }

    /// Sends what must be accepted and arrive after `before` others, and gives what arrived last.
    pub(crate) async fn delivers(
        &mut self,
        message: &Message,
        before: usize,
    ) -> anyhow::Result<Vec<u8>> {
        accepted(&self.send(message).await?)?;
        let arrived = messages(&mut self.inbox, before + 1).await?;
        ensure!(arrived.len() == before + 1, "{} messages", arrived.len());
        let last = arrived.last().context("an empty inbox")?;
        ensure!(last.message.ends_with(&message.body), "another message");
        Ok(last.message.to_vec())
    }
}

/// Sends a message. A transaction that was refused before its content is over all the same
/// afterwards.
pub(crate) async fn send(
    client: &mut SmtpClient,
    envelope: &Envelope,
    message: &Message,
) -> Result<Transaction, ClientError> {
    let transaction = client.send(envelope, &message.content()).await?;
    if transaction.content.is_none() {
        let reply = client.command("RSET").await?;
        // Or Postfix has had enough of this client, whose next command then fails.
        if reply.code != 421 {
            reply.expect(250, "RSET")?;
        }
    }
    Ok(transaction)
}

/// An error unless the relay has taken over the message.
pub(crate) fn accepted(transaction: &Transaction) -> anyhow::Result<()> {
    ensure!(
        transaction.is_accepted(),
        "refused: {}",
        transaction.verdict()
    );
    Ok(())
}

/// An error unless the message was refused after the final dot, in exactly these words.
pub(crate) fn refused_at_dot(transaction: &Transaction, reply: &str) -> anyhow::Result<()> {
    let answer = transaction.content.as_ref();
    let answer = answer.with_context(|| format!("refused early: {}", transaction.verdict()))?;
    ensure!(
        answer.to_string() == reply,
        "expected {reply}, got {answer}"
    );
    Ok(())
}

/// Waits until the inbox holds at least `count` messages and fetches all there are.
pub(crate) async fn messages(inbox: &mut ImapClient, count: usize) -> anyhow::Result<Vec<Fetched>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = inbox.select("INBOX").await?.exists;
        if usize::try_from(found)? >= count {
            return Ok(inbox.fetch("1:*").await?);
        }
        ensure!(
            Instant::now() < deadline,
            "{found} of {count} messages arrived"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a program has counted under a name, as its metrics at an address tell.
pub(crate) async fn counted(metrics: SocketAddr, name: &str) -> anyhow::Result<u64> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut stream = tokio::net::TcpStream::connect(metrics).await?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.map_or(Ok(0), |value| value.trim().parse())?)
}

/// Waits until something is so.
pub(crate) async fn eventually(
    what: &str,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
