//! The mail client with servers that do their work.

use std::time::Duration;

use chatmail::Domain;
use chatmail::smtp::{
    BodyType, ClientName, Command, MailParameters, Path, Protocol, RecipientParameters, ServerReply,
};
use mxdeliv_bridge::envelope::{Envelope, Recipient};
use mxdeliv_bridge::mail_client::{DeliveryError, MailClient, Server};

use crate::mail_server::{Act, MailServer, polite_lmtp, polite_smtp, say};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(300);

pub const MESSAGE: &[u8] = b"From: a@x.example\r\n\r\nbody\r\n";

pub fn client(server: Server, protocol: Protocol) -> MailClient {
    let name: Domain = "relay.example".parse().unwrap();
    MailClient::new(server, protocol, ClientName::from(&name))
}

pub fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    let path = |text: &str| Path::try_from(text.as_bytes()).unwrap();
    let recipient = |text: &&str| Recipient {
        path: path(text),
        parameters: RecipientParameters::default(),
    };
    Envelope {
        sender: path(sender),
        parameters: MailParameters::default(),
        recipients: recipients.iter().map(recipient).collect(),
    }
}

pub fn codes(replies: &[ServerReply]) -> Vec<u16> {
    replies.iter().map(|reply| reply.code).collect()
}

#[tokio::test]
async fn lmtp_has_a_reply_for_each_recipient() {
    let server = MailServer::start(|heard| match heard.line {
        "RCPT TO:<no@y.example>" => say("550 5.1.1 no such user"),
        "." => Act::Say("250 2.0.0 first\r\n452 4.2.2 second is full\r\n".to_owned()),
        _ => polite_lmtp(&heard, 0),
    });
    let client = client(server.address(), Protocol::Lmtp);
    let recipients = ["a@y.example", "no@y.example", "b@y.example"];
    let envelope = envelope("s@x.example", &recipients);
    let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(codes(&replies), [250, 550, 452]);
    assert_eq!(replies[2].enhanced, Some((4, 2, 2)));
    assert_eq!(server.seen().messages, [MESSAGE]);
    assert_eq!(server.commands("LHLO"), ["LHLO relay.example"]);
}

#[tokio::test]
async fn smtp_has_one_reply_for_all() {
    let server = MailServer::start(|heard| match heard.line {
        "RCPT TO:<no@y.example>" => say("450 4.2.1 not now"),
        _ => polite_smtp(&heard),
    });
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example", "no@y.example", "b@y.example"]);
    let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(codes(&replies), [250, 450, 250]);
    assert_eq!(replies[0], replies[2]);
    assert_eq!(server.commands("EHLO"), ["EHLO relay.example"]);
    assert_eq!(server.commands("MAIL")[0], "MAIL FROM:<> SIZE=27");
}

#[tokio::test]
async fn without_recipients_there_is_no_message() {
    let server = MailServer::start(|heard| match heard.verb() {
        "RCPT" => say("550 5.1.1 no such user"),
        _ => polite_smtp(&heard),
    });
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example", "b@y.example"]);
    for _ in 0..2 {
        let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
        assert_eq!(codes(&replies), [550, 550]);
    }
    assert_eq!(server.commands("DATA").len(), 0);
    assert_eq!(server.commands("RSET").len(), 2);
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_refused_sender_is_refused_for_every_recipient() {
    let server = MailServer::start(|heard| match heard.verb() {
        "MAIL" => say("552 5.3.4 too large"),
        "RCPT" => say("503 5.5.1 no sender"),
        _ => polite_lmtp(&heard, 1),
    });
    let client = client(server.address(), Protocol::Lmtp);
    let envelope = envelope("", &["a@y.example", "b@y.example"]);
    let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(codes(&replies), [552, 552]);
}

#[tokio::test]
async fn a_refused_data_is_refused_for_those_who_were_accepted() {
    let server = MailServer::start(|heard| match heard.line {
        "RCPT TO:<no@y.example>" => say("550 5.1.1 no such user"),
        "DATA" => say("451 4.3.0 not now"),
        _ => polite_lmtp(&heard, 1),
    });
    let client = client(server.address(), Protocol::Lmtp);
    let envelope = envelope("", &["a@y.example", "no@y.example"]);
    let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(codes(&replies), [451, 550]);
}

fn with_parameters() -> Envelope {
    let parse = |line: &[u8]| Command::parse(Protocol::Smtp, line).unwrap();
    let mail = b"MAIL FROM:<a@x.example> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id";
    let rcpt = b"RCPT TO:<b@y.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;c@z.example";
    let (Command::Mail(sender, parameters), Command::Recipient(path, of_recipient)) =
        (parse(mail), parse(rcpt))
    else {
        panic!("other commands");
    };
    assert_eq!(parameters.body, Some(BodyType::EightBitMime));
    Envelope {
        sender,
        parameters,
        recipients: vec![Recipient {
            path,
            parameters: of_recipient,
        }],
    }
}

#[tokio::test]
async fn parameters_go_to_a_server_that_offers_them() {
    let server = MailServer::start(|heard| polite_smtp(&heard));
    let client = client(server.address(), Protocol::Smtp);
    let envelope = with_parameters();
    client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    let mail = "MAIL FROM:<a@x.example> SIZE=27 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id";
    let rcpt = "RCPT TO:<b@y.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;c@z.example";
    assert_eq!(server.commands("MAIL"), [mail]);
    assert_eq!(server.commands("RCPT"), [rcpt]);
}

#[tokio::test]
async fn a_plain_server_gets_plain_commands_one_by_one() {
    let server = MailServer::start(|heard| match heard.verb() {
        "EHLO" => say("250 mx.example"),
        _ => polite_smtp(&heard),
    });
    let client = client(server.address(), Protocol::Smtp);
    let mut envelope = with_parameters();
    envelope.recipients.push(envelope.recipients[0].clone());
    client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(server.commands("MAIL"), ["MAIL FROM:<a@x.example>"]);
    assert_eq!(server.commands("RCPT"), ["RCPT TO:<b@y.example>"; 2]);
    assert!(!server.seen().ahead);
}

#[tokio::test]
async fn commands_are_sent_ahead_when_that_is_offered() {
    // Says nothing before it has all of them.
    let server = MailServer::start(|heard| match (heard.verb(), heard.number) {
        ("MAIL", _) | ("RCPT", 0) => Act::Say(String::new()),
        ("RCPT", 1) => Act::Say("250 ok\r\n250 ok\r\n251 ok\r\n".to_owned()),
        _ => polite_lmtp(&heard, 2),
    });
    let client = client(server.address(), Protocol::Lmtp);
    let envelope = envelope("", &["a@y.example", "b@y.example"]);
    let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(codes(&replies), [250, 250]);
}

#[tokio::test]
async fn a_thousand_recipients() {
    // Replies as long as they may be: they do not fit into the buffers of a socket all at once.
    let server = MailServer::start(|heard| match heard.verb() {
        "RCPT" if heard.number % 10 == 3 => say(&format!("550 5.1.1 {}", "no ".repeat(160))),
        "RCPT" => say(&format!("250 2.1.5 {}", "ok ".repeat(160))),
        _ => polite_lmtp(&heard, 900),
    });
    let client = client(server.address(), Protocol::Lmtp);
    let recipients: Vec<_> = (0..1000).map(|n| format!("user{n}@y.example")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let envelope = envelope("", &recipients);
    let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    let expected = (0..1000).map(|n| if n % 10 == 3 { 550 } else { 250 });
    assert!(codes(&replies).into_iter().eq(expected));
}

#[tokio::test]
async fn messages_arrive_as_they_are() {
    let server = MailServer::start(|heard| polite_smtp(&heard));
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example"]);
    let mut large = Vec::new();
    while large.len() < 30 * 1024 * 1024 {
        let number = large.len();
        large.extend_from_slice(format!(".{number}{}\r\n", "x".repeat(number % 900)).as_bytes());
    }
    let messages: [&[u8]; 5] = [
        b"",
        b".\r\n..\r\n\r\n.\r\n",
        b"\r\n.\r\nMAIL FROM:<>\r\n",
        "A: \u{fc}\r\n\r\n\u{fc}\r\n".as_bytes(),
        &large,
    ];
    for message in messages {
        client.deliver(&envelope, message, PATIENCE).await.unwrap();
    }
    // Not `assert_eq`: nobody wants to read 30 MiB.
    assert!(server.seen().messages == messages);
}

#[tokio::test]
async fn a_message_that_does_not_end_its_line_gets_a_line_end() {
    let server = MailServer::start(|heard| polite_smtp(&heard));
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example"]);
    client.deliver(&envelope, b"a", PATIENCE).await.unwrap();
    assert_eq!(server.seen().messages, [b"a\r\n"]);
}

#[tokio::test]
async fn addresses_outside_ascii_need_a_server_for_them() {
    let server = MailServer::start(|heard| match heard.verb() {
        "EHLO" => say("250 mx.example"),
        _ => polite_smtp(&heard),
    });
    let client = client(server.address(), Protocol::Smtp);
    let recipients = ["\u{fc}@y.example", "a@y.example"];
    let replies = client
        .deliver(&envelope("", &recipients), MESSAGE, PATIENCE)
        .await
        .unwrap();
    assert_eq!(codes(&replies), [553, 250]);
    let sender = envelope("\u{fc}@x.example", &["a@y.example"]);
    let replies = client.deliver(&sender, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(codes(&replies), [553]);
    assert_eq!(server.seen().messages.len(), 1);
}

#[tokio::test]
async fn a_connection_serves_several_messages() {
    let server = MailServer::start(|heard| polite_smtp(&heard));
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example"]);
    for _ in 0..3 {
        client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    }
    assert_eq!(server.seen().connections, 1);
    assert_eq!(server.seen().messages.len(), 3);
    let (one, two) = tokio::join!(
        client.deliver(&envelope, MESSAGE, PATIENCE),
        client.deliver(&envelope, MESSAGE, PATIENCE)
    );
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_end_with_a_quit() {
    let server = MailServer::start(|heard| polite_smtp(&heard));
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example"]);
    client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(server.commands("QUIT").len(), 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(server.commands("QUIT").len(), 1);
    client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn tcp_does_as_well() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let client = client(Server::Tcp(address), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example"]);
    let refused = client.deliver(&envelope, MESSAGE, PATIENCE).await;
    assert!(matches!(refused, Err(DeliveryError::Io(_))), "{refused:?}");

    let server = MailServer::start_tcp(|heard| polite_smtp(&heard));
    let client = self::client(server.address(), Protocol::Smtp);
    let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(codes(&replies), [250]);
    assert_eq!(server.seen().messages, [MESSAGE]);
}
