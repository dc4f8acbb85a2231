//! The checksum of OpenPGP armor, CRC-24 (RFC 9580 section 6.1.1), fast enough not to matter.
//!
//! The register is kept in the upper 24 bits of a `u32`, so that it works like a 32-bit CRC,
//! most significant bit first. Eight octets are taken at a time with eight tables, and four
//! stretches of the data side by side, since one stretch alone would wait for its own table
//! look-ups. A stretch that started from zero is joined to what precedes it by advancing the
//! earlier register over as many zero octets: the register is linear in its content.

/// `0x864CFB`, the polynomial without its leading term, in the upper 24 bits.
const POLYNOMIAL: u32 = 0x864C_FB00;
/// `0xB704CE`, in the upper 24 bits.
const INITIAL: u32 = 0xB704_CE00;
/// Words of eight octets in each of the four stretches.
const STRETCH: usize = 48;

/// `SLICES[k][octet]`: the register after `octet` and then `k` zero octets.
static SLICES: [[u32; 256]; 8] = slices();
/// `ADVANCE[k][octet]`: the register whose octet `k` (from the top) was `octet`, after a
/// [`STRETCH`] of zero octets.
static ADVANCE: [[u32; 256]; 3] = advance_tables();

/// A running checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crc24(u32);

impl Crc24 {
    pub(super) const fn new() -> Self {
        Self(INITIAL)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut blocks = words.chunks_exact(4 * STRETCH);
        for block in &mut blocks {
            self.0 = four_stretches(self.0, block);
        }
        self.0 = blocks.remainder().iter().fold(self.0, eight_octets);
        for &octet in rest {
            self.0 = (self.0 << 8) ^ lookup(&SLICES[0], (self.0 >> 24) ^ u32::from(octet));
        }
    }

    /// The 24-bit checksum.
    pub(super) const fn value(self) -> u32 {
        self.0 >> 8
    }
}

fn four_stretches(register: u32, block: &[[u8; 8]]) -> u32 {
    let (front, back) = block.split_at(2 * STRETCH);
    let (first, second) = front.split_at(STRETCH);
    let (third, fourth) = back.split_at(STRETCH);
    let mut registers = [register, 0, 0, 0];
    for (((a, b), c), d) in first.iter().zip(second).zip(third).zip(fourth) {
        registers = [
            eight_octets(registers[0], a),
            eight_octets(registers[1], b),
            eight_octets(registers[2], c),
            eight_octets(registers[3], d),
        ];
    }
    let [first, rest @ ..] = registers;
    rest.into_iter()
        .fold(first, |joined, next| advance(joined) ^ next)
}

#[inline(always)]
fn eight_octets(register: u32, &[a, b, c, d, e, f, g, h]: &[u8; 8]) -> u32 {
    let head = register ^ u32::from_be_bytes([a, b, c, d]);
    lookup(&SLICES[7], head >> 24)
        ^ lookup(&SLICES[6], head >> 16)
        ^ lookup(&SLICES[5], head >> 8)
        // The register has nothing in its lowest octet.
        ^ SLICES[4][usize::from(d)]
        ^ SLICES[3][usize::from(e)]
        ^ SLICES[2][usize::from(f)]
        ^ SLICES[1][usize::from(g)]
        ^ SLICES[0][usize::from(h)]
}

fn advance(register: u32) -> u32 {
    lookup(&ADVANCE[0], register >> 24)
        ^ lookup(&ADVANCE[1], register >> 16)
        ^ lookup(&ADVANCE[2], register >> 8)
}

#[inline(always)]
fn lookup(table: &[u32; 256], index: u32) -> u32 {
    table[(index & 0xFF) as usize]
}

const fn zero_octet(mut register: u32) -> u32 {
    let mut bit = 0;
    while bit < 8 {
        let carry = register >> 31;
        register <<= 1;
        if carry == 1 {
            register ^= POLYNOMIAL;
        }
        bit += 1;
    }
    register
}

const fn slices() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut octet = 0;
    while octet < 256 {
        let mut register = (octet as u32) << 24;
        let mut slice = 0;
        while slice < 8 {
            register = zero_octet(register);
            tables[slice][octet] = register;
            slice += 1;
        }
        octet += 1;
    }
    tables
}

const fn advance_tables() -> [[u32; 256]; 3] {
    let mut of_bit = [0; 24];
    let mut bit = 0;
    while bit < 24 {
        let mut register = 1 << (31 - bit);
        let mut step = 0;
        while step < 8 * STRETCH {
            register = zero_octet(register);
            step += 1;
        }
        of_bit[bit] = register;
        bit += 1;
    }
    let mut tables = [[0; 256]; 3];
    let mut index = 0;
    while index < 3 * 256 * 8 {
        let (table, octet, bit) = (index / 2048, index / 8 % 256, index % 8);
        if octet >> (7 - bit) & 1 == 1 {
            tables[table][octet] ^= of_bit[table * 8 + bit];
        }
        index += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit, as RFC 9580 section 6.1.1 describes it.
    fn plain(bytes: &[u8]) -> u32 {
        let register = bytes
            .iter()
            .fold(INITIAL, |r, b| zero_octet(r ^ (u32::from(*b) << 24)));
        register >> 8
    }

    #[test]
    fn known_value() {
        let mut crc = Crc24::new();
        crc.update(b"123456789");
        assert_eq!(crc.value(), 0x21CF02);
    }

    proptest! {
        #[test]
        fn equals_the_plain_definition(
            bytes in proptest::collection::vec(any::<u8>(), 0..9000),
            cut in any::<prop::sample::Index>(),
        ) {
            let (front, back) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut crc = Crc24::new();
            crc.update(front);
            crc.update(back);
            prop_assert_eq!(crc.value(), plain(&bytes));
        }
    }
}
