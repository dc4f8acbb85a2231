//! Session-key packets, read to their last octet.
//!
//! A message begins with its session key, encrypted once for each recipient: to a public key in a
//! PKESK packet (RFC 9580 section 5.1), to a password in a SKESK packet (section 5.3). Every octet
//! of such a packet is either fixed by the format or the output of a cipher; the former are
//! checked one by one, the latter are handed to the [`Free`] collector, which asks that they look
//! random. So a packet has no room for text.

use super::Rule;
use super::entropy::{Randomness, field_is_plain};

/// The largest packet that these formats can make: two 65 535-bit numbers for a v6 fingerprint.
pub(super) const SIZE_MAX: usize = 2 * (2 + 8192) + 64;

/// The octets that the formats leave free, of all session-key packets of one message.
#[derive(Debug, Default)]
pub(super) struct Free(Randomness);

impl Free {
    /// Judges what the single fields were too short for.
    pub(super) fn finish(self) -> Result<(), Rule> {
        self.0.finish().map_err(|_| Rule::SessionKeyPlain)
    }

    fn add(&mut self, field: &[u8]) -> Result<(), Rule> {
        if field_is_plain(field) || self.0.push(field).is_err() {
            return Err(Rule::SessionKeyPlain);
        }
        Ok(())
    }
}

/// The AEAD mode OCB (RFC 9580 section 9.6).
const OCB: u8 = 2;

/// Checks the body of a public-key encrypted session key packet, tag 1.
pub(super) fn check_public_key(body: &[u8], free: &mut Free) -> Result<(), Rule> {
    let mut fields = Fields { rest: body, free };
    let version = match fields.octet()? {
        3 => PublicKeyVersion::V3,
        6 => PublicKeyVersion::V6,
        _ => return Err(Rule::SessionKeyVersion),
    };
    match version {
        PublicKeyVersion::V3 => {
            let key_id = fields.take(8)?;
            // All zeroes hides the recipient (RFC 9580 section 5.1.8).
            if key_id != [0; 8] {
                fields.free.add(key_id)?;
            }
        }
        PublicKeyVersion::V6 => fields.fingerprint()?,
    }
    match (fields.octet()?, version) {
        // RSA; 3 is for signatures only (RFC 9580 section 9.1).
        (1 | 2, _) => fields.number()?,
        // Elgamal: "MUST NOT generate ElGamal v6 PKESK packets" (section 5.1.4).
        (16, PublicKeyVersion::V3) => {
            fields.number()?;
            fields.number()?;
        }
        (18, _) => fields.ecdh()?,
        (25, _) => {
            fields.x25519_point()?;
            fields.wrapped_key(version)?;
        }
        (26, _) => {
            fields.free(56)?;
            fields.wrapped_key(version)?;
        }
        // ML-KEM-768 + X25519 and ML-KEM-1024 + X448 (draft-ietf-openpgp-pqc section 4.3.1).
        (35, _) => {
            fields.x25519_point()?;
            fields.free(1088)?;
            fields.wrapped_key(version)?;
        }
        (36, _) => {
            fields.free(56)?;
            fields.free(1568)?;
            fields.wrapped_key(version)?;
        }
        _ => return Err(Rule::SessionKeyAlgorithm),
    }
    fields.end()
}

/// Checks the body of a symmetric-key encrypted session key packet, tag 3.
pub(super) fn check_password(body: &[u8], free: &mut Free) -> Result<(), Rule> {
    let mut fields = Fields { rest: body, free };
    match fields.octet()? {
        // RFC 9580 section 5.3.1.
        4 => {
            cipher_key_size(fields.octet()?)?;
            fields.s2k()?;
            match fields.rest.len() {
                // The password makes the session key itself.
                0 => Ok(()),
                // One octet for the cipher, then its key.
                17 | 25 | 33 => fields.free(fields.rest.len()),
                _ => Err(Rule::SessionKeyLength),
            }
        }
        // LibrePGP's packet, which GnuPG writes: the mode is OCB, and the session key is one for
        // the cipher that seals it.
        5 => {
            let cipher = fields.octet()?;
            let mode = fields.octet()?;
            if mode != OCB {
                return Err(Rule::SessionKeyAlgorithm);
            }
            fields.s2k()?;
            let session_key = cipher_key_size(cipher)?;
            fields.sealed_key(cipher, aead_nonce_size(mode)?, &[session_key])
        }
        // RFC 9580 section 5.3.2.
        6 => {
            let parameters = usize::from(fields.octet()?);
            let before = fields.rest.len();
            let cipher = fields.octet()?;
            let nonce = aead_nonce_size(fields.octet()?)?;
            let s2k = usize::from(fields.octet()?);
            let before_s2k = fields.rest.len();
            fields.s2k()?;
            let s2k_fits = before_s2k - fields.rest.len() == s2k;
            if !s2k_fits || before - fields.rest.len() + nonce != parameters {
                return Err(Rule::SessionKeyLength);
            }
            // The session key is for the cipher of the data, whichever that is.
            fields.sealed_key(cipher, nonce, &[16, 24, 32])
        }
        _ => Err(Rule::SessionKeyVersion),
    }
}

/// The key size in octets of a cipher (RFC 9580 section 9.3).
pub(super) fn cipher_key_size(cipher: u8) -> Result<usize, Rule> {
    match cipher {
        1 | 3 | 4 | 7 | 11 => Ok(16),
        2 | 8 | 12 => Ok(24),
        9 | 10 | 13 => Ok(32),
        _ => Err(Rule::SessionKeyAlgorithm),
    }
}

/// The nonce size in octets of an AEAD mode: EAX, OCB, GCM (RFC 9580 section 9.6).
pub(super) fn aead_nonce_size(mode: u8) -> Result<usize, Rule> {
    match mode {
        1 => Ok(16),
        2 => Ok(15),
        3 => Ok(12),
        _ => Err(Rule::SessionKeyAlgorithm),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PublicKeyVersion {
    V3,
    V6,
}

/// The octets of a packet that are not yet read.
struct Fields<'a> {
    rest: &'a [u8],
    free: &'a mut Free,
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Rule> {
        let (field, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(Rule::SessionKeyLength)?;
        self.rest = rest;
        Ok(field)
    }

    fn octet(&mut self) -> Result<u8, Rule> {
        let (&octet, rest) = self.rest.split_first().ok_or(Rule::SessionKeyLength)?;
        self.rest = rest;
        Ok(octet)
    }

    fn free(&mut self, count: usize) -> Result<(), Rule> {
        let field = self.take(count)?;
        self.free.add(field)
    }

    fn end(&self) -> Result<(), Rule> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Rule::SessionKeyLength)
        }
    }

    /// Size, key version, fingerprint (RFC 9580 section 5.1.2); size zero hides the recipient.
    fn fingerprint(&mut self) -> Result<(), Rule> {
        let size = self.octet()?;
        if size == 0 {
            return Ok(());
        }
        match (size, self.octet()?) {
            (21, 4) => self.free(20),
            (33, 6) => self.free(32),
            _ => Err(Rule::SessionKeyRecipient),
        }
    }

    /// A multiprecision integer as large as a cipher text of RSA or Elgamal (section 3.2): from
    /// 512 bits to the 16384 of the largest keys in use. Its first octet is not free.
    fn number(&mut self) -> Result<(), Rule> {
        let octets = self.integer()?;
        if !(64..=2048).contains(&octets.len()) {
            return Err(Rule::SessionKeyNumber);
        }
        self.free.add(octets.get(1..).unwrap_or_default())
    }

    /// The octets of a multiprecision integer whose bit count is exact.
    fn integer(&mut self) -> Result<&'a [u8], Rule> {
        let bits = u16::from_be_bytes([self.octet()?, self.octet()?]);
        let octets = self.take(usize::from(bits.div_ceil(8)))?;
        match octets.first() {
            Some(first) if u32::from(bits) == 8 * octets.len() as u32 - first.leading_zeros() => {
                Ok(octets)
            }
            _ => Err(Rule::SessionKeyNumber),
        }
    }

    /// A point as an integer, then the wrapped key with its size (RFC 9580 section 11.5).
    fn ecdh(&mut self) -> Result<(), Rule> {
        let free = match (self.integer()?, ()) {
            // Curve25519Legacy: the native form behind 0x40 (section 11.2.2).
            ([0x40, point @ ..], ()) if point.len() == 32 => point.get(..31),
            // SEC1 form. The first octets of both coordinates depend on the curve's prime: two
            // for P-521, one for the others.
            ([0x04, point @ ..], ()) if matches!(point.len(), 64 | 96 | 128) => {
                let (x, y) = point.split_at(point.len() / 2);
                self.free.add(x.get(1..).unwrap_or_default())?;
                y.get(1..)
            }
            ([0x04, point @ ..], ()) if point.len() == 132 => {
                let (x, y) = point.split_at(66);
                if x.first().max(y.first()) > Some(&1) {
                    return Err(Rule::SessionKeyPoint);
                }
                self.free.add(x.get(1..).unwrap_or_default())?;
                y.get(1..)
            }
            _ => return Err(Rule::SessionKeyPoint),
        };
        self.free.add(free.unwrap_or_default())?;
        // Padded to 24, 32 or 40 octets, and eight more for the wrapping.
        match self.octet()? {
            size @ (32 | 40 | 48) => self.free(usize::from(size)),
            _ => Err(Rule::SessionKeyLength),
        }
    }

    /// 32 octets, the last of which has its top bit clear (RFC 7748 section 5).
    fn x25519_point(&mut self) -> Result<(), Rule> {
        let point = self.take(32)?;
        if point.last().is_some_and(|last| last & 0x80 != 0) {
            return Err(Rule::SessionKeyPoint);
        }
        self.free.add(point.get(..31).unwrap_or_default())
    }

    /// The size of what follows, in version 3 the cipher, and the wrapped key (RFC 9580 section
    /// 5.1.6): an AES key and eight octets.
    fn wrapped_key(&mut self, version: PublicKeyVersion) -> Result<(), Rule> {
        let mut size = usize::from(self.octet()?);
        if version == PublicKeyVersion::V3 {
            let cipher = self.octet()?;
            if !matches!(cipher, 7..=9) {
                return Err(Rule::SessionKeyAlgorithm);
            }
            if size != 1 + cipher_key_size(cipher)? + 8 {
                return Err(Rule::SessionKeyLength);
            }
            size -= 1;
        }
        match size {
            24 | 32 | 40 => self.free(size),
            _ => Err(Rule::SessionKeyLength),
        }
    }

    /// A string-to-key specifier (RFC 9580 section 3.7.1).
    fn s2k(&mut self) -> Result<(), Rule> {
        match self.octet()? {
            0 => self.s2k_hash(),
            1 => {
                self.s2k_hash()?;
                self.free(8)
            }
            3 => {
                self.s2k_hash()?;
                self.free(8)?;
                self.octet().map(drop)
            }
            // Argon2: passes and lanes are not zero, memory is at least eight blocks a lane.
            4 => {
                self.free(16)?;
                let (passes, lanes, memory) = (self.octet()?, self.octet()?, self.octet()?);
                let memory_min = 3 + lanes.checked_next_power_of_two().map_or(8, u8::ilog2);
                if passes == 0 || lanes == 0 || !(memory_min..=31).contains(&memory.into()) {
                    return Err(Rule::SessionKeyS2k);
                }
                Ok(())
            }
            _ => Err(Rule::SessionKeyS2k),
        }
    }

    /// A hash algorithm (RFC 9580 section 9.5).
    fn s2k_hash(&mut self) -> Result<(), Rule> {
        match self.octet()? {
            1..=3 | 8..=12 | 14 => Ok(()),
            _ => Err(Rule::SessionKeyS2k),
        }
    }

    /// Nonce, encrypted session key of one of these sizes, and authentication tag of 16 octets, up
    /// to the end of the packet.
    fn sealed_key(&mut self, cipher: u8, nonce: usize, sizes: &[usize]) -> Result<(), Rule> {
        // AEAD is defined for ciphers with blocks of 16 octets only (section 9.6).
        if !matches!(cipher, 7..=13) {
            return Err(Rule::SessionKeyAlgorithm);
        }
        self.free(nonce)?;
        let size = self.rest.len();
        if !sizes.iter().any(|key| key + 16 == size) {
            return Err(Rule::SessionKeyLength);
        }
        self.free(size)
    }
}
