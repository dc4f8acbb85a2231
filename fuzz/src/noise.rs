//! Octets without a pattern, the same at each run.

/// A generator of random octets (xorshift64*), seeded by any octets.
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    /// A generator whose sequence follows from `seed` (FNV-1a).
    #[must_use]
    pub fn new(seed: &[u8]) -> Self {
        let hash = seed.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01B3)
        });
        Self(hash | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// The next `count` octets.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.number() >> 56) as u8).collect()
    }
}
