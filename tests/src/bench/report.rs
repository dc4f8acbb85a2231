//! What a measurement found, for people and for programs.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// A number that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured, such as `milter/2KB-8-sessions`.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The same number of what it is compared with, in the same unit.
    pub reference: Option<f64>,
    /// `value / reference`.
    pub ratio: Option<f64>,
    /// What it must reach, in words; empty when it is for information.
    pub goal: String,
    /// Whether it does.
    pub pass: bool,
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The value is at least this.
    AtLeast(f64),
    /// The value is at most this.
    AtMost(f64),
    /// The value is less than this.
    Below(f64),
    /// The value divided by the reference is at least this.
    RatioAtLeast(f64),
    /// The value divided by the reference is at most this.
    RatioAtMost(f64),
    /// The value divided by the reference is less than this.
    RatioBelow(f64),
    /// The value is at least the first number, or its ratio to the reference at least the second.
    AtLeastOrRatio(f64, f64),
    /// The value is at most this much above the reference.
    ExcessAtMost(f64),
    /// For information only.
    None,
}

impl Goal {
    /// Whether a figure reaches it. What compares with a missing reference does not.
    fn reached(self, value: f64, reference: Option<f64>) -> bool {
        let ratio = reference.map(|reference| value / reference);
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Below(limit) => value < limit,
            Self::RatioAtLeast(least) => ratio.is_some_and(|ratio| ratio >= least),
            Self::RatioAtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Self::RatioBelow(limit) => ratio.is_some_and(|ratio| ratio < limit),
            Self::AtLeastOrRatio(least, share) => {
                value >= least || ratio.is_some_and(|ratio| ratio >= share)
            }
            Self::ExcessAtMost(most) => {
                reference.is_some_and(|reference| value - reference <= most)
            }
            Self::None => true,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(out, ">= {least}"),
            Self::AtMost(most) => write!(out, "<= {most}"),
            Self::Below(limit) => write!(out, "< {limit}"),
            Self::RatioAtLeast(least) => write!(out, "ratio >= {least}"),
            Self::RatioAtMost(most) => write!(out, "ratio <= {most}"),
            Self::RatioBelow(limit) => write!(out, "ratio < {limit}"),
            Self::AtLeastOrRatio(least, share) => write!(out, ">= {least} or ratio >= {share}"),
            Self::ExcessAtMost(most) => write!(out, "<= reference + {most}"),
            Self::None => Ok(()),
        }
    }
}

impl Figure {
    /// Judges a number against its goal.
    pub fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        reference: Option<f64>,
        goal: Goal,
    ) -> Self {
        let ratio = reference.map(|reference| value / reference);
        let pass = goal.reached(value, reference);
        Self {
            name: name.into(),
            value,
            unit,
            reference,
            ratio,
            goal: goal.to_string(),
            pass,
        }
    }
}

/// The figures of one measurement.
#[derive(Clone, Debug, Default)]
pub struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure.
    pub fn figure(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds several.
    pub fn figures(&mut self, figures: impl IntoIterator<Item = Figure>) {
        self.figures.extend(figures);
    }

    /// How many figures miss their goal.
    pub fn missed(&self) -> usize {
        self.figures.iter().filter(|figure| !figure.pass).count()
    }

    /// Prints a table, then each figure as a line of JSON, which is also appended to `json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn print(&self, json: Option<&Path>) -> anyhow::Result<()> {
        print!("{}", self.table());
        let mut lines = String::new();
        for figure in &self.figures {
            lines.push_str(&serde_json::to_string(figure)?);
            lines.push('\n');
        }
        print!("{lines}");
        if let Some(path) = json {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(lines.as_bytes()))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let width = self
            .figures
            .iter()
            .map(|figure| figure.name.len())
            .max()
            .unwrap_or(0)
            .max(4);
        let mut table = format!(
            "{:<width$}  {:>12} {:<8}  {:>12}  {:>7}  {:<24}\n",
            "name", "value", "unit", "reference", "ratio", "goal"
        );
        for figure in &self.figures {
            let verdict = match (figure.goal.is_empty(), figure.pass) {
                (true, _) => "",
                (false, true) => "reached",
                (false, false) => "MISSED",
            };
            table.push_str(&format!(
                "{:<width$}  {:>12} {:<8}  {:>12}  {:>7}  {:<24} {verdict}\n",
                figure.name,
                number(figure.value),
                figure.unit,
                figure.reference.map(number).unwrap_or_default(),
                figure
                    .ratio
                    .map(|ratio| format!("{ratio:.3}"))
                    .unwrap_or_default(),
                figure.goal,
            ));
        }
        table
    }
}

/// Four significant digits, or all of a large number's.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 1000.0 => 0,
        large if large >= 10.0 => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Goal::AtLeast(2.0), true)]
    #[case(Goal::AtLeast(2.1), false)]
    #[case(Goal::AtMost(2.0), true)]
    #[case(Goal::AtMost(1.9), false)]
    #[case(Goal::Below(2.1), true)]
    #[case(Goal::Below(2.0), false)]
    #[case(Goal::RatioBelow(0.6), true)]
    #[case(Goal::RatioBelow(0.5), false)]
    #[case(Goal::RatioAtLeast(0.5), true)]
    #[case(Goal::RatioAtLeast(0.6), false)]
    #[case(Goal::RatioAtMost(0.5), true)]
    #[case(Goal::RatioAtMost(0.4), false)]
    #[case(Goal::AtLeastOrRatio(2.0, 0.6), true)]
    #[case(Goal::AtLeastOrRatio(2.1, 0.5), true)]
    #[case(Goal::AtLeastOrRatio(2.1, 0.6), false)]
    #[case(Goal::ExcessAtMost(-2.0), true)]
    #[case(Goal::ExcessAtMost(-2.1), false)]
    #[case(Goal::None, true)]
    fn goals(#[case] goal: Goal, #[case] pass: bool) {
        assert_eq!(Figure::new("x", 2.0, "s", Some(4.0), goal).pass, pass);
    }

    #[test]
    fn a_ratio_needs_a_reference() {
        for goal in [
            Goal::RatioAtLeast(0.1),
            Goal::RatioBelow(9.0),
            Goal::ExcessAtMost(9.0),
        ] {
            assert!(!Figure::new("x", 2.0, "s", None, goal).pass);
        }
    }

    #[test]
    fn a_figure_is_one_line_of_json() {
        let figure = Figure::new("x", 2.0, "s", Some(4.0), Goal::AtMost(3.0));
        assert_eq!(
            serde_json::to_string(&figure).unwrap(),
            r#"{"name":"x","value":2.0,"unit":"s","reference":4.0,"ratio":0.5,"goal":"<= 3","pass":true}"#
        );
    }

    #[test]
    fn json_lines_are_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures");
        let mut report = Report::default();
        report.figure(Figure::new("x", 2.0, "s", None, Goal::AtMost(1.0)));
        report.print(Some(&path)).unwrap();
        report.print(Some(&path)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(report.missed(), 1);
        assert!(report.table().contains("MISSED"));
    }
}
