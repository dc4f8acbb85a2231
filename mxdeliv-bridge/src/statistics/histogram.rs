//! How long things took, in classes that each reach a fifth further than the one before.
//!
//! Histograms of short spans add up to that of a longer one, so percentiles of any span come out of
//! those of its buckets. A percentile is off by less than 10 % (a class is stood for by a value that
//! no member differs from by more than one eleventh); what took less than [`SHORTEST`] counts as that,
//! and what took more than [`LONGEST`] as some 66 minutes.

use std::time::Duration;

/// The end of the first class that matters: shorter times are not told apart.
pub const SHORTEST: Duration = Duration::from_micros(100);

/// Up to here times are told apart.
pub const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How much further each class reaches.
const GROWTH: f64 = 1.2;

/// The last class: [`GROWTH`] to this power, times [`SHORTEST`], is more than [`LONGEST`].
const LAST_CLASS: u8 = 96;

/// Octets of a class in [`Histogram::encode`]: its number and its count.
const ENCODED: usize = 5;

/// Counts by class, none for classes without members; at most 97 entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// In the order of classes.
    counts: Vec<(u8, u32)>,
}

impl Histogram {
    /// Counts one time.
    pub fn add(&mut self, time: Duration) {
        self.add_to(class(time), 1);
    }

    /// Counts all that another one has counted.
    pub fn merge(&mut self, other: &Self) {
        for &(class, count) in &other.counts {
            self.add_to(class, count);
        }
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|&(_, count)| u64::from(count)).sum()
    }

    /// The time that this part of all (0 to 1) took at most; `None` when there is none at all.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        // The rank counts from 1: half of three is the second.
        let rank = (part * count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = |&&(_, count): &&(u8, u32)| {
            seen += u64::from(count);
            seen >= rank.min(self.count())
        };
        let (class, _) = self.counts.iter().find(reached)?;
        Some(value(*class))
    }

    /// As octets, for the database.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.counts.len() * ENCODED);
        for &(class, count) in &self.counts {
            octets.push(class);
            octets.extend_from_slice(&count.to_le_bytes());
        }
        octets
    }

    /// What [`encode`](Self::encode) made; what is none of that is left out.
    pub fn decode(octets: &[u8]) -> Self {
        let mut histogram = Self::default();
        for entry in octets.as_chunks::<ENCODED>().0 {
            let [class, count @ ..] = *entry;
            if class <= LAST_CLASS {
                histogram.add_to(class, u32::from_le_bytes(count));
            }
        }
        histogram
    }

    /// The memory that it has for its counts.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.counts.capacity() * size_of::<(u8, u32)>()
    }

    fn add_to(&mut self, class: u8, more: u32) {
        match self
            .counts
            .binary_search_by_key(&class, |&(class, _)| class)
        {
            Ok(at) => {
                if let Some((_, count)) = self.counts.get_mut(at) {
                    *count = count.saturating_add(more);
                }
            }
            Err(at) => self.counts.insert(at, (class, more)),
        }
    }
}

fn class(time: Duration) -> u8 {
    let ratio = time.as_secs_f64() / SHORTEST.as_secs_f64();
    let class = ratio.max(1.0).log(GROWTH).floor();
    class.min(f64::from(LAST_CLASS)) as u8
}

/// What no member of a class differs from by more than a part of `(GROWTH - 1) / (GROWTH + 1)`.
fn value(class: u8) -> Duration {
    let from = SHORTEST.as_secs_f64() * GROWTH.powi(class.into());
    Duration::from_secs_f64(from * 2.0 * GROWTH / (GROWTH + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(times: &[Duration]) -> Histogram {
        let mut histogram = Histogram::default();
        times.iter().for_each(|&time| histogram.add(time));
        histogram
    }

    #[test]
    fn of_nothing_there_are_no_percentiles() {
        assert_eq!(Histogram::default().quantile(0.95), None);
    }

    #[test]
    fn extremes_count_as_the_ends() {
        let ends = of(&[Duration::ZERO, Duration::MAX]);
        assert_eq!(ends.quantile(0.0), Some(value(0)));
        assert_eq!(ends.quantile(1.0), Some(value(LAST_CLASS)));
        assert!(value(LAST_CLASS) > LONGEST);
        let full = Histogram {
            counts: vec![(3, u32::MAX)],
        };
        let mut more = full.clone();
        more.merge(&full);
        assert_eq!(more, full);
    }

    #[test]
    fn foreign_octets_are_left_out() {
        let decoded = Histogram::decode(&[200, 1, 0, 0, 0, 7, 2, 0, 0, 0, 9, 9]);
        assert_eq!(decoded.counts, [(7, 2)]);
    }

    fn times() -> impl Strategy<Value = Vec<Duration>> {
        let micros = 100_u64..3_600_000_000;
        // As many short ones as long ones.
        let time = (0..26_u32, micros).prop_map(|(shift, micros)| (micros >> shift).max(100));
        proptest::collection::vec(time.prop_map(Duration::from_micros), 1..200)
    }

    proptest! {
        #[test]
        fn percentiles_are_off_by_less_than_ten_percent(
            times in times(),
            part in 0.0..=1.0_f64,
        ) {
            let mut sorted = times.clone();
            sorted.sort();
            let rank = (part * sorted.len() as f64).ceil().max(1.0) as usize;
            let exact = sorted[rank - 1].as_secs_f64();
            let shown = of(&times).quantile(part).unwrap().as_secs_f64();
            prop_assert!((shown - exact).abs() <= 0.1 * exact, "{shown} for {exact}");
        }

        #[test]
        fn parts_add_up_to_the_whole(times in times(), at: prop::sample::Index) {
            let (left, right) = times.split_at(at.index(times.len()));
            let mut merged = of(left);
            merged.merge(&Histogram::decode(&of(right).encode()));
            prop_assert_eq!(&merged, &of(&times));
            prop_assert_eq!(merged.count(), times.len() as u64);
            prop_assert!(merged.counts.len() <= usize::from(LAST_CLASS) + 1);
        }
    }
}
