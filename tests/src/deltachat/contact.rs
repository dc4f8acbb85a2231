//! Making contact, and groups: securejoin, from the invitation on.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::account::{Account, ChatId};
use super::rpc::Event;

/// What both sides say when the handshake is over.
const COMPLETE: u32 = 1000;

impl Account {
    /// The text of the QR code with which others make contact.
    ///
    /// # Errors
    /// The core failed.
    pub async fn invitation(&self) -> anyhow::Result<String> {
        self.invitation_to(None).await
    }

    /// The text of the QR code with which others make contact and come into a group.
    ///
    /// # Errors
    /// The core failed.
    pub async fn group_invitation(&self, group: ChatId) -> anyhow::Result<String> {
        self.invitation_to(Some(group)).await
    }

    async fn invitation_to(&self, group: Option<ChatId>) -> anyhow::Result<String> {
        let code = self
            .call("get_chat_securejoin_qr_code", json!([self.id(), group]))
            .await?;
        Ok(serde_json::from_value(code)?)
    }

    /// Makes an encrypted group, with nobody else in it yet.
    ///
    /// # Errors
    /// The core failed.
    pub async fn create_group(&self, name: &str) -> anyhow::Result<ChatId> {
        let group = self
            .call("create_group_chat", json!([self.id(), name, false]))
            .await?;
        Ok(serde_json::from_value(group)?)
    }

    /// Begins to make contact with whoever made the invitation.
    ///
    /// # Errors
    /// The core failed.
    pub async fn join(&self, invitation: &str) -> anyhow::Result<ChatId> {
        let chat = self
            .call("secure_join", json!([self.id(), invitation]))
            .await?;
        Ok(serde_json::from_value(chat)?)
    }

    /// Waits until a handshake that [`Account::join`] began is over.
    ///
    /// # Errors
    /// The time is over.
    pub async fn joined(&mut self, limit: Duration) -> anyhow::Result<()> {
        let complete = complete("SecurejoinJoinerProgress");
        self.wait("securejoin, on the joining side", limit, complete)
            .await?;
        Ok(())
    }

    /// Waits until a handshake with somebody who had an invitation is over; gives the number of the
    /// contact.
    ///
    /// # Errors
    /// The time is over.
    pub async fn was_joined(&mut self, limit: Duration) -> anyhow::Result<u32> {
        let complete = complete("SecurejoinInviterProgress");
        let event = self
            .wait("securejoin, on the inviting side", limit, complete)
            .await?;
        let contact = event.number("contactId");
        contact.context("securejoin without a contact")
    }
}

fn complete(kind: &'static str) -> impl Fn(&Event) -> bool {
    move |event| event.kind == kind && event.number("progress") == Some(COMPLETE)
}

/// Lets two accounts make contact by securejoin, and gives each one's chat with the other, the
/// inviter's first.
///
/// # Errors
/// The handshake is not complete on both sides within the time.
pub async fn make_contact(
    inviter: &mut Account,
    joiner: &mut Account,
    limit: Duration,
) -> anyhow::Result<(ChatId, ChatId)> {
    let invitation = inviter.invitation().await?;
    let joined = joiner.join(&invitation).await?;
    joiner.joined(limit).await?;
    let contact = inviter.was_joined(limit).await?;
    let chat = inviter
        .call("create_chat_by_contact_id", json!([inviter.id(), contact]))
        .await?;
    Ok((serde_json::from_value(chat)?, joined))
}
