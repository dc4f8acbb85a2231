//! The one question that the testbed itself asks its server: have you read the last change?

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::zone::GENERATION;

/// Another datagram than the answer to our question is as good as none.
const ID: [u8; 2] = *b"tb";

/// The longest answer without EDNS (RFC 1035 section 2.3.4).
const ANSWER_MAX: usize = 512;

/// Which generation of the zone the server has, `None` when it does not answer in time or does not know.
/// A server that refuses the datagram is waited for just as long: it may be about to start.
///
/// # Errors
/// There is no socket to ask from.
pub(super) fn generation(server: SocketAddr, wait: Duration) -> io::Result<Option<u64>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(wait))?;
    socket.connect(server)?;
    let question = question();
    let mut answer = [0; ANSWER_MAX];
    let received = socket
        .send(&question)
        .and_then(|_| socket.recv(&mut answer));
    match received {
        Ok(length) => Ok(answer
            .get(..length)
            .and_then(|answer| read(answer, question.len()))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::thread::sleep(Duration::from_millis(5));
            Ok(None)
        }
        Err(_) => Ok(None),
    }
}

/// RFC 1035 section 4.1: a header that asks for one thing, then name, type and class.
fn question() -> Vec<u8> {
    let mut packet = ID.to_vec();
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in GENERATION.split('.') {
        packet.push(u8::try_from(label.len()).unwrap_or(0));
        packet.extend(label.as_bytes());
    }
    // The end of the name; TXT, IN.
    packet.extend([0, 0, 16, 0, 1]);
    packet
}

/// The answer repeats the question; then come a pointer to its name, type, class, TTL and length, in
/// twelve octets, and the text behind an octet with its length.
fn read(answer: &[u8], question: usize) -> Option<u64> {
    if !answer.starts_with(&ID) {
        return None;
    }
    let (&length, text) = answer.get(question + 12..)?.split_first()?;
    std::str::from_utf8(text.get(..usize::from(length))?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers one question with these octets after it.
    fn asked(rest: &'static [u8]) -> Option<u64> {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut packet = [0; ANSWER_MAX];
            let (length, client) = server.recv_from(&mut packet).unwrap();
            let answer = [&packet[..length], rest].concat();
            server.send_to(&answer, client).unwrap();
        });
        generation(address, Duration::from_secs(30)).unwrap()
    }

    #[test]
    fn a_generation_is_read() {
        let answer = b"\xc0\x0c\0\x10\0\x01\0\0\0\0\0\x04\x03123";
        assert_eq!(asked(answer), Some(123));
    }

    #[test]
    fn what_is_no_answer_says_nothing() {
        assert_eq!(asked(b""), None);
        assert_eq!(asked(b"\xc0\x0c\0\x10\0\x01\0\0\0\0\0\x04\x0912"), None);
        assert_eq!(asked(b"\xc0\x0c\0\x10\0\x01\0\0\0\0\0\x04\x02ab"), None);
    }

    #[test]
    fn nobody_there_says_nothing() {
        let free = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(generation(free, Duration::from_millis(200)).unwrap(), None);
    }
}
