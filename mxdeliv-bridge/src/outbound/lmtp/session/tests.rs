use proptest::prelude::*;
use rstest::rstest;

use super::*;

const SIZE_MAX: u64 = 20_000;

/// Everything that comes of a connection.
#[derive(Debug, Default, PartialEq)]
struct Course {
    replies: String,
    messages: Vec<(Envelope, Vec<u8>)>,
    closed: bool,
}

impl Course {
    fn codes(&self) -> Vec<&str> {
        let lines = self.replies.lines();
        let last = lines.filter(|line| line.as_bytes().get(3) == Some(&b' '));
        last.map(|line| &line[..3]).collect()
    }
}

/// A session whose owner refuses recipients that begin with `no`, has this much memory, and takes
/// messages.
fn converse(pieces: &[&[u8]], memory: u64) -> Course {
    let mut out = Vec::new();
    let mut session = Session::new(SIZE_MAX, &mut out);
    let mut course = Course::default();
    for mut input in pieces.iter().copied() {
        while !input.is_empty() && !session.is_closed() {
            match session.take(&mut input, &mut out) {
                None => assert!(input.is_empty() || session.is_closed()),
                Some(Request::Recipient(recipient)) => {
                    let refused = recipient.path.as_bytes().starts_with(b"no");
                    let refusal = Reply::new(550, (5, 1, 1), "No such user");
                    let verdict = if refused { Err(refusal) } else { Ok(()) };
                    session.judged(recipient, verdict, &mut out);
                }
                Some(Request::Room { held, octets }) if held + octets <= memory => {
                    session.room_found(octets, &mut out);
                }
                Some(Request::Room { .. }) => session.no_room(&mut out),
                Some(Request::Message(envelope, message)) => {
                    let count = envelope.recipients.len();
                    let replies = vec![Reply::new(250, (2, 0, 0), "Taken"); count];
                    session.message_ended(count, &replies, &mut out);
                    course.messages.push((envelope, message));
                }
            }
        }
    }
    course.replies = String::from_utf8(out).unwrap();
    course.closed = session.is_closed();
    course
}

fn session(text: &str) -> Course {
    converse(&[text.as_bytes()], u64::MAX)
}

const HELLO: &str = "LHLO x\r\n";
const ENVELOPE: &str = "LHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nRCPT TO:<c@y>\r\n";

#[test]
fn a_message_has_a_reply_for_each_recipient() {
    let course = session(&format!(
        "{ENVELOPE}RCPT TO:<no@y>\r\nDATA\r\n..a\r\n.\r\nQUIT\r\n"
    ));
    let expected = "220 localhost LMTP\r\n\
        250-localhost\r\n250-PIPELINING\r\n250-SIZE 20000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
        250-DSN\r\n250 ENHANCEDSTATUSCODES\r\n\
        250 2.1.0 Sender ok\r\n250 2.1.5 Recipient ok\r\n250 2.1.5 Recipient ok\r\n\
        550 5.1.1 No such user\r\n354 Go ahead\r\n250 2.0.0 Taken\r\n250 2.0.0 Taken\r\n\
        221 2.0.0 Bye\r\n";
    assert_eq!(course.replies, expected);
    let (envelope, message) = &course.messages[0];
    assert_eq!(message, b".a\r\n");
    assert_eq!(envelope.recipients.len(), 2);
    assert!(course.closed);
}

#[rstest]
#[case("MAIL FROM:<a@x>\r\n", "503")]
#[case("LHLO x\r\nRCPT TO:<b@y>\r\n", "503")]
#[case("LHLO x\r\nDATA\r\n", "503")]
#[case("LHLO x\r\nMAIL FROM:<a@x>\r\nDATA\r\n", "503")]
#[case("LHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<no@y>\r\nDATA\r\n", "503")]
#[case("LHLO x\r\nMAIL FROM:<a@x>\r\nMAIL FROM:<a@x>\r\n", "503")]
#[case("LHLO x\r\nMAIL FROM:<a@x>\r\nRSET\r\nRCPT TO:<b@y>\r\n", "503")]
#[case("LHLO x\r\nMAIL FROM:<a@x>\r\nLHLO x\r\nRCPT TO:<b@y>\r\n", "503")]
#[case("LHLO x\r\nMAIL FROM:<a@x> SIZE=20001\r\n", "552")]
#[case("LHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<\u{fc}@y>\r\n", "553")]
#[case("LHLO x\r\nMAIL FROM:<a@x> SMTPUTF8\r\nRCPT TO:<\u{fc}@y>\r\n", "250")]
#[case("EHLO x\r\n", "500")]
#[case("VRFY a\r\n", "502")]
#[case("NOOP\nQUIT\r\n", "500")]
#[case("NOOP x\r\n", "250")]
fn commands_out_of_place(#[case] text: &str, #[case] last: &str) {
    let course = session(text);
    assert_eq!(course.codes().last(), Some(&last), "{}", course.replies);
    assert!(!course.closed);
}

/// What some programs would take for the end of a message, and what follows for another one.
#[rstest]
#[case("\n.\n")]
#[case("\n.\r\n")]
#[case("\r\n.\n")]
#[case("\r.\r")]
#[case("\r.\r\n")]
#[case("\r\n.\r")]
#[case("\r\n\0.\r\n")]
fn no_message_is_smuggled_in_another(#[case] end: &str) {
    let smuggled = "MAIL FROM:<evil@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nevil\r\n.\r\n";
    let course = session(&format!(
        "{ENVELOPE}DATA\r\nA: b\r\n{end}{smuggled}NOOP\r\n"
    ));
    assert_eq!(course.messages, []);
    let codes = course.codes();
    assert_eq!(codes[codes.len() - 4..], ["354", "550", "550", "250"]);
}

#[test]
fn recipients_have_a_limit() {
    let recipients = "RCPT TO:<b@y>\r\n".repeat(RECIPIENTS_MAX + 1);
    let course = session(&format!("{HELLO}MAIL FROM:<>\r\n{recipients}DATA\r\n.\r\n"));
    let count = |code: &str| course.codes().iter().filter(|&&c| c == code).count();
    assert_eq!(count("452"), 1);
    assert_eq!(course.messages[0].0.recipients.len(), RECIPIENTS_MAX);
    assert_eq!(count("250"), 2 + 2 * RECIPIENTS_MAX);
}

#[test]
fn bad_commands_have_a_limit() {
    let course = session(&"X\r\n".repeat(ERRORS_MAX + 5));
    assert!(course.closed);
    assert_eq!(course.codes().len(), 1 + ERRORS_MAX + 1);
    assert_eq!(course.codes().last(), Some(&"421"));
}

#[test]
fn too_large_a_message_is_read_to_its_end() {
    let long = "x\r\n".repeat(7000);
    let course = session(&format!("{ENVELOPE}DATA\r\n{long}.\r\nNOOP\r\n"));
    let codes = course.codes();
    assert_eq!(codes[codes.len() - 4..], ["354", "552", "552", "250"]);
    assert_eq!(course.messages, []);
}

#[rstest]
// No room for what the client says, or for the largest when it says nothing.
#[case("MAIL FROM:<a@x> SIZE=10000\r\n", 4000, &["452", "503"])]
#[case("MAIL FROM:<a@x>\r\n", 19_999, &["452", "503"])]
// More than was said, with room for it and without.
#[case("MAIL FROM:<a@x> SIZE=10\r\n", 20_000, &["354", "250"])]
#[case("MAIL FROM:<a@x> SIZE=10\r\n", 9_000, &["354", "452"])]
fn without_room_the_client_is_to_come_again(
    #[case] mail: &str,
    #[case] memory: u64,
    #[case] expected: &[&str],
) {
    let before = format!("{HELLO}{mail}RCPT TO:<b@y>\r\nDATA\r\n");
    let message = "x\r\n".repeat(5000);
    let mut pieces = vec![before.as_bytes()];
    let refused_at_data = expected == ["452", "503"];
    let rest = if refused_at_data {
        "DATA\r\n".to_owned()
    } else {
        format!("{message}.\r\n")
    };
    pieces.push(rest.as_bytes());
    let course = converse(&pieces, memory);
    let codes = course.codes();
    assert_eq!(codes[codes.len() - 2..], *expected);
    assert_eq!(course.messages.len(), usize::from(expected[1] == "250"));
}

#[test]
fn a_forgotten_reply_is_never_an_acceptance() {
    let mut out = Vec::new();
    let mut session = Session::new(SIZE_MAX, &mut out);
    out.clear();
    let taken = Reply::new(250, (2, 0, 0), "Taken");
    session.message_ended(2, std::slice::from_ref(&taken), &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("250 2.0.0 Taken\r\n451 4.3.0 "), "{text}");
    assert_eq!(text.lines().count(), 2);
}

proptest! {
    #[test]
    fn how_octets_are_cut_does_not_matter(
        commands in proptest::collection::vec(
            prop_oneof![
                Just("LHLO x\r\n"),
                Just("MAIL FROM:<a@x> SIZE=10\r\n"),
                Just("RCPT TO:<b@y>\r\n"),
                Just("RCPT TO:<no@y>\r\n"),
                Just("DATA\r\nA: b\r\n\r\n..c\r\n.\r\n"),
                Just("DATA\r\nbare\nline\r\n.\r\n"),
                Just("RSET\r\n"),
                Just("what\r\n"),
                Just("bare\nline\r\n"),
            ],
            0..20,
        ),
        cuts in proptest::collection::vec(0_usize..400, 0..20),
        memory in 0_u64..30_000,
    ) {
        let stream = format!("{HELLO}{}", commands.concat());
        let octets = stream.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(octets.len())).collect();
        cuts.extend([0, octets.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &octets[cut[0]..cut[1]]).collect();
        prop_assert_eq!(converse(&pieces, memory), converse(&[octets], memory));
    }

    #[test]
    fn no_octets_are_too_much(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let course = converse(&[ENVELOPE.as_bytes(), &octets], u64::MAX);
        prop_assert!(course.replies.ends_with("\r\n"));
    }
}
