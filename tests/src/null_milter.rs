//! A milter that judges nothing: what Postfix with any milter costs, whatever the milter does.
//!
//! Postfix works for a milter: smtpd hands the connection to cleanup, waits at each recipient, and
//! cleanup replays the stored message after the final dot. A milter can only add to that. This one
//! asks for the same steps as filtermail, throws everything away, and answers where Postfix waits.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, ensure};

/// The version of the protocol, and filtermail's actions: new header fields, changed ones, another
/// envelope sender.
const VERSION_AND_ACTIONS: [u32; 2] = [6, 0x51];

/// filtermail's steps, as bits of `mfdef.h`: no HELO, unknown commands and DATA; no answer to CONNECT,
/// header fields, MAIL, the end of the header section and body chunks; values with their leading
/// space.
const PROTOCOL: u32 =
    0x2 | 0x100 | 0x200 | 0x1000 | 0x80 | 0x4000 | 0x4_0000 | 0x8_0000 | 0x10_0000;

/// filtermail's macros for each of the seven stages: `{auth_authen}` at MAIL, `i` at the end of the
/// message.
const MACROS: [&str; 7] = ["", "", "{auth_authen}", "", "", "i", ""];

/// Postfix's longest body chunk and its head: as few reads as there can be.
const BUFFER: usize = 64 * 1024 + 16;

/// Arguments of `null-milter`.
#[derive(Clone, Debug, clap::Args)]
pub struct NullMilterArgs {
    /// The unix socket to serve; it may be handed on by a supervisor
    socket: PathBuf,
}

/// Serves milter connections until the process is ended.
///
/// # Errors
/// The socket cannot be had, or no more connections be accepted.
pub fn run(args: &NullMilterArgs) -> anyhow::Result<()> {
    let context = || format!("listening on {}", args.socket.display());
    let listener = chatmail::listen::unix(&args.socket, 0o666)
        .and_then(tokio::net::UnixListener::into_std)
        .with_context(context)?;
    listener.set_nonblocking(false).with_context(context)?;
    serve(&listener)
}

/// A thread for each connection: a blocked read is one system call, an event loop's are two.
fn serve(listener: &UnixListener) -> anyhow::Result<()> {
    for stream in listener.incoming() {
        let stream = stream.context("accepting a connection")?;
        thread::spawn(move || {
            if let Err(error) = converse(&stream) {
                eprintln!("{error:#}");
            }
        });
    }
    Ok(())
}

fn converse(mut stream: &UnixStream) -> anyhow::Result<()> {
    let mut input = BufReader::with_capacity(BUFFER, stream);
    while !input.fill_buf()?.is_empty() {
        // The length of what follows, whose first octet is the command's letter.
        let mut head = [0; 5];
        input.read_exact(&mut head)?;
        let [a, b, c, d, letter] = head;
        let payload = u32::from_be_bytes([a, b, c, d]).checked_sub(1);
        skip(&mut input, payload.context("an empty packet")? as usize)?;
        match letter {
            b'O' => stream.write_all(&negotiation())?,
            // A recipient and the end of the message: continue.
            b'R' | b'E' => stream.write_all(b"\0\0\0\x01c")?,
            _ => {}
        }
    }
    Ok(())
}

fn skip(input: &mut BufReader<&UnixStream>, mut count: usize) -> anyhow::Result<()> {
    while count > 0 {
        let there = input.fill_buf()?.len().min(count);
        ensure!(there > 0, "a packet without its end");
        input.consume(there);
        count -= there;
    }
    Ok(())
}

fn negotiation() -> Vec<u8> {
    let [version, actions] = VERSION_AND_ACTIONS;
    let mut answer = [version, actions, PROTOCOL].map(u32::to_be_bytes).concat();
    for (stage, names) in (0_u32..).zip(MACROS) {
        answer.extend(stage.to_be_bytes());
        answer.extend(names.as_bytes());
        answer.push(0);
    }
    // The letter counts too.
    let length = u32::try_from(answer.len() + 1).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &b"O"[..], &answer].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use filtermail::milter::{self, Socket};
    use filtermail::session::{Answer, Outcome, Session};
    use std::future::pending;
    use std::net::IpAddr;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What Postfix offers: version 6, all actions, all steps.
    const OFFER: &[u8] = b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff";

    const CONTINUE: &[u8] = b"\0\0\0\x01c";

    /// Sends what Postfix would and gives all answers, with how the conversation ended.
    fn answers(packets: &[u8]) -> (Vec<u8>, anyhow::Result<()>) {
        let (mut postfix, milter) = UnixStream::pair().unwrap();
        let conversation = thread::spawn(move || converse(&milter));
        postfix.write_all(packets).unwrap();
        postfix.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        postfix.read_to_end(&mut answers).unwrap();
        (answers, conversation.join().unwrap())
    }

    #[test]
    fn answers_come_where_postfix_waits() {
        let mut body = vec![b'x'; 3 * BUFFER];
        body.splice(..0, u32::try_from(body.len() + 1).unwrap().to_be_bytes());
        body.insert(4, b'B');
        let message = [b"\0\0\0\x04M<>\0\0\0\0\x05R<a>\0\0\0\0\x01N", &body[..]].concat();
        let (given, ended) = answers(&[OFFER, &message, b"\0\0\0\x01E\0\0\0\x01Q"].concat());
        assert_eq!(given, [&negotiation(), CONTINUE, CONTINUE].concat());
        ended.unwrap();
    }

    #[test]
    fn what_is_no_packet_ends_it() {
        for packets in [&b"\0\0\0\0R"[..], b"\0\0\0\x09Rabc", b"\0\0"] {
            let (given, ended) = answers(packets);
            assert_eq!(given, b"");
            assert!(ended.is_err(), "{packets:?}");
        }
    }

    /// Else its cost says nothing about filtermail's.
    #[tokio::test]
    async fn it_negotiates_what_filtermail_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = Socket::Unix(chatmail::listen::unix(&path, 0o600).unwrap());
        let serving = milter::serve(
            socket,
            || Silent,
            Default::default(),
            pending(),
            Duration::ZERO,
        );
        let mut given = vec![0; negotiation().len()];
        let asking = async {
            let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
            stream.write_all(OFFER).await.unwrap();
            stream.read_exact(&mut given).await.unwrap();
        };
        tokio::select! {
            () = serving => panic!("filtermail ends"),
            () = asking => {}
        }
        assert_eq!(given, negotiation());
    }

    struct Silent;

    impl Session for Silent {
        fn connected(&mut self, _: Option<IpAddr>) {}
        fn mail(&mut self, _: &[u8], _: Option<&[u8]>) {}
        async fn recipient(&mut self, _: &[u8]) -> Answer {
            Answer::Continue
        }
        fn header(&mut self, _: &[u8], _: &[u8]) {}
        fn end_of_headers(&mut self) {}
        fn body(&mut self, _: &[u8]) {}
        async fn end_of_message(&mut self, _: &str) -> Outcome {
            Outcome::Accept(Vec::new())
        }
        fn abort(&mut self) {}
    }
}
