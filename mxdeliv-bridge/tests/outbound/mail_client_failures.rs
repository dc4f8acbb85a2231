//! The mail client with servers that fail, at each step.

use std::time::Duration;

use chatmail::smtp::Protocol;
use mxdeliv_bridge::mail_client::DeliveryError;
use rstest::rstest;
use tokio::time::Instant;

use crate::mail_client::{MESSAGE, PATIENCE, client, codes, envelope};
use crate::mail_server::{Act, MailServer, polite_lmtp, polite_smtp, say};

/// What the error is, without its details.
fn kind(error: &DeliveryError) -> &'static str {
    match error {
        DeliveryError::Io(_) => "connection",
        DeliveryError::Silence => "silence",
        DeliveryError::NotServing(_) => "not serving",
        DeliveryError::Malformed(_) => "malformed",
        DeliveryError::Unexpected(_) => "unexpected",
        DeliveryError::Message(_) => "message",
        DeliveryError::Unknown => "unknown",
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Temporary,
    Permanent,
    Leaving,
    Close,
    HalfAReply,
    Garbage,
    Silence,
    OutOfPlace,
}

impl Fault {
    fn act(self) -> Act {
        match self {
            Self::Temporary => say("451 4.3.0 not now"),
            Self::Permanent => say("554 5.0.0 never"),
            Self::Leaving => Act::Last("421 4.3.2 leaving\r\n".to_owned()),
            Self::Close => Act::Last(String::new()),
            Self::HalfAReply => Act::Last("250-2.0.0 well".to_owned()),
            Self::Garbage => say("what?"),
            Self::Silence => Act::Hang,
            Self::OutOfPlace => say("399 hm"),
        }
    }
}

/// Replies for both recipients, or an error.
#[rstest]
#[case("", Fault::Temporary, Err("not serving"))]
#[case("", Fault::Permanent, Err("not serving"))]
#[case("", Fault::Leaving, Err("not serving"))]
#[case("", Fault::Close, Err("connection"))]
#[case("", Fault::HalfAReply, Err("connection"))]
#[case("", Fault::Garbage, Err("malformed"))]
#[case("", Fault::Silence, Err("silence"))]
#[case("LHLO", Fault::Permanent, Err("not serving"))]
#[case("LHLO", Fault::Leaving, Err("not serving"))]
#[case("LHLO", Fault::Close, Err("connection"))]
#[case("LHLO", Fault::Silence, Err("silence"))]
#[case("MAIL", Fault::Temporary, Ok([451, 451]))]
#[case("MAIL", Fault::Permanent, Ok([554, 554]))]
#[case("MAIL", Fault::Leaving, Err("not serving"))]
#[case("MAIL", Fault::Close, Err("connection"))]
#[case("MAIL", Fault::HalfAReply, Err("connection"))]
#[case("MAIL", Fault::Garbage, Err("malformed"))]
#[case("MAIL", Fault::Silence, Err("silence"))]
#[case("MAIL", Fault::OutOfPlace, Err("unexpected"))]
#[case("RCPT", Fault::Permanent, Ok([554, 250]))]
#[case("RCPT", Fault::Leaving, Err("not serving"))]
#[case("RCPT", Fault::Close, Err("connection"))]
#[case("RCPT", Fault::Silence, Err("silence"))]
#[case("RCPT", Fault::OutOfPlace, Err("unexpected"))]
#[case("DATA", Fault::Temporary, Ok([451, 451]))]
#[case("DATA", Fault::Permanent, Ok([554, 554]))]
#[case("DATA", Fault::Leaving, Err("not serving"))]
#[case("DATA", Fault::Close, Err("connection"))]
#[case("DATA", Fault::Garbage, Err("malformed"))]
#[case("DATA", Fault::Silence, Err("silence"))]
#[case(".", Fault::Close, Err("unknown"))]
#[case(".", Fault::HalfAReply, Err("unknown"))]
#[case(".", Fault::Garbage, Err("unknown"))]
#[case(".", Fault::Silence, Err("unknown"))]
#[case(".", Fault::OutOfPlace, Err("unknown"))]
#[case(".", Fault::Leaving, Ok([421, 451]))]
#[tokio::test(start_paused = true)]
async fn a_fault_at_a_step(
    #[case] step: &'static str,
    #[case] fault: Fault,
    #[case] expected: Result<[u16; 2], &str>,
) {
    let server = MailServer::start(move |heard| {
        if heard.verb() == step && heard.number == 0 {
            return fault.act();
        }
        // Of the two recipients one may have been refused.
        let refused = step == "RCPT" && matches!(fault, Fault::Permanent);
        polite_lmtp(&heard, if refused { 1 } else { 2 })
    });
    let client = client(server.address(), Protocol::Lmtp);
    let envelope = envelope("", &["a@y.example", "b@y.example"]);
    let delivered = client.deliver(&envelope, MESSAGE, PATIENCE).await;
    let found = delivered.as_deref().map(codes);
    let found = found.map_err(kind);
    assert_eq!(found, expected.map(Vec::from), "{delivered:?}");
    let complete = server.seen().messages.len();
    assert_eq!(complete > 0, step == "." || found == Ok(vec![554, 250]));
}

#[tokio::test]
async fn a_connection_that_breaks_between_replies_leaves_the_rest_open() {
    let server = MailServer::start(|heard| match heard.verb() {
        "." => Act::Last("250 2.0.0 saved\r\n250 2.0.".to_owned()),
        _ => polite_lmtp(&heard, 0),
    });
    let client = client(server.address(), Protocol::Lmtp);
    let envelope = envelope("", &["a@y.example", "b@y.example", "c@y.example"]);
    let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(codes(&replies), [250, 451, 451]);
}

#[tokio::test(start_paused = true)]
async fn the_whole_has_a_deadline() {
    let within = Duration::from_secs(20);
    for step in ["", "LHLO", "MAIL", "RCPT", "DATA", "."] {
        let server = MailServer::start(move |heard| match heard.verb() {
            verb if verb == step => Act::Hang,
            _ => polite_lmtp(&heard, 1),
        });
        let client = client(server.address(), Protocol::Lmtp);
        let envelope = envelope("", &["a@y.example"]);
        let began = Instant::now();
        let failed = client.deliver(&envelope, MESSAGE, within).await;
        let expected = if step == "." { "unknown" } else { "silence" };
        assert_eq!(failed.map_err(|error| kind(&error)), Err(expected));
        assert_eq!(began.elapsed().as_secs(), within.as_secs(), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_no_more_has_a_deadline() {
    let server = MailServer::start(|heard| match heard.verb() {
        "DATA" => Act::Hang,
        "MAIL" => Act::Say("250 ok\r\n250 ok\r\n354 go ahead\r\n".to_owned()),
        "RCPT" => Act::Say(String::new()),
        _ => polite_lmtp(&heard, 1),
    });
    let client = client(server.address(), Protocol::Lmtp);
    let message = b"x\r\n".repeat(10_000_000 / 3);
    let envelope = envelope("", &["a@y.example"]);
    let failed = client.deliver(&envelope, &message, PATIENCE).await;
    assert_eq!(failed.map_err(|error| kind(&error)), Err("silence"));
}

#[rstest]
#[case(b"a\nb\r\n")]
#[case(b"a\rb\r\n")]
#[case(b"a\0b\r\n")]
#[case(b"a\r")]
#[tokio::test]
async fn a_message_that_could_be_read_in_two_ways_is_not_sent(#[case] message: &[u8]) {
    let server = MailServer::start(|heard| polite_smtp(&heard));
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example"]);
    let failed = client.deliver(&envelope, message, PATIENCE).await;
    assert_eq!(failed.map_err(|error| kind(&error)), Err("message"));
    client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    assert_eq!(server.seen().messages, [MESSAGE]);
    assert_eq!(server.seen().connections, 2);
}

/// How a server ends a connection that was kept.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Before the next message begins.
    Early,
    /// When it hears of the next message.
    AtMail,
    /// The same, with a 421.
    AtMailWith421,
}

#[rstest]
#[case(End::Early)]
#[case(End::AtMail)]
#[case(End::AtMailWith421)]
#[tokio::test]
async fn a_kept_connection_that_is_dead_costs_no_message(#[case] end: End) {
    let server = MailServer::start(move |heard| match (heard.verb(), heard.connection, end) {
        (".", 0, End::Early) => Act::Last("250 2.0.0 ok\r\n421 4.4.2 idle\r\n".to_owned()),
        ("MAIL", 0, End::AtMail) if heard.number > 0 => Act::Last(String::new()),
        ("MAIL", 0, End::AtMailWith421) if heard.number > 0 => {
            Act::Last("421 4.3.2 leaving\r\n".to_owned())
        }
        _ => polite_smtp(&heard),
    });
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example"]);
    for _ in 0..2 {
        let replies = client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
        assert_eq!(codes(&replies), [250]);
    }
    assert_eq!(server.seen().messages.len(), 2);
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn a_fresh_connection_is_not_tried_again() {
    let server = MailServer::start(|heard| match heard.verb() {
        "MAIL" => Act::Last(String::new()),
        _ => polite_smtp(&heard),
    });
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example"]);
    let failed = client.deliver(&envelope, MESSAGE, PATIENCE).await;
    assert_eq!(failed.map_err(|error| kind(&error)), Err("connection"));
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_complete_message_is_not_sent_again() {
    let server = MailServer::start(|heard| match (heard.verb(), heard.number) {
        (".", 1) => Act::Last(String::new()),
        _ => polite_smtp(&heard),
    });
    let client = client(server.address(), Protocol::Smtp);
    let envelope = envelope("", &["a@y.example"]);
    client.deliver(&envelope, MESSAGE, PATIENCE).await.unwrap();
    let failed = client.deliver(&envelope, MESSAGE, PATIENCE).await;
    assert_eq!(failed.map_err(|error| kind(&error)), Err("unknown"));
    assert_eq!(server.seen().messages.len(), 2);
    assert_eq!(server.seen().connections, 1);
}
