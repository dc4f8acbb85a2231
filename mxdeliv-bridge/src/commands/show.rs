//! Rows as people read them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::admin::{Destination, OverrideRow, PathInUse, PeerRow};
use crate::probe::Step;
use crate::statistics::{SpanFigures, Transport, WayFigures};

/// Stands where there is no data.
const NONE: &str = "-";

/// The columns of `peers`.
pub(super) const PEERS: &[&str] = &[
    "PEER",
    "PATH",
    "WAY",
    "1H",
    "24H",
    "AVERAGE",
    "P95",
    "CONTACT",
    "QUEUED",
    "LAST ERROR",
];

/// The columns of `queue`.
pub(super) const QUEUE: &[&str] = &["DESTINATION", "MESSAGES", "OLDEST", "SIZE", "REASON"];

/// The columns of `endpoint list`.
pub(super) const DECISIONS: &[&str] = &["DOMAIN", "ENDPOINT", "TLS"];

/// Lines of cells, of which each column is as wide as its widest.
#[derive(Debug)]
pub(super) struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub(super) fn new(heading: &[&str]) -> Self {
        let heading = heading.iter().map(|cell| (*cell).to_owned()).collect();
        Self {
            lines: vec![heading],
        }
    }

    /// Adds a line of as many cells.
    pub(super) fn add(&mut self, line: Vec<String>) {
        self.lines.push(line);
    }
}

/// Nothing at all when there are no lines but the heading.
impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.len() < 2 {
            return Ok(());
        }
        let mut widths: Vec<usize> = Vec::new();
        for line in &self.lines {
            widths.resize(widths.len().max(line.len()), 0);
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        for line in &self.lines {
            let padded = line.iter().zip(&widths);
            let padded: Vec<_> = padded
                .map(|(cell, &width)| format!("{cell:<width$}"))
                .collect();
            writeln!(out, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A line for each way of a peer's mail; one line when there is none.
pub(super) fn peer(row: &PeerRow) -> Vec<Vec<String>> {
    let line = |way: [String; 5], error: String| {
        let [name, hour, day, average, p95] = way;
        vec![
            row.domain.clone(),
            path(&row.path),
            name,
            hour,
            day,
            average,
            p95,
            row.last_contact.map_or_else(none, age),
            row.queued.map_or_else(none, |count| count.to_string()),
            error,
        ]
    };
    if row.ways.is_empty() {
        return vec![line(std::array::from_fn(|_| none()), none())];
    }
    let lines = row.ways.iter().map(|way| {
        let name = format!("{} {}", way.direction.as_str(), way.transport.as_str());
        let (average, p95) = (way.day.average_ms, way.day.p95_ms);
        let cells = [
            name,
            rate(&way.hour),
            rate(&way.day),
            average.map_or_else(none, milliseconds),
            p95.map_or_else(none, milliseconds),
        ];
        line(cells, last_error(way))
    });
    lines.collect()
}

/// A line of `queue`.
pub(super) fn destination(row: &Destination) -> Vec<String> {
    vec![
        row.domain.clone(),
        row.messages.to_string(),
        age(row.oldest),
        size(row.octets),
        row.reason.clone().unwrap_or_else(none),
    ]
}

/// A line of `endpoint list`.
pub(super) fn decision(row: &OverrideRow) -> Vec<String> {
    let tls = match (row.endpoint.as_str(), row.lax_tls) {
        ("smtp", _) => NONE,
        (_, true) => "any certificate",
        (_, false) => "strict",
    };
    vec![row.domain.clone(), row.endpoint.clone(), tls.to_owned()]
}

/// A line of `probe`.
pub(super) fn step(step: &Step) -> String {
    let mark = if step.ok { ' ' } else { '!' };
    let (name, target) = (&step.step, &step.target);
    let time = milliseconds(step.milliseconds);
    format!("{mark} {name:<13} {time:>9}  {target}: {}", step.detail)
}

fn path(path: &PathInUse) -> String {
    let way = match (path.transport, &path.endpoint) {
        (Transport::Mxdeliv, Some(endpoint)) => format!("mxdeliv {endpoint}"),
        (transport, _) => transport.as_str().to_owned(),
    };
    match path.decided {
        Some(_) => format!("{way} (decided)"),
        None => way,
    }
}

/// Never rounded up to 100 % nor down to 0 %.
fn rate(span: &SpanFigures) -> String {
    if span.attempts == 0 {
        return none();
    }
    let percent = 100.0 * span.successes as f64 / span.attempts as f64;
    let percent = match (span.successes, span.attempts) {
        (0, _) => 0.0,
        (successes, attempts) if successes == attempts => 100.0,
        _ => percent.clamp(0.1, 99.9),
    };
    match percent {
        whole if whole.fract() == 0.0 => format!("{whole:.0}% of {}", span.attempts),
        part => format!("{part:.1}% of {}", span.attempts),
    }
}

fn last_error(way: &WayFigures) -> String {
    match (&way.last_error, way.last_failure) {
        (Some(error), Some(at)) => format!("{error} ({})", age(at)),
        _ => none(),
    }
}

fn milliseconds(milliseconds: f64) -> String {
    match milliseconds {
        short if short < 10.0 => format!("{short:.1} ms"),
        middle if middle < 10_000.0 => format!("{middle:.0} ms"),
        long => format!("{:.1} s", long / 1000.0),
    }
}

/// How long ago, in the largest unit that it is one of.
fn age(at: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let seconds = now.saturating_sub(at).max(0);
    let units = [(86_400, "d"), (3600, "h"), (60, "min")];
    match units.iter().find(|(length, _)| seconds >= *length) {
        Some((length, unit)) => format!("{} {unit} ago", seconds / length),
        None => format!("{seconds} s ago"),
    }
}

fn size(octets: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(bits, _)| octets >> bits > 0) {
        Some((bits, unit)) => format!("{:.1} {unit}", octets as f64 / (1_u64 << bits) as f64),
        None => format!("{octets} B"),
    }
}

fn none() -> String {
    NONE.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 0, "-")]
    #[case(1, 0, "0% of 1")]
    #[case(2, 1, "50% of 2")]
    #[case(3, 2, "66.7% of 3")]
    #[case(100_000, 99_999, "99.9% of 100000")]
    #[case(100_000, 1, "0.1% of 100000")]
    #[case(7, 7, "100% of 7")]
    fn rates(#[case] attempts: u64, #[case] successes: u64, #[case] shown: &str) {
        let span = SpanFigures {
            attempts,
            successes,
            ..SpanFigures::default()
        };
        assert_eq!(rate(&span), shown);
    }

    #[rstest]
    #[case(0.31, "0.3 ms")]
    #[case(250.4, "250 ms")]
    #[case(61_000.0, "61.0 s")]
    fn times(#[case] time: f64, #[case] shown: &str) {
        assert_eq!(milliseconds(time), shown);
    }

    #[rstest]
    #[case(900, "900 B")]
    #[case(1536, "1.5 KiB")]
    #[case(3 << 30, "3.0 GiB")]
    fn sizes(#[case] octets: u64, #[case] shown: &str) {
        assert_eq!(size(octets), shown);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG"]);
        assert_eq!(table.to_string(), "");
        table.add(vec!["wide".into(), "x".into()]);
        table.add(vec!["ä".into(), String::new()]);
        assert_eq!(table.to_string(), "A     LONG\nwide  x\nä\n");
    }
}
