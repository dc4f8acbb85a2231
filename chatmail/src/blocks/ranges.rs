//! Sets of numbers that are made of a few long runs.

/// Closed ranges, sorted, without overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges<T>(Box<[(T, T)]>);

impl<T: Copy + Ord> Ranges<T> {
    /// The set of all numbers in any of these ranges, given as lowest and highest.
    pub(super) fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        Self(ranges.into())
    }

    /// Whether a number is in the set: a binary search.
    pub(super) fn contains(&self, number: T) -> bool {
        let above = self.0.partition_point(|range| range.0 <= number);
        let below = above.checked_sub(1).and_then(|at| self.0.get(at));
        below.is_some_and(|range| number <= range.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn overlaps_become_one() {
        let ranges = Ranges::new(vec![(5, 9), (1, 2), (0, 3), (6, 7), (9, 12), (255, 255)]);
        assert_eq!(*ranges.0, [(0, 3), (5, 12), (255, 255)]);
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in(
            ranges in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..20),
        ) {
            let ranges: Vec<_> = ranges.iter().map(|&(a, b)| (a.min(b), a.max(b))).collect();
            let set = Ranges::new(ranges.clone());
            for number in 0..=u8::MAX {
                let expected = ranges.iter().any(|&(low, high)| (low..=high).contains(&number));
                prop_assert_eq!(set.contains(number), expected);
            }
        }
    }
}
