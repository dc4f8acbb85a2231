//! A cheap sender: bytes that were made beforehand, few writes, every reply checked.
//!
//! It shares the machine with the relay that it measures, so it does as little as possible.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use chatmail::Address;

use crate::client::smtp::SmtpClient;
use crate::client::tls::Security;
use crate::mail::Message;
use crate::relay::{PLAIN_PASSWORD, RelayOptions};
use crate::target::Target;

/// What stands after the last line of a message.
const FINAL_DOT: &[u8] = b".\r\n";

/// How long a reply may take; longer than Postfix waits for a milter.
const PATIENCE: Duration = Duration::from_secs(310);

/// A relay that throws mail away once it is accepted, with sending limits out of the way.
pub(super) fn accepting(options: RelayOptions) -> RelayOptions {
    let mut options = unlimited(options);
    options.acceptance_only = true;
    options
}

/// Sending limits out of the way. They are still looked at for each message.
pub(super) fn unlimited(options: RelayOptions) -> RelayOptions {
    let most = u32::MAX;
    options
        .with("max_user_send_per_minute", most)
        .with("max_user_send_burst_size", most)
        .with("max_user_recipients_per_minute", most)
}

/// A message as it goes over the wire after `DATA`, with the final dot. Clones share the bytes.
#[derive(Clone, Debug)]
pub(super) struct Wire(Bytes);

impl Wire {
    /// Makes the bytes.
    ///
    /// # Errors
    /// The message has a line that starts with a dot or does not end in CRLF: it would have to be
    /// changed.
    pub(super) fn new(message: &Message) -> anyhow::Result<Self> {
        let mut bytes = message.to_bytes();
        let dot = bytes.windows(3).any(|window| window == b"\r\n.");
        ensure!(
            !dot && bytes.ends_with(b"\r\n"),
            "a message that would have to be changed on its way"
        );
        bytes.extend_from_slice(FINAL_DOT);
        Ok(Self(bytes.into()))
    }
}

/// A client that is logged in and sends the same message again and again.
pub(super) struct Sender {
    client: SmtpClient,
    commands: String,
    wire: Wire,
}

impl Sender {
    /// Logs in to the submission port of a relay that was started with [`accepting`].
    ///
    /// # Errors
    /// The login does not succeed.
    pub(super) async fn login(
        target: &Target,
        sender: &Address,
        recipient: &Address,
        wire: Wire,
    ) -> anyhow::Result<Self> {
        let (endpoint, login) = (&target.submission, sender.to_string());
        let client = SmtpClient::login(endpoint, Security::Plain, &login, PLAIN_PASSWORD).await;
        let client = client.context("logging in to send")?;
        Ok(Self::new(client, sender, recipient, wire))
    }

    /// Logs in with TLS, as users do.
    ///
    /// # Errors
    /// The login does not succeed.
    pub(super) async fn login_with_tls(
        target: &Target,
        sender: &Address,
        recipient: &Address,
        wire: Wire,
    ) -> anyhow::Result<Self> {
        let (endpoint, login) = (&target.smtps, sender.to_string());
        let client = SmtpClient::login(endpoint, Security::TLS, &login, PLAIN_PASSWORD).await;
        let client = client.context("logging in to send")?;
        Ok(Self::new(client, sender, recipient, wire))
    }

    /// Connects to port 25 of a relay that was started with [`accepting`], as another relay would.
    ///
    /// # Errors
    /// The relay does not answer.
    pub(super) async fn outside(
        target: &Target,
        sender: &Address,
        recipient: &Address,
        wire: Wire,
    ) -> anyhow::Result<Self> {
        let mut client = SmtpClient::connect(&target.mx, Security::Plain).await?;
        client.hello().await?;
        Ok(Self::new(client, sender, recipient, wire))
    }

    fn new(mut client: SmtpClient, sender: &Address, recipient: &Address, wire: Wire) -> Self {
        client.set_patience(PATIENCE);
        Self {
            client,
            commands: commands(sender, recipient),
            wire,
        }
    }

    /// Sends the message; gives the time from the final dot to the reply.
    ///
    /// # Errors
    /// It is not accepted.
    pub(super) async fn send(&mut self) -> anyhow::Result<Duration> {
        self.begin().await?;
        self.client.raw(&self.wire.0).await?;
        self.accepted().await
    }

    /// Sends this message from now on.
    pub(super) fn take(&mut self, wire: Wire) {
        self.wire = wire;
    }

    /// Writes to this person from now on.
    pub(super) fn address(&mut self, sender: &Address, recipient: &Address) {
        self.commands = commands(sender, recipient);
    }

    /// Sends all of the message but its final dot.
    ///
    /// # Errors
    /// It is refused before its end.
    pub(super) async fn upload(&mut self) -> anyhow::Result<()> {
        self.begin().await?;
        let content = self.wire.0.strip_suffix(FINAL_DOT).unwrap_or(&self.wire.0);
        Ok(self.client.raw(content).await?)
    }

    /// Sends the final dot after [`Sender::upload`]; gives the time until the reply.
    ///
    /// # Errors
    /// The message is not accepted.
    pub(super) async fn finish(&mut self) -> anyhow::Result<Duration> {
        self.client.raw(FINAL_DOT).await?;
        self.accepted().await
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        self.client.raw(self.commands.as_bytes()).await?;
        for (command, code) in [("MAIL", 250), ("RCPT", 250), ("DATA", 354)] {
            self.client.reply(command).await?.expect(code, command)?;
        }
        Ok(())
    }

    async fn accepted(&mut self) -> anyhow::Result<Duration> {
        let dot = Instant::now();
        let reply = self.client.reply("the reply to the final dot").await?;
        let taken = dot.elapsed();
        reply.expect(250, "the final dot")?;
        Ok(taken)
    }
}

fn commands(sender: &Address, recipient: &Address) -> String {
    format!("MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_gets_its_final_dot() {
        let message = Message::new([("A", "b")], "text\r\n");
        let wire = Wire::new(&message).unwrap();
        assert_eq!(wire.0, &b"A: b\r\n\r\ntext\r\n.\r\n"[..]);
    }

    #[test]
    fn a_message_that_needs_stuffing_is_refused() {
        for body in ["text\r\n.\r\n", ".text\r\n", "text"] {
            let message = Message::new([("A", "b")], body);
            assert!(Wire::new(&message).is_err(), "{body:?}");
        }
    }
}
