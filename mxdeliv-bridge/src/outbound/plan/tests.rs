use chatmail::smtp::{MailParameters, Notify, Path};
use rstest::rstest;

use super::super::examination::examine;
use super::*;

const MESSAGE: &[u8] = b"From: a@x.example\r\n\r\nbody\r\n";

fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    let recipient = |path: &&str| Recipient {
        path: path_of(path),
        parameters: RecipientParameters::default(),
    };
    Envelope {
        sender: path_of(sender),
        parameters: MailParameters::default(),
        recipients: recipients.iter().map(recipient).collect(),
    }
}

fn path_of(text: &str) -> Path {
    Path::try_from(text.as_bytes()).unwrap()
}

async fn plan(envelope: &Envelope, message: &[u8]) -> Plan {
    Plan::new(envelope, &examine(message).await)
}

#[tokio::test]
async fn each_domain_has_its_posts_in_one_order() {
    let recipients = ["B@Y.example", "a@z.example", "A@y.example", "b@y.EXAMPLE"];
    let plan = plan(&envelope("Me@X.example", &recipients), MESSAGE).await;
    assert_eq!(plan.sender, "me@x.example");
    let batches: Vec<_> = plan.batches.iter().collect();
    let [y, z] = batches[..] else {
        panic!("{batches:?}");
    };
    assert_eq!(y.domain.as_str(), "y.example");
    assert_eq!(y.addresses, ["a@y.example", "b@y.example"]);
    assert_eq!(y.places, [2, 0, 3]);
    assert_eq!(z.addresses, ["a@z.example"]);
    assert!(plan.unfit.is_empty());
}

#[tokio::test]
async fn at_most_fifty_recipients_go_together() {
    let recipients: Vec<_> = (0..101).map(|n| format!("user{n}@y.example")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let plan = plan(&envelope("", &recipients), MESSAGE).await;
    let counts: Vec<_> = plan
        .batches
        .iter()
        .map(|batch| batch.addresses.len())
        .collect();
    assert_eq!(counts, [50, 50, 1]);
    let mut places: Vec<_> = plan
        .batches
        .iter()
        .flat_map(|batch| &batch.places)
        .collect();
    places.sort_unstable();
    assert!(places.into_iter().copied().eq(0..101));
}

#[rstest]
#[case("", "u@[1.2.3.4]", "u@[1.2.3.4]")]
#[case("a@[192.0.2.1]", "U+tag@_relay.example", "u+tag@_relay.example")]
#[tokio::test]
async fn what_a_header_line_can_carry(
    #[case] sender: &str,
    #[case] recipient: &str,
    #[case] shown: &str,
) {
    let plan = plan(&envelope(sender, &[recipient]), MESSAGE).await;
    assert_eq!(plan.sender, sender);
    assert_eq!(plan.batches[0].addresses, [shown]);
}

#[rstest]
#[case("\"a b\"@x.example", "b@y.example", Unfit::Sender)]
#[case("postmaster", "b@y.example", Unfit::Sender)]
#[case("a@x.example", "\"b,c\"@y.example", Unfit::Recipient)]
#[case("a@x.example", "\u{fc}@y.example", Unfit::Recipient)]
#[case("a@x.example", "postmaster", Unfit::Recipient)]
#[tokio::test]
async fn unusual_addresses_go_by_smtp(
    #[case] sender: &str,
    #[case] recipient: &str,
    #[case] unfit: Unfit,
) {
    let plan = plan(&envelope(sender, &[recipient]), MESSAGE).await;
    assert_eq!(plan.unfit, [(0, unfit)]);
    assert!(plan.batches.is_empty());
}

#[tokio::test]
async fn one_unusual_recipient_does_not_hold_up_others() {
    let recipients = ["a@y.example", "\"b\"@y.example", "c@y.example"];
    let mut envelope = envelope("", &recipients);
    envelope.recipients[2].parameters.notify = Some(Notify {
        success: true,
        ..Notify::default()
    });
    let plan = plan(&envelope, MESSAGE).await;
    assert_eq!(plan.unfit, [(1, Unfit::Recipient), (2, Unfit::Report)]);
    assert_eq!(plan.batches[0].places, [0]);
}

#[tokio::test]
async fn smtputf8_counts_where_it_is_needed() {
    let mut envelope = envelope("a@x.example", &["b@y.example"]);
    let header = "Subject: \u{fc}\r\n\r\nbody\r\n".as_bytes();
    assert!(plan(&envelope, header).await.unfit.is_empty());
    envelope.parameters.smtputf8 = true;
    assert_eq!(plan(&envelope, header).await.unfit, [(0, Unfit::Utf8)]);
    assert!(plan(&envelope, MESSAGE).await.unfit.is_empty());
}

#[tokio::test]
async fn a_dot_line_concerns_all_recipients() {
    let envelope = envelope("a@x.example", &["b@y.example", "\"c\"@y.example"]);
    let plan = plan(&envelope, b"A: b\r\n\r\n.\r\n").await;
    assert_eq!(plan.unfit, [(0, Unfit::DotLine), (1, Unfit::DotLine)]);
}

#[tokio::test]
async fn a_key_stands_for_sender_recipients_and_message() {
    let key = async |sender: &str, recipients: &[&str], message: &[u8]| {
        let examination = examine(message).await;
        let plan = Plan::new(&envelope(sender, recipients), &examination);
        plan.key(&plan.batches[0], &examination)
    };
    let first = key("a@x.example", &["b@y.example", "c@y.example"], MESSAGE).await;
    assert_eq!(first.len(), 64);
    let again = key("A@x.example", &["c@y.example", "b@y.example"], MESSAGE).await;
    assert_eq!(again, first);
    for other in [
        key("", &["b@y.example", "c@y.example"], MESSAGE).await,
        key("a@x.example", &["b@y.example"], MESSAGE).await,
        key("a@x.example", &["b@y.example", "c@y.example"], b"x\r\n").await,
    ] {
        assert_ne!(other, first);
    }
}
