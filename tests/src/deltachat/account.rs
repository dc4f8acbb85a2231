//! One Delta Chat account: logging in, making contact, sending and receiving.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::PATIENCE;
use super::rpc::{Event, Rpc};
use crate::target::Target;

/// How many of the last log lines an error shows.
const REMEMBERED: usize = 20;

/// A chat, as one account numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ChatId(u32);

/// A message that came in, with its file downloaded.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncomingMessage {
    /// The message itself.
    pub id: MessageId,
    /// The chat it belongs to.
    pub chat_id: ChatId,
    /// Its text.
    pub text: String,
    /// Its file, when it has one.
    pub file: Option<PathBuf>,
    /// What the sender called the file.
    pub file_name: Option<String>,
    /// How a client shows it: `Text`, `Image`, `File`, …
    pub view_type: String,
    /// Whether it was encrypted and signed end to end.
    pub show_padlock: bool,
    download_state: String,
    is_info: bool,
}

/// An account of a [`super::DeltaChat`].
pub struct Account {
    rpc: Rpc,
    id: u32,
    events: mpsc::UnboundedReceiver<Event>,
    /// Events that no wait has asked for yet, oldest first.
    unclaimed: VecDeque<Event>,
    log: VecDeque<String>,
}

impl Account {
    pub(super) async fn add(rpc: Rpc) -> anyhow::Result<Self> {
        let id = serde_json::from_value(rpc.call("add_account", json!([])).await?)?;
        let events = rpc.events(id);
        Ok(Self {
            rpc,
            id,
            events,
            unclaimed: VecDeque::new(),
            log: VecDeque::new(),
        })
    }

    /// Logs in at the relay over IMAPS and SMTPS, accepting any certificate, and waits until the
    /// account idles at its inbox.
    ///
    /// # Errors
    /// The relay refuses, or the inbox is not idle within [`PATIENCE`].
    pub async fn login(
        &mut self,
        target: &Target,
        address: &str,
        password: &str,
    ) -> anyhow::Result<()> {
        let transport = json!({
            "addr": address,
            "password": password,
            "imapServer": target.imap.host,
            "imapPort": target.imap.port,
            "imapSecurity": "ssl",
            "smtpServer": target.smtps.host,
            "smtpPort": target.smtps.port,
            "smtpSecurity": "ssl",
            "certificateChecks": "acceptInvalidCertificates",
        });
        let configured = self
            .call("add_or_update_transport", json!([self.id, transport]))
            .await;
        self.online(configured).await
    }

    /// Makes the profile that a `dcaccount:` or `dclogin:` link is for, as if its QR code had been
    /// scanned, and waits until the account idles at its inbox.
    ///
    /// # Errors
    /// The relay refuses, or the inbox is not idle within [`PATIENCE`].
    pub async fn login_by_link(&mut self, link: &str) -> anyhow::Result<()> {
        let configured = self
            .call("add_transport_from_qr", json!([self.id, link]))
            .await;
        self.online(configured).await
    }

    async fn online(&mut self, configured: anyhow::Result<Value>) -> anyhow::Result<()> {
        if let Err(error) = configured {
            return Err(self.told(error.context("logging in")));
        }
        self.call("start_io", json!([self.id])).await?;
        self.wait("the inbox to idle", PATIENCE, |event| {
            event.kind == "ImapInboxIdle"
        })
        .await?;
        Ok(())
    }

    /// The address that the account has got.
    ///
    /// # Errors
    /// The core failed, or the account has none yet.
    pub async fn address(&self) -> anyhow::Result<String> {
        let configured = json!([self.id, "configured_addr"]);
        let address = self.call("get_config", configured).await?;
        serde_json::from_value(address).context("an account without an address")
    }

    /// Sends a text.
    ///
    /// # Errors
    /// The core failed; whether the relay takes the message is [`Account::sent`]'s matter.
    pub async fn send_text(&self, chat: ChatId, text: &str) -> anyhow::Result<MessageId> {
        self.send(chat, json!({ "text": text })).await
    }

    /// Sends a file as it is; an image is not made smaller.
    ///
    /// # Errors
    /// The core failed; whether the relay takes the message is [`Account::sent`]'s matter.
    pub async fn send_file(&self, chat: ChatId, file: &Path) -> anyhow::Result<MessageId> {
        self.send(chat, json!({ "file": file, "viewtype": "File" }))
            .await
    }

    /// Sends an app.
    ///
    /// # Errors
    /// The core failed; whether the relay takes the message is [`Account::sent`]'s matter.
    pub async fn send_app(&self, chat: ChatId, file: &Path) -> anyhow::Result<MessageId> {
        self.send(chat, json!({ "file": file, "viewtype": "Webxdc" }))
            .await
    }

    /// Tells the others in the chat that realtime data is wanted here, for an app that was sent or received.
    ///
    /// # Errors
    /// The core failed.
    pub async fn advertise_realtime(&self, app: MessageId) -> anyhow::Result<()> {
        self.call(
            "send_webxdc_realtime_advertisement",
            json!([self.id, app.0]),
        )
        .await?;
        Ok(())
    }

    /// Sends realtime data to whoever is there at the moment; others never see it.
    ///
    /// # Errors
    /// The core failed.
    pub async fn send_realtime(&self, app: MessageId, data: &[u8]) -> anyhow::Result<()> {
        self.call("send_webxdc_realtime_data", json!([self.id, app.0, data]))
            .await?;
        Ok(())
    }

    /// Waits until the relay has taken over the message.
    ///
    /// # Errors
    /// The relay refused it, or the time is over.
    pub async fn sent(&mut self, message: MessageId, limit: Duration) -> anyhow::Result<()> {
        let about = move |event: &Event| {
            let ended = matches!(event.kind.as_str(), "MsgDelivered" | "MsgFailed");
            ended && event.number("msgId") == Some(message.0)
        };
        let event = self.wait("the message to be sent", limit, about).await?;
        if event.kind == "MsgFailed" {
            let failed = self
                .call("get_message", json!([self.id, message.0]))
                .await?;
            let why = failed
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or("no reason")
                .to_owned();
            return Err(self.told(anyhow!("the message was not sent: {why}")));
        }
        Ok(())
    }

    /// Waits until the app says of a message that it has failed, by what a report told it.
    ///
    /// # Errors
    /// The time is over.
    pub async fn failed(&mut self, message: MessageId, limit: Duration) -> anyhow::Result<()> {
        self.becomes("MsgFailed", message, limit).await
    }

    /// Waits until the app says of a message that its recipient has read it.
    ///
    /// # Errors
    /// The time is over.
    pub async fn read(&mut self, message: MessageId, limit: Duration) -> anyhow::Result<()> {
        self.becomes("MsgRead", message, limit).await
    }

    async fn becomes(
        &mut self,
        kind: &str,
        message: MessageId,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let about = |event: &Event| event.kind == kind && event.number("msgId") == Some(message.0);
        self.wait(kind, limit, about).await?;
        Ok(())
    }

    /// How many of those who got a message have said that they read it.
    ///
    /// # Errors
    /// The core failed.
    pub async fn readers(&self, message: MessageId) -> anyhow::Result<u32> {
        let count = self
            .call(
                "get_message_read_receipt_count",
                json!([self.id, message.0]),
            )
            .await?;
        Ok(serde_json::from_value(count)?)
    }

    /// Shows somebody a message; by default its sender gets a receipt.
    ///
    /// # Errors
    /// The core failed.
    pub async fn mark_seen(&self, message: &IncomingMessage) -> anyhow::Result<()> {
        self.call("markseen_msgs", json!([self.id, [message.id]]))
            .await?;
        Ok(())
    }

    /// Waits for a message from somebody and downloads its file. What the core itself writes into
    /// a chat is passed over.
    ///
    /// # Errors
    /// The time is over.
    pub async fn receive(&mut self, limit: Duration) -> anyhow::Result<IncomingMessage> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self
                .wait("a message", left, |event| event.kind == "IncomingMsg")
                .await?;
            let id = event.number("msgId").context("IncomingMsg without msgId")?;
            let message = self.message(id).await?;
            if !message.is_info {
                return self.downloaded(message, deadline).await;
            }
        }
    }

    /// Waits for the first event, among those that no wait has claimed, for which `wanted` is true.
    /// `awaited` is for the error, which also shows the account's last log lines.
    ///
    /// # Errors
    /// The time is over or the program has ended.
    pub async fn wait(
        &mut self,
        awaited: &str,
        limit: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> anyhow::Result<Event> {
        let deadline = Instant::now() + limit;
        if let Some(at) = self.unclaimed.iter().position(&wanted) {
            return self.unclaimed.remove(at).context("the event is gone");
        }
        loop {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) if wanted(&event) => return Ok(event),
                Ok(Some(event)) => self.keep(event),
                Ok(None) => bail!("Delta Chat ended while waiting for {awaited}"),
                Err(_) => {
                    return Err(self.told(anyhow!("waited {limit:?} for {awaited}")));
                }
            }
        }
    }

    /// Logs out and forgets the account on this device; the relay keeps it.
    ///
    /// # Errors
    /// The core failed.
    pub async fn remove(self) -> anyhow::Result<()> {
        self.call("remove_account", json!([self.id])).await?;
        Ok(())
    }

    /// Calls any method of the core; `params` is the array of its arguments, the account's
    /// [`Account::id`] among them.
    ///
    /// # Errors
    /// The core refuses or does not answer.
    pub async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        Ok(self.rpc.call(method, params).await?)
    }

    /// The number by which the core knows the account.
    pub fn id(&self) -> u32 {
        self.id
    }

    async fn send(&self, chat: ChatId, data: Value) -> anyhow::Result<MessageId> {
        let message = self
            .call("send_msg", json!([self.id, chat.0, data]))
            .await?;
        Ok(MessageId(serde_json::from_value(message)?))
    }

    async fn message(&self, id: u32) -> anyhow::Result<IncomingMessage> {
        let message = self.call("get_message", json!([self.id, id])).await?;
        serde_json::from_value(message).context("reading a message")
    }

    async fn downloaded(
        &mut self,
        mut message: IncomingMessage,
        deadline: Instant,
    ) -> anyhow::Result<IncomingMessage> {
        let MessageId(id) = message.id;
        if message.download_state == "Available" {
            let params = json!([self.id, id]);
            match self.call("download_full_message", params).await {
                // The core has just queued it by itself, and cannot do so twice.
                Err(error) if error.to_string().contains("download.rfc724_mid") => {}
                asked => drop(asked?),
            }
        }
        while message.download_state != "Done" {
            let left = deadline.saturating_duration_since(Instant::now());
            self.wait("the whole message", left, |event| {
                event.kind == "MsgsChanged" && event.number("msgId") == Some(id)
            })
            .await?;
            message = self.message(id).await?;
            if matches!(
                message.download_state.as_str(),
                "Failure" | "Undecipherable"
            ) {
                let state = &message.download_state;
                return Err(self.told(anyhow!("the message cannot be downloaded: {state}")));
            }
        }
        Ok(message)
    }

    fn keep(&mut self, event: Event) {
        match event.message() {
            Some(text) => {
                self.log.push_back(format!("{}: {text}", event.kind));
                if self.log.len() > REMEMBERED {
                    self.log.pop_front();
                }
            }
            None => self.unclaimed.push_back(event),
        }
    }

    /// The error with what the account logged last.
    fn told(&mut self, error: anyhow::Error) -> anyhow::Error {
        while let Ok(event) = self.events.try_recv() {
            self.keep(event);
        }
        let log: Vec<_> = self.log.iter().map(String::as_str).collect();
        anyhow!("{error:#}; the client's last words:\n{}", log.join("\n"))
    }
}

/// A message, as one account numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct MessageId(u32);
