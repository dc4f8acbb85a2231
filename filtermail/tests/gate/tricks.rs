//! Messages that one change makes wrong, with the rule that stops each.

use filtermail::gate::Direction::{Incoming, Outgoing};
use filtermail::gate::{Direction, Rule};

use crate::data::{encrypted_data, session_key};
use crate::message::{armored, around};
use crate::{tricks_with_mime, tricks_with_packets, tricks_with_session_keys};

/// All of them.
pub(crate) fn all_tricks() -> Vec<Trick> {
    [
        tricks_with_mime::header_and_mime_tricks(),
        tricks_with_mime::from_and_securejoin_tricks(),
        tricks_with_session_keys::session_key_tricks(),
        tricks_with_packets::packet_tricks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A message that one change makes wrong.
pub(crate) struct Trick {
    pub(crate) message: Vec<u8>,
    pub(crate) direction: Direction,
    pub(crate) rule: Rule,
}

/// A good message.
pub(crate) fn good() -> String {
    around(&armored(&[session_key(), encrypted_data()].concat()))
}

/// Replaces the first `from` in a good message, or in a good securejoin request.
pub(crate) fn edit(of: &str, from: &str, to: &str) -> Vec<u8> {
    assert!(of.contains(from), "{from:?} is not in the message");
    of.replacen(from, to, 1).into_bytes()
}

pub(crate) fn outgoing(rule: Rule, message: Vec<u8>) -> Trick {
    Trick {
        message,
        direction: Outgoing,
        rule,
    }
}

pub(crate) fn incoming(rule: Rule, message: Vec<u8>) -> Trick {
    Trick {
        message,
        direction: Incoming,
        rule,
    }
}

pub(crate) fn data_trick(rule: Rule, packets: &[Vec<u8>]) -> Trick {
    outgoing(rule, around(&armored(&packets.concat())).into_bytes())
}
