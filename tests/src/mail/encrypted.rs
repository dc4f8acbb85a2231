//! End-to-end encrypted mail in the form that Delta Chat 2.65 sends: the headers and the frame were
//! compared with what arrived from it.

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use chatmail::Address;
use pgp::composed::{Message as PgpMessage, MessageBuilder};
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::Password;
use rand_core::OsRng;

use super::DATE;
use super::armor::{armor, armored_length};
use super::key::{Key, KeyVersion};
use super::message::{Message, message_id};

/// The container of the encrypted bytes (RFC 9580 section 5.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seipd {
    /// Version 1: AES-128 in CFB mode with a modification detection code, after PKESK version 3.
    V1,
    /// Version 2: AES-128 in OCB mode, after PKESK version 6.
    V2,
}

const BOUNDARY: &str = "encrypted-boundary-0123456789";
const CHUNK: ChunkSize = ChunkSize::C8KiB;
/// Bytes of a packet with each partial length (RFC 9580 section 4.2.1.4).
const PARTIAL: u32 = 512 * 1024;
/// Bytes that a long message may have on top of what a short one shows: longer packet lengths,
/// integers that happen to be shorter, one more chunk.
const SLACK: usize = 48;
/// The longest padding that the `Message-ID` takes.
const PADDING_MAX: usize = 200;

/// An encrypted message of this size in bytes to one recipient: signed, SEIPD v2, anonymous PKESK
/// v6 for the recipient and for the sender.
///
/// # Errors
/// As [`Encrypted::build`].
pub fn encrypted(from: &Address, to: &Address, size: usize) -> anyhow::Result<Message> {
    Encrypted::new(from, to).size(size).build()
}

/// Decrypts what arrived for `recipient` and verifies that `sender` signed it.
///
/// # Errors
/// There is no armored OpenPGP message in `message`, it is not encrypted to this key, or the
/// signature is not the sender's.
pub fn decrypt(message: &[u8], recipient: &Key, sender: &Key) -> anyhow::Result<Vec<u8>> {
    const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
    let at = message
        .windows(BEGIN.len())
        .position(|window| window == BEGIN);
    let armored = at
        .and_then(|at| message.get(at..))
        .context("no armored OpenPGP message")?;
    let (encrypted, _) = PgpMessage::from_armor(armored).context("reading the armor")?;
    let mut opened = encrypted
        .decrypt(&Password::empty(), recipient.secret())
        .context("decrypting")?;
    let payload = opened.as_data_vec().context("reading what was encrypted")?;
    opened
        .verify(&sender.public().primary_key)
        .context("verifying the signature")?;
    Ok(payload)
}

/// What an encrypted message shall be like.
#[derive(Clone, Debug)]
pub struct Encrypted {
    from: Address,
    recipients: Vec<Address>,
    seipd: Seipd,
    keys: KeyVersion,
    checksum: bool,
    payload: Option<Bytes>,
    size: Option<usize>,
}

impl Encrypted {
    /// A short message with SEIPD v2, encrypted to its recipient and to its sender.
    pub fn new(from: &Address, to: &Address) -> Self {
        Self {
            from: from.clone(),
            recipients: vec![to.clone(), from.clone()],
            seipd: Seipd::V2,
            keys: KeyVersion::V4,
            checksum: true,
            payload: None,
            size: None,
        }
    }

    /// Encrypts to one more recipient.
    pub fn and_to(mut self, to: &Address) -> Self {
        self.recipients.push(to.clone());
        self
    }

    /// Chooses the container.
    pub fn seipd(mut self, seipd: Seipd) -> Self {
        self.seipd = seipd;
        self
    }

    /// Chooses the version of everybody's keys.
    pub fn keys(mut self, keys: KeyVersion) -> Self {
        self.keys = keys;
        self
    }

    /// Ends the armor without a CRC24 line, as RFC 9580 section 6.1 advises.
    pub fn without_checksum(mut self) -> Self {
        self.checksum = false;
        self
    }

    /// Encrypts these bytes instead of a chat message.
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Makes the whole message exactly this long, in bytes, headers included, as
    /// [`Message::size`] counts. Has no effect together with [`Encrypted::payload`].
    pub fn size(mut self, size: usize) -> Self {
        self.size = Some(size);
        self
    }

    /// Encrypts. Takes time in proportion to the size, so for many messages make one and vary its
    /// headers ([`Message::renewed`]).
    ///
    /// # Errors
    /// The size is too small for what a message needs, or the OpenPGP library failed.
    pub fn build(self) -> anyhow::Result<Message> {
        match (&self.payload, self.size) {
            (Some(payload), _) => self.message(payload.clone()),
            (None, None) => self.message(self.chat(0)),
            (None, Some(size)) => self.message_of(size),
        }
    }

    /// Chooses the text's length so that the message is a little short, then pads its `Message-ID`.
    fn message_of(&self, size: usize) -> anyhow::Result<Message> {
        let empty = self.chat(0);
        let probe = self.encrypt(empty.clone())?.len();
        let around = self.message(empty)?.size() - armored_length(probe, self.checksum);
        let predicted = |text: usize| {
            // Each chunk of SEIPD version 2 ends in an authentication tag of 16 bytes.
            let tags = match self.seipd {
                Seipd::V1 => 0,
                Seipd::V2 => 16 * (text / CHUNK.as_byte_size() as usize + 1),
            };
            // A signed message is written as it is made, so its packet has partial lengths.
            let lengths = text / PARTIAL as usize;
            around + armored_length(probe + text + tags + lengths + SLACK, self.checksum)
        };
        ensure!(
            predicted(0) <= size,
            "{size} bytes are too few for an encrypted message"
        );
        let (mut fits, mut too_long) = (0, size);
        while too_long - fits > 1 {
            let middle = fits.midpoint(too_long);
            if predicted(middle) <= size {
                fits = middle
            } else {
                too_long = middle
            }
        }
        let message = self.message(self.chat(fits))?;
        let padding = size
            .checked_sub(message.size())
            .filter(|&padding| padding <= PADDING_MAX);
        let Some(padding) = padding else {
            bail!("predicted {size} bytes, made {}", message.size());
        };
        let padded = message_id().replacen('<', &format!("<{}", "p".repeat(padding)), 1);
        Ok(message.with("Message-ID", padded))
    }

    fn message(&self, payload: Bytes) -> anyhow::Result<Message> {
        let armored = armor(&self.encrypt(payload)?, self.checksum);
        let body = format!(
            "\r\n--{BOUNDARY}\r\n\
             Content-Type: application/pgp-encrypted; charset=\"utf-8\"\r\n\
             Content-Transfer-Encoding: 7bit\r\n\r\n\
             Version: 1\r\n\r\n\
             --{BOUNDARY}\r\n\
             Content-Type: application/octet-stream; charset=\"utf-8\"\r\n\
             Content-Transfer-Encoding: 7bit\r\n\r\n\
             {armored}\r\n\
             --{BOUNDARY}--\r\n\r\n"
        );
        Ok(Message::new(
            [
                ("From", format!("<{}>", self.from)),
                ("Date", DATE.to_owned()),
                ("Message-ID", message_id()),
                ("MIME-Version", "1.0".to_owned()),
                ("To", "\"hidden-recipients\": ;".to_owned()),
                ("Subject", "[...]".to_owned()),
                (
                    "Content-Type",
                    format!(
                        "multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n \
                         boundary=\"{BOUNDARY}\""
                    ),
                ),
            ],
            body,
        ))
    }

    /// A chat message with its protected headers, and a text of this length.
    fn chat(&self, text: usize) -> Bytes {
        let others = self.recipients.iter().filter(|to| **to != self.from);
        let to: Vec<_> = others.map(|to| format!("<{to}>")).collect();
        let headers = format!(
            "Content-Type: text/plain; charset=\"utf-8\"; protected-headers=\"v1\"; hp=\"cipher\"\r\n\
             From: <{}>\r\nTo: {}\r\nSubject: Message from the testbed\r\nDate: {DATE}\r\n\
             Chat-Version: 1.0\r\n\r\n",
            self.from,
            to.join(", "),
        );
        let line = b"Nothing that a relay could read.\r\n";
        let text = line.iter().copied().cycle().take(text);
        headers.into_bytes().into_iter().chain(text).collect()
    }

    /// Signs and encrypts; binary OpenPGP packets.
    fn encrypt(&self, payload: Bytes) -> anyhow::Result<Vec<u8>> {
        let sender = Key::of(&self.from, self.keys)?;
        let mut builder = MessageBuilder::from_bytes("", payload);
        builder.sign(
            &sender.secret().primary_key,
            Password::empty(),
            HashAlgorithm::Sha256,
        );
        builder.partial_chunk_size(PARTIAL)?;
        let aes = SymmetricKeyAlgorithm::AES128;
        let binary = match self.seipd {
            Seipd::V1 => {
                let mut builder = builder.seipd_v1(OsRng, aes);
                for recipient in &self.recipients {
                    let key = Key::of(recipient, self.keys)?;
                    builder.encrypt_to_key_anonymous(OsRng, key.encryption_subkey()?)?;
                }
                builder.to_vec(OsRng)
            }
            Seipd::V2 => {
                let mut builder = builder.seipd_v2(OsRng, aes, AeadAlgorithm::Ocb, CHUNK);
                for recipient in &self.recipients {
                    let key = Key::of(recipient, self.keys)?;
                    builder.encrypt_to_key_anonymous(OsRng, key.encryption_subkey()?)?;
                }
                builder.to_vec(OsRng)
            }
        };
        binary.context("encrypting")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn address(local: &str) -> Address {
        format!("{local}@chat.example").parse().unwrap()
    }

    #[rstest]
    fn every_recipient_reads_what_was_sent(
        #[values(KeyVersion::V4, KeyVersion::V6)] keys: KeyVersion,
        #[values(Seipd::V1, Seipd::V2)] seipd: Seipd,
        #[values(true, false)] checksum: bool,
    ) {
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(address);
        let payload = b"any bytes\0\xff\r\n.\r\n".repeat(2000);
        let message = Encrypted::new(&alice, &bob)
            .and_to(&carol)
            .keys(keys)
            .seipd(seipd);
        let message = if checksum {
            message
        } else {
            message.without_checksum()
        };
        let bytes = message.payload(payload.clone()).build().unwrap().to_bytes();

        let key = |address| Key::of(address, keys).unwrap();
        for recipient in [&bob, &carol, &alice] {
            assert_eq!(
                decrypt(&bytes, &key(recipient), &key(&alice)).unwrap(),
                payload
            );
        }
        let mallory = address("mallory");
        assert!(
            decrypt(&bytes, &key(&mallory), &key(&alice)).is_err(),
            "not for mallory"
        );
        assert!(
            decrypt(&bytes, &key(&bob), &key(&mallory)).is_err(),
            "not from mallory"
        );
    }

    #[rstest]
    #[case(Seipd::V2, KeyVersion::V4)]
    #[case(Seipd::V1, KeyVersion::V6)]
    fn sizes_are_exact(#[case] seipd: Seipd, #[case] keys: KeyVersion) {
        let [alice, bob] = ["alice", "bob"].map(address);
        // Around where packet lengths and the number of chunks grow, and anywhere.
        let steps = (11_000..13_500)
            .step_by(31)
            .chain((40_000..52_000).step_by(199));
        for size in (2000..2070).chain(steps).chain([200 << 10, 1_000_003]) {
            let message = Encrypted::new(&alice, &bob)
                .seipd(seipd)
                .keys(keys)
                .size(size);
            let message = message.build().unwrap();
            assert_eq!(message.size(), size);
            assert_eq!(message.to_bytes().len(), size);
        }
    }

    #[test]
    fn a_size_below_the_frame_is_an_error() {
        let alice = address("alice");
        let error = encrypted(&alice, &alice, 500).unwrap_err().to_string();
        assert_eq!(error, "500 bytes are too few for an encrypted message");
    }

    #[test]
    fn the_text_reads_as_a_chat_message() {
        let [alice, bob] = ["alice", "bob"].map(address);
        let message = encrypted(&alice, &bob, 3000).unwrap();
        let [bob, alice] = [&bob, &alice].map(|of| Key::of(of, KeyVersion::V4).unwrap());
        let payload = decrypt(&message.to_bytes(), &bob, &alice).unwrap();
        let text = String::from_utf8(payload).unwrap();
        assert!(
            text.contains("\r\nChat-Version: 1.0\r\n\r\nNothing that a relay"),
            "{text}"
        );
    }
}
