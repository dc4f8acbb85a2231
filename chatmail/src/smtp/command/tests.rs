use super::super::parameters::{BodyType, Notify, OriginalRecipient, Returned};
use super::super::xtext::{AddressKind, Xtext};
use super::*;
use proptest::prelude::*;
use rstest::rstest;

fn path(text: &str) -> Path {
    Path::try_from(text.as_bytes()).unwrap()
}

fn xtext(text: &str) -> Xtext {
    Xtext::try_from(text).unwrap()
}

fn hello(greeting: Greeting, name: &str) -> Command {
    Command::Hello(greeting, ClientName::try_from(name).unwrap())
}

fn mail(text: &str, parameters: MailParameters) -> Command {
    Command::Mail(path(text), parameters)
}

fn recipient(text: &str, parameters: RecipientParameters) -> Command {
    Command::Recipient(path(text), parameters)
}

#[rstest]
#[case("EHLO mx.example", hello(Greeting::Ehlo, "mx.example"))]
#[case("helo [192.0.2.1]  ", hello(Greeting::Helo, "[192.0.2.1]"))]
#[case("DATA", Command::Data)]
#[case("rset ", Command::Reset)]
#[case("NOOP of any kind", Command::Noop)]
#[case("Quit", Command::Quit)]
#[case("MAIL FROM:<a@x.org>", mail("a@x.org", MailParameters::default()))]
#[case("mail from:<> SIZE=0", mail("", MailParameters { size: Some(0), ..Default::default() }))]
#[case(
    "MAIL FROM:<u@[1.2.3.4]> BODY=8BITMIME RET=HDRS ENVID=a+2Bb SIZE=99 SMTPUTF8",
    mail("u@[1.2.3.4]", MailParameters {
        size: Some(99),
        body: Some(BodyType::EightBitMime),
        smtputf8: true,
        returned: Some(Returned::Headers),
        envelope_id: Some(xtext("a+b")),
    })
)]
#[case(
    "MAIL FROM:<\u{fc}@x.org> smtputf8 ret=full body=7bit",
    mail("\u{fc}@x.org", MailParameters {
        body: Some(BodyType::SevenBit),
        smtputf8: true,
        returned: Some(Returned::Full),
        ..Default::default()
    })
)]
#[case(
    "RCPT TO:<\"a> b\\\">\"@x.org>",
    recipient("\"a> b\\\">\"@x.org", RecipientParameters::default())
)]
#[case(
    "RCPT TO:<Postmaster>",
    recipient("Postmaster", RecipientParameters::default())
)]
#[case(
    "RCPT TO:<a@x.org> NOTIFY=success,DELAY ORCPT=rfc822;a+20b@x.org",
    recipient("a@x.org", RecipientParameters {
        notify: Some(Notify { success: true, failure: false, delay: true }),
        original: Some(OriginalRecipient {
            kind: AddressKind::try_from("rfc822").unwrap(),
            address: xtext("a b@x.org"),
        }),
    })
)]
#[case(
    "RCPT TO:<a@x.org> NOTIFY=NEVER",
    recipient("a@x.org", RecipientParameters { notify: Some(Notify::default()), original: None })
)]
fn reads(#[case] line: &str, #[case] expected: Command) {
    assert_eq!(
        Command::parse(Protocol::Smtp, line.as_bytes()),
        Ok(expected)
    );
}

#[test]
fn lmtp_says_lhlo_and_nothing_else() {
    let lhlo = hello(Greeting::Lhlo, "mx");
    assert_eq!(Command::parse(Protocol::Lmtp, b"LHLO mx"), Ok(lhlo));
    for (protocol, line) in [
        (Protocol::Lmtp, &b"EHLO mx"[..]),
        (Protocol::Lmtp, b"HELO mx"),
        (Protocol::Smtp, b"LHLO mx"),
    ] {
        assert_eq!(Command::parse(protocol, line), Err(CommandError::Unknown));
    }
}

#[rstest]
#[case("", CommandError::Unknown)]
#[case(" DATA", CommandError::Unknown)]
#[case("MAILFROM:<a@x.org>", CommandError::Unknown)]
#[case("VRFY a", CommandError::NotImplemented)]
#[case("XCLIENT ADDR=192.0.2.1", CommandError::NotImplemented)]
#[case("DATA now", CommandError::Arguments)]
#[case("EHLO", CommandError::Name)]
#[case("EHLO a b", CommandError::Name)]
#[case("MAIL", CommandError::Arguments)]
#[case("MAIL FROM: <a@x.org>", CommandError::Arguments)]
#[case("MAIL FROM:a@x.org", CommandError::Arguments)]
#[case("MAIL FROM:<a@x.org", CommandError::Arguments)]
#[case("MAIL FROM:<a@x.org>SIZE=1", CommandError::Arguments)]
#[case("MAIL TO:<a@x.org>", CommandError::Arguments)]
#[case("MAIL FROM:<@relay:a@x.org>", CommandError::Sender(PathError::Syntax))]
#[case(
    "MAIL FROM:<a@x.org> SIZE",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> SIZE=+1",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> SIZE=18446744073709551616",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> SIZE=1 SIZE=1",
    CommandError::Parameter(ParameterError::Repeated)
)]
#[case(
    "MAIL FROM:<a@x.org> BODY=BINARYMIME",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> SMTPUTF8=1",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> ENVID=a+0D+0A",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> ENVID=a+2b",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> ENVID=a+2",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> ENVID=a+\u{fc}",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> ENVID=",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "MAIL FROM:<a@x.org> AUTH=<>",
    CommandError::Parameter(ParameterError::Unknown)
)]
#[case("MAIL FROM:<\u{fc}@x.org>", CommandError::Utf8Needed)]
#[case("RCPT TO:<>", CommandError::Recipient(PathError::Syntax))]
#[case(
    "RCPT TO:<a@x.org> SIZE=1",
    CommandError::Parameter(ParameterError::Unknown)
)]
#[case(
    "RCPT TO:<a@x.org> NOTIFY=NEVER,DELAY",
    CommandError::Parameter(ParameterError::Value)
)]
#[case(
    "RCPT TO:<a@x.org> ORCPT=a@x.org",
    CommandError::Parameter(ParameterError::Value)
)]
fn refuses(#[case] line: &str, #[case] error: CommandError) {
    for protocol in [Protocol::Smtp, Protocol::Lmtp] {
        if !line.starts_with("EHLO") || protocol == Protocol::Smtp {
            assert_eq!(Command::parse(protocol, line.as_bytes()), Err(error));
        }
    }
    let reply = error.reply();
    assert!((500..600).contains(&reply.code) && reply.enhanced.0 == 5);
}

#[test]
fn octets_that_are_no_text_are_refused() {
    let parsed = Command::parse(Protocol::Smtp, b"MAIL FROM:<\xff@x.org>");
    assert_eq!(parsed, Err(CommandError::Arguments));
}

fn any_path() -> impl Strategy<Value = Path> {
    let local = "[a-zA-Z0-9.!#+=-]{1,20}|\"([ !#-\\[\\]-~]|\\\\[ -~]){0,20}\"";
    let domain = "[a-z0-9-]{1,9}(\\.[a-z]{1,9})?|\\[[0-9a-fA-F:.]{1,20}\\]";
    (local, domain)
        .prop_map(|(local, domain)| Path::try_from(format!("{local}@{domain}").as_bytes()).unwrap())
}

fn any_xtext() -> impl Strategy<Value = Xtext> {
    "[ -~]{1,30}".prop_map(|text| Xtext::try_from(text.as_str()).unwrap())
}

fn any_mail() -> impl Strategy<Value = Command> {
    let body = prop_oneof![Just(BodyType::SevenBit), Just(BodyType::EightBitMime)];
    let returned = prop_oneof![Just(Returned::Full), Just(Returned::Headers)];
    let parameters = (
        any::<Option<u64>>(),
        proptest::option::of(body),
        any::<bool>(),
        proptest::option::of(returned),
        proptest::option::of(any_xtext()),
    );
    let sender = prop_oneof![Just(Path::null()), any_path()];
    (sender, parameters).prop_map(|(sender, (size, body, smtputf8, returned, envelope_id))| {
        let parameters = MailParameters {
            size,
            body,
            smtputf8,
            returned,
            envelope_id,
        };
        Command::Mail(sender, parameters)
    })
}

fn any_recipient() -> impl Strategy<Value = Command> {
    let notify = any::<[bool; 3]>().prop_map(|[success, failure, delay]| Notify {
        success,
        failure,
        delay,
    });
    let original =
        ("[a-zA-Z0-9-]{1,9}", any_xtext()).prop_map(|(kind, address)| OriginalRecipient {
            kind: AddressKind::try_from(kind.as_str()).unwrap(),
            address,
        });
    let parameters = (proptest::option::of(notify), proptest::option::of(original));
    (any_path(), parameters).prop_map(|(path, (notify, original))| {
        Command::Recipient(path, RecipientParameters { notify, original })
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    let name = "[!-~]{1,40}".prop_map(|name| hello(Greeting::Ehlo, &name));
    let alone = prop_oneof![
        Just(Command::Data),
        Just(Command::Reset),
        Just(Command::Noop),
        Just(Command::Quit),
    ];
    prop_oneof![name, alone, any_mail(), any_recipient()]
}

proptest! {
    #[test]
    fn what_a_client_writes_reads_back(command in any_command()) {
        let mut line = Vec::new();
        command.write_to(&mut line);
        let text = line.strip_suffix(b"\r\n").unwrap();
        prop_assert!(!text.iter().any(|octet| b"\r\n\0".contains(octet)));
        prop_assert_eq!(Command::parse(Protocol::Smtp, text), Ok(command));
    }

    #[test]
    fn any_octets_parse_or_are_refused(
        line in proptest::collection::vec(any::<u8>(), 0..80),
        text in "(MAIL FROM|RCPT TO|mail from):<[ -~]{0,60}",
    ) {
        let _ = Command::parse(Protocol::Smtp, &line);
        let _ = Command::parse(Protocol::Lmtp, text.as_bytes());
    }
}
