//! A connection from Postfix. Events and answers do not depend on the pieces that the stream comes
//! in, and every answer is a packet that Postfix understands.
//!
//! An input whose first octet is zero is the stream itself. Any other is packets whose lengths are
//! worked out: a letter, two octets of length and the payload, each; a good negotiation precedes.

#![no_main]

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use chatmail::Reply;
use chatmail_fuzz::pieces::pieces;
use chatmail_fuzz::ready::ready;
use filtermail::milter::{Malformed, fuzz::converse};
use filtermail::session::{Answer, Edit, Outcome, Session};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let stream = match input {
        [0, ..] => input.to_vec(),
        packets => framed(packets),
    };
    let whole = listen(&[&stream]);
    assert_eq!(listen(&pieces(&stream)), whole);
    assert_are_answers(&whole.answers);
});

/// Everything that comes of a connection.
#[derive(Debug, PartialEq)]
struct Course {
    events: Vec<Event>,
    answers: Vec<u8>,
    end: Result<(), Malformed>,
}

fn listen(pieces: &[&[u8]]) -> Course {
    let events = Arc::default();
    let (answers, end) = ready(converse(Recorder(Arc::clone(&events)), pieces));
    let events = std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner));
    Course {
        events,
        answers,
        end,
    }
}

/// Gives each packet its length.
fn framed(mut packets: &[u8]) -> Vec<u8> {
    let all = [0xFF; 4];
    let mut stream = [&[0, 0, 0, 13, b'O', 0, 0, 0, 6][..], &all, &all].concat();
    while let Some((&[letter, a, b], rest)) = packets.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([a, b])).min(rest.len());
        let (payload, behind) = rest.split_at(length);
        packets = behind;
        stream.extend((length as u32 + 1).to_be_bytes());
        stream.push(letter);
        stream.extend_from_slice(payload);
    }
    stream
}

/// Answers are packets of the letters that a milter may send, and texts keep to their places.
fn assert_are_answers(mut answers: &[u8]) {
    while let Some((length, rest)) = answers.split_first_chunk() {
        let (packet, behind) = rest
            .split_at_checked(u32::from_be_bytes(*length) as usize)
            .expect("a whole packet");
        answers = behind;
        let (letter, payload) = packet.split_first().expect("a letter");
        match letter {
            b'O' => assert!(payload.len() > 12),
            b'c' => assert!(payload.is_empty()),
            b'y' => {
                let (nul, text) = payload.split_last().expect("a text");
                assert_eq!(*nul, 0);
                assert!(text.iter().all(|octet| matches!(octet, b' '..=b'~')));
                assert!(text.len() <= 1024 && matches!(text[0], b'4' | b'5'));
            }
            b'm' | b'i' => {
                let texts = payload[4..].iter().filter(|&&octet| octet == 0).count();
                assert!(payload.ends_with(b"\0") && texts == 2);
            }
            b'e' => assert!(payload.ends_with(b"\0")),
            other => panic!("letter {}", char::from(*other)),
        }
    }
    assert!(answers.is_empty());
}

#[derive(Debug, PartialEq)]
enum Event {
    Connected(Option<IpAddr>),
    Mail(Vec<u8>, Option<Vec<u8>>),
    Recipient(Vec<u8>),
    Header(Vec<u8>, Vec<u8>),
    EndOfHeaders,
    Body(Vec<u8>),
    EndOfMessage(String),
    Abort,
}

/// Writes down what it is told, and answers by what it was told.
struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    fn note(&self, event: Event) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (events.last_mut(), event) {
            (Some(Event::Body(body)), Event::Body(more)) => body.extend(more),
            (_, event) => events.push(event),
        }
    }
}

impl Session for Recorder {
    fn connected(&mut self, client: Option<IpAddr>) {
        self.note(Event::Connected(client));
    }

    fn mail(&mut self, sender: &[u8], login: Option<&[u8]>) {
        self.note(Event::Mail(sender.to_vec(), login.map(<[u8]>::to_vec)));
    }

    async fn recipient(&mut self, recipient: &[u8]) -> Answer {
        self.note(Event::Recipient(recipient.to_vec()));
        if recipient.len() % 2 == 0 {
            Answer::Continue
        } else {
            let text = String::from_utf8_lossy(recipient).into_owned();
            Answer::Refuse(Reply::new(550, (5, 1, 1), text))
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        self.note(Event::Header(name.to_vec(), value.to_vec()));
    }

    fn end_of_headers(&mut self) {
        self.note(Event::EndOfHeaders);
    }

    fn body(&mut self, chunk: &[u8]) {
        self.note(Event::Body(chunk.to_vec()));
    }

    async fn end_of_message(&mut self, queue_id: &str) -> Outcome {
        self.note(Event::EndOfMessage(queue_id.to_owned()));
        match queue_id.len() % 3 {
            0 => Outcome::Accept(Vec::new()),
            1 => Outcome::Refuse(Reply::new(451, (4, 3, 0), queue_id.to_owned())),
            _ => {
                let (name, value) = (|| "Subject".to_owned(), || "[...]".to_owned());
                Outcome::Accept(vec![
                    Edit::Insert {
                        name: name(),
                        value: value(),
                    },
                    Edit::Replace {
                        name: name(),
                        occurrence: 1,
                        value: value(),
                    },
                    Edit::Delete {
                        name: name(),
                        occurrence: 2,
                    },
                    Edit::Sender(String::new()),
                ])
            }
        }
    }

    fn abort(&mut self) {
        self.note(Event::Abort);
    }
}
