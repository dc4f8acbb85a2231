//! Medians and percentiles.

use std::time::Duration;

/// Measured numbers, in order of size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample(Vec<f64>);

impl Sample {
    /// Times in milliseconds.
    pub(super) fn milliseconds(times: impl IntoIterator<Item = Duration>) -> Self {
        times
            .into_iter()
            .map(|time| time.as_secs_f64() * 1000.0)
            .collect()
    }

    /// The middle one, or the mean of the two in the middle. Not a number, which reaches no goal, when
    /// nothing was measured.
    pub(super) fn median(&self) -> f64 {
        let count = self.0.len();
        let at = |index: usize| self.0.get(index).copied().unwrap_or(f64::NAN);
        at(count.saturating_sub(1) / 2).midpoint(at(count / 2))
    }

    /// The smallest number that at least `percent` percent of the sample do not exceed. Not a number
    /// when nothing was measured.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        let index = rank.saturating_sub(1);
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(numbers: I) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        Self(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[7.0], 7.0)]
    #[case(&[9.0, 1.0, 2.0], 2.0)]
    #[case(&[4.0, 1.0, 2.0, 9.0], 3.0)]
    fn medians(#[case] numbers: &[f64], #[case] median: f64) {
        let sample: Sample = numbers.iter().copied().collect();
        assert_eq!(sample.median(), median);
    }

    #[rstest]
    #[case(1, 2.0)]
    #[case(50, 100.0)]
    #[case(99, 198.0)]
    #[case(100, 200.0)]
    fn percentiles(#[case] percent: usize, #[case] expected: f64) {
        let sample: Sample = (1..=200).rev().map(f64::from).collect();
        assert_eq!(sample.percentile(percent), expected);
    }

    #[test]
    fn nothing_has_no_median() {
        let sample = Sample::milliseconds([]);
        assert!(sample.median().is_nan());
        assert!(sample.percentile(99).is_nan());
    }

    #[test]
    fn times_are_in_milliseconds() {
        let sample = Sample::milliseconds([Duration::from_micros(1500)]);
        assert_eq!(sample.median(), 1.5);
    }
}
