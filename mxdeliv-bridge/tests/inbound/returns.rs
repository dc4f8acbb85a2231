//! The return door: what Postfix brings back.

use chatmail::Domain;
use chatmail::smtp::{ClientName, MailParameters, Path, Protocol, RecipientParameters};
use mxdeliv_bridge::envelope::{Envelope, Recipient};
use mxdeliv_bridge::mail_client::{MailClient, Server};
use std::time::Duration;

use crate::bridge::{Bridge, SENDER};
use crate::message;

/// The replies to a message for these recipients.
async fn brought_back(bridge: &Bridge, recipients: &[&str], message: &str) -> Vec<String> {
    let name = ClientName::from(&"chat.example".parse::<Domain>().unwrap());
    let client = MailClient::new(Server::Unix(bridge.return_socket()), Protocol::Lmtp, name);
    let recipient = |name: &&str| Recipient {
        path: Path::try_from(name.as_bytes()).unwrap(),
        parameters: RecipientParameters::default(),
    };
    let envelope = Envelope {
        sender: Path::try_from(SENDER.as_bytes()).unwrap(),
        parameters: MailParameters::default(),
        recipients: recipients.iter().map(recipient).collect(),
    };
    let within = Duration::from_secs(30);
    let replies = client.deliver(&envelope, message.as_bytes(), within);
    let replies = replies.await.unwrap();
    replies
        .iter()
        .map(|reply| reply.to_reply().to_string())
        .collect()
}

#[tokio::test]
async fn each_recipient_is_judged_anew() {
    let bridge = Bridge::start().await;
    // Nobody knows its client here, and its signature is gone.
    let message = message::encrypted("x@peer.example", 100);
    let recipients = [
        "nobody@chat.example",
        "bob@chat.example",
        "full@chat.example",
        "late-failure@chat.example",
        "unknown@chat.example",
        "broken@chat.example",
    ];
    let replies = brought_back(&bridge, &recipients, &message).await;
    assert_eq!(
        replies,
        [
            "550 5.1.1 No such user here",
            "250 2.0.0 OK",
            "452 4.2.2 Mailbox is full",
            "554 5.6.0 Failed",
            "550 5.1.1 <unknown@chat.example> User doesn't exist",
            "451 4.3.0 Try again later",
        ]
    );
    let delivered = bridge.dovecot.only();
    assert_eq!(delivered.recipients, ["bob@chat.example"]);
    assert_eq!(delivered.sender, SENDER);
    assert_eq!(delivered.message, message);
    bridge.until_idle().await;
}

#[tokio::test]
async fn cleartext_is_still_not_for_everybody() {
    let bridge = Bridge::start().await;
    let message = message::cleartext(SENDER);
    let refused = brought_back(&bridge, &["bob@chat.example"], &message).await;
    let expected = "523 5.7.1 Encryption Needed: Invalid Unencrypted Mail (not-encrypted)";
    assert_eq!(refused, [expected]);
    let open = brought_back(&bridge, &["open@chat.example"], &message).await;
    assert_eq!(open, ["250 2.0.0 OK"]);
}

#[tokio::test]
async fn without_dovecot_postfix_keeps_it() {
    let bridge = Bridge::start().await;
    bridge.dovecot.down(true);
    let message = message::encrypted(SENDER, 100);
    let replies = brought_back(&bridge, &["bob@chat.example"], &message).await;
    assert_eq!(replies, ["451 4.3.0 Try again later"]);
}
