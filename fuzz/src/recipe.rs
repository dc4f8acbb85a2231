//! Packets, described so that a fuzzer can change the description and still get packets.
//!
//! Most of what a packet holds is lengths and cipher text. A fuzzer that mutates the octets of a
//! packet breaks the first and cannot invent the second, so it hardly ever gets beyond the length
//! checks. A recipe says what is in a packet; lengths are worked out and cipher text is noise.
//!
//! A recipe is a sequence of octets. The upper three bits of the first one say what to do, the lower
//! five are the argument `a`, and sometimes more octets follow:
//!
//! | bits | followed by | writes |
//! |---|---|---|
//! | 0 | `a` octets | these octets |
//! | 1 | one octet `b` | `256 a + b` octets of noise |
//! | 2 | one octet, the [`Style`] of the length | the header of a packet of type `a`, around all up to its end |
//! | 3 | - | ends what was begun last |
//! | 4 | one octet `b` | a multiprecision integer of `256 a + b` bits (RFC 9580 section 3.2) |
//! | 5 | - | the size in one octet of all up to its end, `a` too large |
//! | 6, 7 | - | nothing |

use crate::noise::Noise;

/// Octets that a recipe makes at most.
const SIZE_MAX: usize = 256 * 1024;

/// How the header of a packet gives its length (RFC 9580 section 4.2): the lower three bits of an
/// octet. The upper five are a number that some of the styles need.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Current format, the shortest form.
    Short = 0,
    /// Current format, five octets.
    Long = 1,
    /// Legacy format, one octet.
    LegacyOne = 2,
    /// Legacy format, two octets.
    LegacyTwo = 3,
    /// Legacy format, four octets.
    LegacyFour = 4,
    /// Partial lengths of 2 to the power of the number.
    Partial = 5,
    /// One partial length of 2 to the power of the number, if there is so much, then the rest.
    PartialOnce = 6,
    /// Five octets that say 16 less than the number more than is there.
    Wrong = 7,
}

/// Writes recipes, for seeds.
#[derive(Clone, Debug, Default)]
pub struct Recipe(Vec<u8>);

impl Recipe {
    /// Adds the octets themselves.
    #[must_use]
    pub fn octets(mut self, octets: &[u8]) -> Self {
        for octets in octets.chunks(31) {
            self.0.push(octets.len() as u8);
            self.0.extend_from_slice(octets);
        }
        self
    }

    /// Adds noise; at most 8191 octets.
    #[must_use]
    pub fn noise(mut self, count: u16) -> Self {
        let [upper, lower] = count.to_be_bytes();
        self.0.extend([1 << 5 | upper & 31, lower]);
        self
    }

    /// Adds a packet with the content that another recipe makes.
    #[must_use]
    pub fn packet(mut self, tag: u8, style: Style, number: u8, content: Self) -> Self {
        self.0
            .extend([2 << 5 | tag & 31, style as u8 | number << 3]);
        self.0.extend(content.0);
        self.0.push(3 << 5);
        self
    }

    /// Adds a multiprecision integer of at most 8191 bits.
    #[must_use]
    pub fn number(mut self, bits: u16) -> Self {
        let [upper, lower] = bits.to_be_bytes();
        self.0.extend([4 << 5 | upper & 31, lower]);
        self
    }

    /// Adds content with its size, made `more` too large, in front.
    #[must_use]
    pub fn counted(mut self, more: u8, content: Self) -> Self {
        self.0.push(5 << 5 | more & 31);
        self.0.extend(content.0);
        self.0.push(3 << 5);
        self
    }

    /// Adds all that another recipe makes.
    #[must_use]
    pub fn then(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// The recipe.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Makes the octets that a recipe describes. Each sequence of octets is a recipe.
#[must_use]
pub fn cook(recipe: &[u8]) -> Vec<u8> {
    let mut noise = Noise::new(recipe);
    let mut made = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut rest = recipe.iter().copied();
    while made.len() < SIZE_MAX
        && let Some(octet) = rest.next()
    {
        let argument = octet & 31;
        let long = |next: Option<u8>| usize::from(argument) << 8 | usize::from(next.unwrap_or(0));
        match octet >> 5 {
            0 => made.extend(rest.by_ref().take(argument.into())),
            1 => made.extend(noise.octets(long(rest.next()))),
            2 => open.push(Open {
                start: made.len(),
                kind: Kind::Packet(argument, rest.next().unwrap_or(0)),
            }),
            3 => close(&mut made, open.pop()),
            4 => number(&mut made, long(rest.next()), &mut noise),
            5 => open.push(Open {
                start: made.len(),
                kind: Kind::Counted(argument),
            }),
            _ => {}
        }
    }
    while let Some(last) = open.pop() {
        close(&mut made, Some(last));
    }
    made
}

struct Open {
    start: usize,
    kind: Kind,
}

enum Kind {
    Packet(u8, u8),
    Counted(u8),
}

fn close(made: &mut Vec<u8>, open: Option<Open>) {
    let Some(open) = open else { return };
    let content = made.split_off(open.start);
    match open.kind {
        Kind::Packet(tag, style) => packet(made, tag, style, &content),
        Kind::Counted(more) => {
            made.push((content.len() as u8).wrapping_add(more));
            made.extend(content);
        }
    }
}

fn packet(made: &mut Vec<u8>, tag: u8, style: u8, mut content: &[u8]) {
    let number = style >> 3;
    let size = content.len() as u32;
    let legacy = 0x80 | (tag & 15) << 2;
    match style & 7 {
        0 => {
            made.push(0xC0 | tag);
            short_length(made, size);
        }
        1 => made.extend([&[0xC0 | tag, 255][..], &size.to_be_bytes()].concat()),
        2 => made.extend([legacy, size as u8]),
        3 => made.extend([&[legacy | 1][..], &(size as u16).to_be_bytes()].concat()),
        4 => made.extend([&[legacy | 2][..], &size.to_be_bytes()].concat()),
        style @ (5 | 6) => {
            made.push(0xC0 | tag);
            let mut parts = if style == 5 { usize::MAX } else { 1 };
            // Parts of one octet would double the content; there is nothing to find in them.
            let power = number.clamp(4, 30);
            while let Some((part, rest)) = content.split_at_checked(1 << power)
                && parts > 0
            {
                made.push(224 | power);
                made.extend_from_slice(part);
                content = rest;
                parts -= 1;
            }
            short_length(made, content.len() as u32);
        }
        _ => {
            let size = size.wrapping_add(number.into()).wrapping_sub(16);
            made.extend([&[0xC0 | tag, 255][..], &size.to_be_bytes()].concat());
        }
    }
    made.extend_from_slice(content);
}

fn short_length(made: &mut Vec<u8>, size: u32) {
    match size {
        0..192 => made.push(size as u8),
        192..8384 => made.extend([192 + (size - 192 >> 8) as u8, (size - 192) as u8]),
        _ => made.extend([&[255][..], &size.to_be_bytes()].concat()),
    }
}

fn number(made: &mut Vec<u8>, bits: usize, noise: &mut Noise) {
    made.extend((bits as u16).to_be_bytes());
    let mut octets = noise.octets(bits.div_ceil(8));
    if let Some(first) = octets.first_mut() {
        let top = 1 << ((bits - 1) % 8);
        *first = *first & (top - 1) | top;
    }
    made.extend(octets);
}
