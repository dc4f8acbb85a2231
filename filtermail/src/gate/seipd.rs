//! The packet that holds the message: symmetrically encrypted and integrity protected data
//! (SEIPD, tag 18, RFC 9580 section 5.13).

use super::Rule;
use super::entropy::Randomness;
use super::session_key::aead_nonce_size;

/// Version, block-sized prefix and two octets of it again, integrity code (section 5.13.1).
const V1_MIN: u64 = 1 + 18 + 22;
/// Version, cipher, AEAD mode, chunk size, salt, authentication tag (section 5.13.2).
const V2_MIN: u64 = 4 + 32 + 16;

/// Reads the body of the packet, however it is cut into partial lengths.
#[derive(Debug)]
pub(super) struct Seipd {
    fixed: [u8; 4],
    /// Octets of the body so far.
    length: u64,
    cipher_text: Randomness,
}

impl Seipd {
    pub(super) fn new() -> Self {
        Self {
            fixed: [0; 4],
            length: 0,
            cipher_text: Randomness::new(),
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Rule> {
        while self.length < self.fixed_length() {
            let Some((&octet, rest)) = bytes.split_first() else {
                return Ok(());
            };
            self.fixed_octet(octet)?;
            bytes = rest;
        }
        self.length += bytes.len() as u64;
        self.cipher_text.push(bytes).map_err(|_| Rule::DataPlain)
    }

    pub(super) fn finish(self) -> Result<(), Rule> {
        let minimum = if self.fixed[0] == 2 { V2_MIN } else { V1_MIN };
        if self.length < minimum {
            return Err(Rule::DataShort);
        }
        self.cipher_text.finish().map_err(|_| Rule::DataPlain)
    }

    /// Octets before the random part: one in version 1, four in version 2.
    fn fixed_length(&self) -> u64 {
        if self.length > 0 && self.fixed[0] == 2 {
            4
        } else {
            1
        }
    }

    fn fixed_octet(&mut self, octet: u8) -> Result<(), Rule> {
        match self.length {
            0 if !matches!(octet, 1 | 2) => return Err(Rule::DataVersion),
            // Only ciphers with blocks of 16 octets work with AEAD (section 9.6).
            1 if !matches!(octet, 7..=13) => return Err(Rule::DataAlgorithm),
            2 if aead_nonce_size(octet).is_err() => return Err(Rule::DataAlgorithm),
            // Chunks of up to 2^22 octets.
            3 if octet > 16 => return Err(Rule::DataAlgorithm),
            _ => {}
        }
        if let Some(place) = self.fixed.get_mut(self.length as usize) {
            *place = octet;
        }
        self.length += 1;
        Ok(())
    }
}
