//! Somebody with an account on a machine: they log in, write, and read, over the LAN.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use testbed::client::imap::Argument;
use testbed::client::{Envelope, ImapClient, ImapError, Security, SmtpClient};
use testbed::machine::{Lan, Machine, PATIENCE};
use testbed::mail;
use testbed::target::Endpoint;

/// Delivers a message of so many octets, as mxdeliv-bridge does, and prints the last reply.
const DELIVERY: &str = r#"
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(60)
    client.connect("/run/dovecot/lmtp")
    replies = client.makefile("r", newline="\r\n")
    def reply():
        line = replies.readline()
        while line[3:4] == "-":
            line = replies.readline()
        return line.strip()
    reply()
    body = "From: <bob@two.test>\r\n\r\n" + ("x" * 78 + "\r\n") * (int(sys.argv[2]) // 80) + ".\r\n"
    for command in ["LHLO one", "MAIL FROM:<bob@two.test>", f"RCPT TO:<{sys.argv[1]}>", "DATA", body]:
        client.sendall(command.encode() + (b"" if command is body else b"\r\n"))
        last = reply()
        if last[:1] not in "23":
            break
    print(last)
"#;

/// Between two looks into a mailbox.
const PAUSE: Duration = Duration::from_millis(200);

/// A person, and the machine on which they have their account.
pub(crate) struct Person<'a> {
    pub(crate) lan: &'a Lan,
    pub(crate) machine: &'a Machine,
    pub(crate) address: &'a str,
    pub(crate) password: &'a str,
}

impl Person<'_> {
    /// Logs in, which makes the account if there is none; `false` when the password is wrong.
    pub(crate) fn logs_in(&self) -> anyhow::Result<bool> {
        on_the_lan(self.lan, async || match self.imap().await {
            Ok(client) => {
                client.logout().await?;
                Ok(true)
            }
            Err(ImapError::AuthenticationFailed { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        })
    }

    /// Sends an encrypted message, and gives its `Message-ID`.
    pub(crate) fn writes_to(&self, recipient: &str) -> anyhow::Result<String> {
        let message = mail::encrypted(&self.address.parse()?, &recipient.parse()?, 2000)?;
        let id = message
            .header("Message-ID")
            .context("no Message-ID")?
            .to_owned();
        on_the_lan(self.lan, async || {
            let endpoint = Endpoint::new(self.machine.address().into(), 465);
            let mut client =
                SmtpClient::login(&endpoint, Security::TLS, self.address, self.password).await?;
            let envelope = Envelope::new(self.address, recipient);
            let sent = client.send(&envelope, &message.content()).await?;
            ensure!(sent.is_accepted(), "{}", sent.verdict());
            client.quit().await?;
            Ok(id)
        })
    }

    /// All messages in the inbox.
    pub(crate) fn reads(&self) -> anyhow::Result<Vec<String>> {
        on_the_lan(self.lan, async || {
            let mut client = self.imap().await?;
            client.select("INBOX").await?;
            let fetched = client.fetch("1:*").await?;
            client.logout().await?;
            let text = |message: &[u8]| String::from_utf8_lossy(message).into_owned();
            Ok(fetched
                .iter()
                .map(|fetched| text(&fetched.message))
                .collect())
        })
    }

    /// Waits until each of these is there exactly once, by its `Message-ID`, and nothing else.
    pub(crate) fn has_exactly(&self, ids: &[String]) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let messages = self.reads()?;
            let counts: Vec<_> = ids
                .iter()
                .map(|id| {
                    messages
                        .iter()
                        .filter(|message| message.contains(id))
                        .count()
                })
                .collect();
            if messages.len() == ids.len() && counts.iter().all(|count| *count == 1) {
                return Ok(messages);
            }
            ensure!(
                Instant::now() < deadline && messages.len() <= ids.len(),
                "{} has {} messages, of {} each {counts:?} times\n{}",
                self.address,
                messages.len(),
                ids.len(),
                self.machine.journal()?
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Leaves a device's token with the relay.
    pub(crate) fn sets_token(&self, token: &str) -> anyhow::Result<()> {
        on_the_lan(self.lan, async || {
            let mut client = self.imap().await?;
            let setting = format!("SETMETADATA INBOX (/private/devicetoken \"{token}\")");
            client.command(&setting).await?;
            Ok(client.logout().await?)
        })
    }

    /// What the relay knows of their devices.
    pub(crate) fn tokens(&self) -> anyhow::Result<String> {
        on_the_lan(self.lan, async || {
            let mut client = self.imap().await?;
            let asking = Argument::Text("GETMETADATA INBOX /private/devicetoken".to_owned());
            let answer = client.compose(&[asking]).await?;
            client.logout().await?;
            let literals = answer.untagged.iter().filter_map(|line| line.literal());
            let found = literals.map(|value| String::from_utf8_lossy(value).into_owned());
            Ok(found.collect())
        })
    }

    /// Waits for mail, with no message of which it is told, while something happens; then is told of one. How many there
    /// were in the inbox, and how many there are then.
    pub(crate) fn hears_after(
        &self,
        what: impl FnOnce() -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<[u32; 2]> {
        on_the_lan(self.lan, async || {
            let mut client = self.imap().await?;
            let before = client.select("INBOX").await?.exists;
            let mut idle = client.idle().await?;
            what()?;
            let now = idle.exists(PATIENCE).await?;
            idle.done().await?;
            client.logout().await?;
            Ok([before, now])
        })
    }

    /// Is logged in while something happens, which must end the session; what that gave.
    pub(crate) fn is_thrown_out_by<T: Send>(
        &self,
        what: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        on_the_lan(self.lan, async || {
            let mut client = self.imap().await?;
            client.select("INBOX").await?;
            drop(client.idle().await?);
            let done = what()?;
            let ended = client.connection().read_to_end().await;
            ended.context("the session goes on")?;
            Ok(done)
        })
    }

    async fn imap(&self) -> Result<ImapClient, ImapError> {
        let endpoint = Endpoint::new(self.machine.address().into(), 993);
        ImapClient::login(&endpoint, self.address, self.password).await
    }
}

/// Does something on a thread of its own, which is on the LAN with all its sockets.
pub(crate) fn on_the_lan<T: Send>(
    lan: &Lan,
    what: impl AsyncFnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    lan.network().enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(what())
    })?
}

/// Has Dovecot take a message of so many octets, as mxdeliv-bridge hands them over; gives the last reply.
pub(crate) fn deliver(machine: &Machine, recipient: &str, octets: usize) -> anyhow::Result<String> {
    machine.run_ok(&["python3", "-c", DELIVERY, recipient, &octets.to_string()])
}
