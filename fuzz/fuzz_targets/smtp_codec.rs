//! SMTP and LMTP from both sides. The octets are a client's stream to a server, a server's replies to
//! a client, and a message to be sent. How they are cut does not matter; what was read can be
//! written and reads the same; and a message ends where CRLF, dot, CRLF is and nowhere else.

#![no_main]

use chatmail::Reply;
use chatmail::smtp::{
    Command, DataDecoder, DataEncoder, DataFault, DataProgress, Extensions, LineFault, Lines,
    Protocol, ReplyError, ReplyReader, ServerReply, write_lines, write_reply,
};
use chatmail_fuzz::pieces::pieces;
use libfuzzer_sys::fuzz_target;

/// Largest message that the server takes.
const SIZE_MAX: u64 = 1024;

fuzz_target!(|octets: &[u8]| {
    let cut = pieces(octets);
    let served = serve(&[octets]);
    assert_eq!(serve(&cut), served, "a client's stream in pieces");
    served.iter().for_each(assert_served);
    let replies = read_replies(&[octets]);
    assert_eq!(read_replies(&cut), replies, "replies in pieces");
    replies.iter().flatten().for_each(assert_reply_survives);
    assert_data_end(octets);
    assert_message_survives(octets);
});

/// What a server makes of a client's stream.
#[derive(Debug, PartialEq)]
enum Served {
    Line(Vec<u8>),
    Fault(LineFault),
    Data(Vec<u8>, Result<(), DataFault>),
}

/// Reads commands, and a message after each `DATA`.
fn serve(pieces: &[&[u8]]) -> Vec<Served> {
    let mut lines = Lines::new(Lines::COMMAND_MAX);
    let mut data: Option<(DataDecoder, Vec<u8>)> = None;
    let mut served = Vec::new();
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            if let Some((decoder, message)) = &mut data {
                if let DataProgress::End(end) = decoder.take(&mut piece, message) {
                    assert_eq!(decoder.fault().map_or(Ok(()), Err), end);
                    served.push(Served::Data(std::mem::take(message), end));
                    data = None;
                }
                continue;
            }
            match lines.take(&mut piece) {
                None => assert!(piece.is_empty()),
                Some(Err(fault)) => served.push(Served::Fault(fault)),
                Some(Ok(line)) => {
                    if Command::parse(Protocol::Smtp, &line) == Ok(Command::Data) {
                        data = Some((DataDecoder::new(SIZE_MAX), Vec::new()));
                    }
                    served.push(Served::Line(line));
                }
            }
        }
    }
    served
}

fn assert_served(served: &Served) {
    match served {
        Served::Fault(_) => {}
        Served::Data(message, end) => {
            assert!(message.len() as u64 <= SIZE_MAX);
            assert!(end.is_err() || message.is_empty() || message.ends_with(b"\r\n"));
        }
        Served::Line(line) => {
            assert!(line.len() <= Lines::COMMAND_MAX);
            for protocol in [Protocol::Smtp, Protocol::Lmtp] {
                match Command::parse(protocol, line) {
                    Ok(command) => assert_command_survives(protocol, &command),
                    Err(error) => assert!((500..600).contains(&error.reply().code)),
                }
            }
        }
    }
}

fn assert_command_survives(protocol: Protocol, command: &Command) {
    let mut written = Vec::new();
    command.write_to(&mut written);
    let mut rest = written.as_slice();
    let line = Lines::new(2 * Lines::COMMAND_MAX)
        .take(&mut rest)
        .expect("a line")
        .expect("a good line");
    assert!(rest.is_empty());
    assert_eq!(Command::parse(protocol, &line).as_ref(), Ok(command));
    if let Command::Mail(path, _) | Command::Recipient(path, _) = command
        && let Ok(address) = path.address()
    {
        assert_eq!(
            path.as_bytes().contains(&b'['),
            address.domain().ip().is_some()
        );
    }
}

/// The replies up to the first that cannot be read.
fn read_replies(pieces: &[&[u8]]) -> Vec<Result<ServerReply, ReplyError>> {
    let mut reader = ReplyReader::new();
    let mut replies = Vec::new();
    for mut piece in pieces.iter().copied() {
        while let Some(reply) = reader.take(&mut piece) {
            let broken = reply.is_err();
            replies.push(reply);
            if broken {
                return replies;
            }
        }
    }
    replies
}

fn assert_reply_survives(given: &ServerReply) {
    let reply = given.to_reply();
    assert_eq!(reply.code, given.code);
    let mut wire = Vec::new();
    write_reply(&reply, &mut wire);
    let replies = read_replies(&[&wire]);
    let [Ok(again)] = replies.as_slice() else {
        panic!("{} is not a reply", wire.escape_ascii());
    };
    if !(300..400).contains(&reply.code) {
        let text = again.lines.concat();
        assert_eq!(
            Reply::new(again.code, again.enhanced.expect("a code"), text),
            reply
        );
    }
    let mut wire = Vec::new();
    write_lines(
        given.code,
        given.lines.iter().map(String::as_str),
        &mut wire,
    );
    assert!(matches!(read_replies(&[&wire]).as_slice(), [Ok(_)]));
    let extensions = Extensions::from_reply(given);
    let mut lines = extensions.to_lines();
    lines.insert(0, "mx.example".to_owned());
    let told = ServerReply {
        lines,
        ..given.clone()
    };
    assert_eq!(Extensions::from_reply(&told), extensions);
}

/// The octets as a message on the wire: it ends at the first CRLF, dot, CRLF, the start counting as
/// a CRLF, whatever else is in it.
fn assert_data_end(octets: &[u8]) {
    const END: &[u8] = b"\r\n.\r\n";
    let stream = [b"\r\n", octets].concat();
    let end = stream.windows(END.len()).position(|window| window == END);
    let expected = end.map(|at| &octets[at + END.len() - 2..]);
    let mut rest = octets;
    let ended = DataDecoder::new(u64::MAX).take(&mut rest, &mut Vec::new());
    let ended = matches!(ended, DataProgress::End(_)).then_some(rest);
    assert_eq!(ended, expected);
}

/// The octets as a message to be sent.
fn assert_message_survives(octets: &[u8]) {
    let wire = encode(&[octets]);
    assert_eq!(encode(&pieces(octets)), wire, "a message in pieces");
    let Ok(wire) = wire else { return };
    let stream = [wire.as_slice(), b"QUIT\r\n"].concat();
    let mut input = stream.as_slice();
    let mut message = Vec::new();
    let ended = DataDecoder::new(u64::MAX).take(&mut input, &mut message);
    assert_eq!(ended, DataProgress::End(Ok(())));
    assert_eq!(input, b"QUIT\r\n");
    let line_end: &[u8] = if octets.is_empty() || octets.ends_with(b"\r\n") {
        b""
    } else {
        b"\r\n"
    };
    assert_eq!(message, [octets, line_end].concat());
}

fn encode(pieces: &[&[u8]]) -> Result<Vec<u8>, DataFault> {
    let mut encoder = DataEncoder::new();
    let mut wire = Vec::new();
    for piece in pieces {
        encoder.push(piece, &mut wire)?;
    }
    encoder.finish(&mut wire)?;
    Ok(wire)
}
