//! Whether bytes can be cipher text.
//!
//! Cipher text is indistinguishable from uniformly random bytes, so a body that random bytes would
//! hardly ever be is no cipher text. Three counts over a stretch of `n` bytes are compared with
//! what random bytes give, and a stretch is refused when a count is so far off that random bytes
//! reach it with probability at most `exp(-40)` = 4.3e-18:
//!
//! 1. **The byte histogram.** Let `D` be the relative entropy (Kullback-Leibler divergence, in
//!    nats) of the observed byte frequencies from the uniform distribution:
//!    `n D = Σ cᵢ ln(256 cᵢ / n)`. For every `n`, its moment generating function is at most that
//!    of a Gamma(255, 1) variable (Agrawal, "Finite-sample concentration of the multinomial in
//!    relative entropy", IEEE Transactions on Information Theory 66, 2020), so
//!    `P(n D ≥ x) ≤ exp(-x) (e x / 255)^255` for `x ≥ 255`. At `x = 426` that is below `exp(-40)`.
//!    No limit theorem is involved: the bound holds for 100 bytes as for 100 MiB.
//! 2. **Printable bytes**: the 95 printable ASCII characters, TAB, CR and LF, together 98 of 256
//!    values. A count `k` of `n` with `k/n` above `p = 98/256` has `P(K ≥ k) ≤ exp(-n D(k/n ‖ p))`
//!    (Chernoff, with the relative entropy of two values), so the threshold is `n D(k/n ‖ p) > 40`.
//! 3. **High bits**: bit 7 is set in half of all bytes. The same bound, on either side.
//!
//! They are applied to each window of 8 KiB, to the last, shorter window, and to the whole body:
//! plain text cannot hide behind much cipher text in one part, nor spread thinly over all of it.
//! A fourth test looks for short stretches of text: among the 64 bytes of each aligned block, 60
//! or more printable ones refuse the body; `P(K ≥ 60) ≤ exp(-64 D(60/64 ‖ p))` < 1.1e-19.
//!
//! # How often real cipher text is refused
//! The union bound over all that is ever tested for one message of 100 MiB: 12 801 windows and
//! totals of the body and at most 4 300 of the session keys (2000 packets of 16.4 KiB), four
//! bounds each (the high bits have two sides): 68 404 × 4.3e-18 = 2.9e-13. Blocks of 64 bytes: 2.2
//! million × 1.1e-19 = 2.4e-13. Single session-key fields ([`field_is_plain`], `exp(-38)` each):
//! 6000 × 3.2e-17 = 1.9e-13. Sum: 7.2e-13, under 1e-12; for a message of 1 MiB it is under 1e-14.
//! Counted instead of bounded, by `cargo run --release --example entropy_false_positives`: of 10 million
//! random bodies from 20 bytes to 1 MiB, 10.2 GB together, none was refused.
//!
//! # What can be told
//! All-printable text is refused from 42 bytes on (42 × ln(256/98) > 40), text of 7-bit bytes from
//! 58 on, a run of 127 printable bytes anywhere in a body of any size, base64 text like any other
//! printable text, and UTF-8 text of any script from some 200 bytes on (its byte frequencies
//! are worth over 2 nats a byte). What is shorter, or what is compressed, can not be told from cipher
//! text by any count, and is not: the gate proves that mail is not readable as it stands, not that
//! somebody holds a key for it.

/// Bytes judged together. The buffer that gathers them is the whole memory of the test.
const WINDOW: usize = 8 * 1024;
/// Bytes in a block of the fourth test.
const BLOCK: usize = 64;
/// Printable bytes in a block from which on it is text.
const BLOCK_PRINTABLE: u8 = 60;
/// Nats of improbability from which on a stretch is refused.
const IMPROBABLE: f64 = 40.0;
/// The same for one field of a session-key packet.
const IMPROBABLE_FIELD: f64 = 38.0;
/// `n D` of the histogram whose probability is [`IMPROBABLE`] by Agrawal's bound.
const HISTOGRAM_LIMIT: f64 = 426.0;
/// The share of printable bytes among random ones.
const PRINTABLE_SHARE: f64 = 98.0 / 256.0;

/// The bytes were not cipher text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain;

/// Judges a stream of bytes that is claimed to be random.
#[derive(Debug)]
pub struct Randomness {
    /// Bytes of the window that is not yet full.
    window: Vec<u8>,
    total: Histogram,
}

impl Randomness {
    /// Starts with no bytes seen.
    pub fn new() -> Self {
        Self {
            window: Vec::new(),
            total: Histogram::new(),
        }
    }

    /// Takes bytes; an error as soon as a full window is not random.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Plain> {
        if !self.window.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(WINDOW - self.window.len()));
            self.window.extend_from_slice(head);
            bytes = rest;
            if self.window.len() < WINDOW {
                return Ok(());
            }
            judge(&self.window, &mut self.total)?;
            self.window.clear();
        }
        let mut windows = bytes.chunks_exact(WINDOW);
        for window in &mut windows {
            judge(window, &mut self.total)?;
        }
        self.window.extend_from_slice(windows.remainder());
        Ok(())
    }

    /// Judges the last window and the whole.
    pub fn finish(mut self) -> Result<(), Plain> {
        judge(&self.window, &mut self.total)?;
        self.total.judge()
    }
}

impl Default for Randomness {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether one short field, taken alone, cannot be random: too many printable bytes.
pub(super) fn field_is_plain(field: &[u8]) -> bool {
    let printable: u32 = field
        .chunks(BLOCK)
        .map(|block| u32::from(count_printable(block)))
        .sum();
    exceeds(
        f64::from(printable),
        field.len() as f64,
        PRINTABLE_SHARE,
        IMPROBABLE_FIELD,
    )
}

/// Judges one window and adds its histogram to `total`.
fn judge(window: &[u8], total: &mut Histogram) -> Result<(), Plain> {
    if window
        .chunks_exact(BLOCK)
        .any(|block| count_printable(block) >= BLOCK_PRINTABLE)
    {
        return Err(Plain);
    }
    let histogram = Histogram::of(window);
    total.add(&histogram);
    histogram.judge()
}

fn count_printable(block: &[u8]) -> u8 {
    block.iter().map(|&byte| u8::from(is_printable(byte))).sum()
}

#[inline(always)]
fn is_printable(byte: u8) -> bool {
    (byte.wrapping_sub(b' ') < 95) | (byte == b'\t') | (byte == b'\n') | (byte == b'\r')
}

#[derive(Debug)]
struct Histogram {
    counts: [u64; 256],
}

impl Histogram {
    fn new() -> Self {
        Self { counts: [0; 256] }
    }

    /// Counts in four tables, so that equal neighbours do not wait for each other.
    fn of(bytes: &[u8]) -> Self {
        let mut tables = [[0_u32; 256]; 4];
        let [a, b, c, d] = &mut tables;
        let (words, rest) = bytes.as_chunks::<8>();
        for &[p, q, r, s, t, u, v, w] in words {
            a[usize::from(p)] += 1;
            b[usize::from(q)] += 1;
            c[usize::from(r)] += 1;
            d[usize::from(s)] += 1;
            a[usize::from(t)] += 1;
            b[usize::from(u)] += 1;
            c[usize::from(v)] += 1;
            d[usize::from(w)] += 1;
        }
        for &byte in rest {
            a[usize::from(byte)] += 1;
        }
        let mut counts = [0; 256];
        for ((((sum, a), b), c), d) in counts.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *sum = u64::from(*a + *b + *c + *d);
        }
        Self { counts }
    }

    fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
    }

    fn judge(&self) -> Result<(), Plain> {
        let n: u64 = self.counts.iter().sum();
        let (control, rest) = self.counts.split_at(usize::from(b' '));
        let blanks =
            control[usize::from(b'\t')] + control[usize::from(b'\n')] + control[usize::from(b'\r')];
        let printable = rest.iter().take(95).sum::<u64>() + blanks;
        let high: u64 = self.counts.iter().skip(128).sum();
        let (n, printable, high) = (n as f64, printable as f64, high as f64);
        let plain = exceeds(printable, n, PRINTABLE_SHARE, IMPROBABLE)
            || exceeds(high, n, 0.5, IMPROBABLE)
            || exceeds(n - high, n, 0.5, IMPROBABLE)
            || self.divergence_exceeds(n, HISTOGRAM_LIMIT);
        if plain { Err(Plain) } else { Ok(()) }
    }

    /// Whether `n D` is over the limit. Pearson's statistic `Σ (cᵢ - n/256)² / (n/256)` is never
    /// below `n D`, is cheap, and answers nearly always; the logarithms are for what is left.
    fn divergence_exceeds(&self, n: f64, limit: f64) -> bool {
        let squares: u128 = self
            .counts
            .iter()
            .map(|&count| u128::from(count * count))
            .sum();
        if n == 0.0 || squares as f64 * 256.0 / n - n <= limit {
            return false;
        }
        let occurring = self.counts.iter().filter(|&&count| count > 0);
        let divergence: f64 = occurring
            .map(|&c| c as f64 * (c as f64 * 256.0 / n).ln())
            .sum();
        divergence > limit
    }
}

/// Whether `count` of `n` is above the share `p` by so much that Chernoff's bound on the
/// probability is below `exp(-limit)`.
fn exceeds(count: f64, n: f64, p: f64, limit: f64) -> bool {
    let q = count / n;
    // As above: the relative entropy is at most (q - p)² / (p (1 - p)). NaN, for n = 0, is no excess.
    if q.is_nan() || q <= p || n * (q - p) * (q - p) / (p * (1.0 - p)) <= limit {
        return false;
    }
    let of_others = if q < 1.0 {
        (1.0 - q) * ((1.0 - q) / (1.0 - p)).ln()
    } else {
        0.0
    };
    n * (q * (q / p).ln() + of_others) > limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};
    use rstest::rstest;

    const TEXT: &str = "Dear all, tomorrow at 10:15 we meet in the usual place; bring the papers. ";

    fn judge_all(bytes: &[u8]) -> Result<(), Plain> {
        let mut randomness = Randomness::new();
        randomness.push(bytes)?;
        randomness.finish()
    }

    fn random(n: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; n];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        bytes
    }

    fn text(n: usize) -> Vec<u8> {
        TEXT.bytes().cycle().take(n).collect()
    }

    #[test]
    fn thresholds_are_what_the_derivation_says() {
        let agrawal = -HISTOGRAM_LIMIT + 255.0 + 255.0 * (HISTOGRAM_LIMIT / 255.0).ln();
        assert!(agrawal < -IMPROBABLE, "{agrawal}");
        let block = 60.0_f64 / 64.0;
        let nats = 64.0
            * (block * (block / PRINTABLE_SHARE).ln()
                + (1.0 - block) * ((1.0 - block) / (1.0 - PRINTABLE_SHARE)).ln());
        assert!((-nats).exp() < 1.1e-19, "{nats}");
    }

    #[rstest]
    fn random_bytes_pass(
        #[values(0, 1, 20, 41, 60, 64, 100, 500, 8191, 8192, 8193, 300_000)] n: usize,
        #[values(1, 2, 3)] seed: u64,
    ) {
        assert_eq!(judge_all(&random(n, seed)), Ok(()));
    }

    #[rstest]
    #[case::shortest_text(text(42))]
    #[case::more_text(text(100))]
    #[case::a_lot_of_text(text(100_000))]
    #[case::zeroes(vec![0; 60])]
    #[case::seven_bit((0..58_u32).map(|n| (n * 41 % 128) as u8).collect())]
    #[case::high_only((0..200_u32).map(|n| 128 | (n * 89 % 128) as u8).collect())]
    #[case::cyrillic("Завтра встречаемся на обычном месте; принеси бумаги. ".repeat(3).into())]
    #[case::chinese("明天十点十五分我们在老地方见面请带上文件不要告诉别人".repeat(4).into())]
    #[case::one_value(vec![0xA5; 90])]
    #[case::counter((0..4096_u32).map(|n| (n % 16) as u8 * 17).collect())]
    fn text_is_plain(#[case] bytes: Vec<u8>) {
        assert_eq!(judge_all(&bytes), Err(Plain));
    }

    #[rstest]
    fn text_inside_random_bytes_is_found(
        #[values(0, 63, 8100, 50_000, 99_873)] at: usize,
        #[values(127, 500)] length: usize,
    ) {
        let mut bytes = random(100_000, 7);
        let length = length.min(bytes.len() - at);
        bytes[at..at + length].copy_from_slice(&text(length));
        assert_eq!(judge_all(&bytes), Err(Plain));
    }

    #[rstest]
    #[case::one_in_four(4, 8 * 1024)]
    #[case::one_in_thirty(30, 1024 * 1024)]
    fn text_spread_thinly_is_found(#[case] every: usize, #[case] n: usize) {
        let mut bytes = random(n, 11);
        for (byte, letter) in bytes.iter_mut().step_by(every).zip(TEXT.bytes().cycle()) {
            *byte = letter;
        }
        assert_eq!(judge_all(&bytes), Err(Plain));
    }

    /// ML-KEM packs numbers below 3329 into 10 bits: nearly uniform, near enough to pass.
    #[test]
    fn ml_kem_cipher_texts_pass() {
        let mut rng = SmallRng::seed_from_u64(5);
        let mut randomness = Randomness::new();
        for _ in 0..2000 {
            let mut packed = Vec::new();
            let (mut bits, mut filled) = (0_u32, 0);
            for (count, width) in [(768, 10), (256, 4)] {
                for _ in 0..count {
                    let number = rng.random_range(0..3329_u32);
                    let compressed = ((number << width) + 1664) / 3329 % (1 << width);
                    bits |= compressed << filled;
                    filled += width;
                    while filled >= 8 {
                        packed.push(bits as u8);
                        bits >>= 8;
                        filled -= 8;
                    }
                }
            }
            assert_eq!(packed.len(), 1088);
            assert_eq!(randomness.push(&packed), Ok(()));
        }
        assert_eq!(randomness.finish(), Ok(()));
    }

    #[test]
    fn pushes_of_any_size_agree() {
        let mut bytes = random(40_000, 3);
        bytes[20_000..20_400].copy_from_slice(&text(400));
        for step in [1, 7, 64, 5000, 8192, 40_000] {
            let mut randomness = Randomness::new();
            let result = bytes
                .chunks(step)
                .try_for_each(|chunk| randomness.push(chunk));
            assert_eq!(result.and_then(|()| randomness.finish()), Err(Plain));
        }
    }

    #[test]
    fn fields() {
        assert!(field_is_plain(&text(40)));
        assert!(!field_is_plain(&text(39)));
        assert!(!field_is_plain(&random(256, 1)));
        assert!(!field_is_plain(&[]));
    }
}
