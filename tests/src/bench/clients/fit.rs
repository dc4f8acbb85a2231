//! A straight line through what was measured.

/// `base + slope * x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    /// What there is without any.
    pub(super) base: f64,
    /// What each costs.
    pub(super) slope: f64,
}

impl Line {
    /// What so many cost.
    pub(super) fn at(self, x: f64) -> f64 {
        self.base + self.slope * x
    }

    /// The line with the least squares through points `(x, y)`. None through fewer than two different `x`.
    pub(super) fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        let common: f64 = points
            .iter()
            .map(|point| (point.0 - x) * (point.1 - y))
            .sum();
        (spread > 0.0).then(|| {
            let slope = common / spread;
            Self {
                base: y - slope * x,
                slope,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_give_the_line() {
        let line = Line::through(&[(0.0, 7.0), (100.0, 57.0), (1000.0, 507.0)]).unwrap();
        assert!((line.slope - 0.5).abs() < 1e-9, "{line:?}");
        assert!((line.base - 7.0).abs() < 1e-9, "{line:?}");
        assert!((line.at(10.0) - 12.0).abs() < 1e-9, "{line:?}");
    }

    #[test]
    fn noise_on_both_sides_evens_out() {
        let line = Line::through(&[(0.0, 1.0), (1.0, -1.0), (2.0, -1.0), (3.0, 1.0)]).unwrap();
        assert!(line.slope.abs() < 1e-9, "{line:?}");
        assert!(line.base.abs() < 1e-9, "{line:?}");
    }

    #[test]
    fn one_point_is_no_line() {
        assert_eq!(Line::through(&[]), None);
        assert_eq!(Line::through(&[(5.0, 3.0), (5.0, 4.0)]), None);
    }
}
