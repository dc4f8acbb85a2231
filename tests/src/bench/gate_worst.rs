//! The gate on messages that try to be expensive: each one of the corpus, and the shapes that cost
//! the most for their size, which must cost ten times as much when they are ten times as large.
//!
//! The shapes all pass, so that nothing ends the work early. On one thread, in its processor time.

use std::time::Duration;

use anyhow::ensure;
use corpus::message::{armored_with, around, good};
use corpus::packets::{packet, random, seipd_v2, session_key};
use filtermail::gate::{Class, Direction, MessageReader, Verdict};
use nix::time::{ClockId, clock_gettime};
use peak_alloc::PeakAlloc;

use super::stats::Sample;
use super::{Figure, Goal, Report};

const MIB: usize = 1 << 20;

/// The largest body chunk that Postfix hands to a milter, in bytes.
const CHUNK: usize = 65_535;

/// Times that each message of the corpus is judged; the median counts.
const ROUNDS: usize = 5;

/// The most that the time for each MiB may grow when a message grows tenfold: noise, not a square.
const GROWTH: f64 = 1.5;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    corpus_messages(report)?;
    for (name, shape) in SHAPES {
        linear(name, *shape, report)?;
    }
    Ok(())
}

/// The slowest message of the corpus, and the one that takes the most heap.
fn corpus_messages(report: &mut Report) -> anyhow::Result<()> {
    let tricks = corpus::tricks().into_iter();
    let tricks = tricks.map(|trick| (trick.name, trick.message()));
    let honest = corpus::honest().into_iter();
    let honest = honest.map(|honest| (honest.name, honest.message()));
    let mut slowest = ("", 0.0);
    let mut largest = ("", 0.0);
    for (name, message) in tricks.chain(honest) {
        for direction in [Direction::Outgoing, Direction::Incoming] {
            let time = median_time(ROUNDS, direction, &message)?;
            if time > slowest.1 {
                slowest = (name, time);
            }
            let (heap, _) = heap(direction, &message);
            if heap > largest.1 {
                largest = (name, heap);
            }
        }
    }
    let (name, value) = slowest;
    let name = format!("gate-worst/slowest ({name})");
    report.figure(Figure::new(name, value, "ms", None, Goal::AtMost(50.0)));
    let (name, value) = largest;
    let name = format!("gate-worst/heap ({name})");
    report.figure(Figure::new(name, value, "KiB", None, Goal::AtMost(1024.0)));
    Ok(())
}

/// The time for each MiB of a shape at 10 and at 100 MiB, beside that at a tenth of the size.
fn linear(name: &str, shape: Shape, report: &mut Report) -> anyhow::Result<()> {
    let mut before = None;
    let mut most_heap = 0.0_f64;
    for (size, rounds) in [(1, 21), (10, 5), (100, 3)] {
        let message = shape(size * MIB);
        let mib = message.len() as f64 / MIB as f64;
        let (heap, verdict) = heap(Direction::Outgoing, &message);
        let class = verdict.class;
        ensure!(class == Class::Encrypted, "{name} of {size} MiB: {class:?}");
        most_heap = most_heap.max(heap);
        let time = median_time(rounds, Direction::Outgoing, &message)? / mib;
        let goal = before.map_or(Goal::None, |_| Goal::RatioAtMost(GROWTH));
        let name = format!("gate-worst/{name}-{size}MiB");
        report.figure(Figure::new(name, time, "ms/MiB", before, goal));
        before = Some(time);
    }
    let name = format!("gate-worst/{name}-heap");
    report.figure(Figure::new(
        name,
        most_heap,
        "KiB",
        None,
        Goal::AtMost(1024.0),
    ));
    Ok(())
}

/// Makes a message of about this many bytes that passes.
type Shape = fn(usize) -> Vec<u8>;

const SHAPES: &[(&str, Shape)] = &[
    ("short-header-fields", |size| in_header("X: a\r\n", size)),
    ("one-field-of-many-lines", |size| {
        let lines = " a\r\n".repeat(size / 4);
        let good = good();
        good.replacen("Subject:", &format!("X-Note: a\r\n{lines}Subject:"), 1)
            .into_bytes()
    }),
    ("folds-of-one-blank-and-a-letter", |size| {
        in_header("X:\r\n a\r\n", size)
    }),
    ("empty-lines-before-the-parts", |size| {
        let lines = "\r\n".repeat(size / 2);
        let good = good();
        good.replacen("\r\n\r\n--", &format!("\r\n\r\n{lines}--"), 1)
            .into_bytes()
    }),
    ("blank-lines-behind-the-parts", |size| {
        let lines = " \r\n".repeat(size / 3);
        [good().as_bytes(), lines.as_bytes()].concat()
    }),
    ("blank-lines-of-the-greatest-length", |size| {
        let line = format!("{}\r\n", " ".repeat(998));
        [good().as_bytes(), line.repeat(size / 1000).as_bytes()].concat()
    }),
    ("armor-lines-of-one-character", |size| armor_of(1, size / 3)),
    ("armor-lines-of-63-characters", |size| armor_of(63, size)),
    ("armor-lines-of-changing-length", |size| {
        let good = armor_of(64, size);
        // Each guess at the next line's length is wrong.
        let text = String::from_utf8_lossy(&good);
        let (before, rest) = text.split_once("-----\r\n\r\n").unwrap_or_default();
        let (data, after) = rest.split_once("\r\n=").unwrap_or_default();
        let data = data.replace("\r\n", "");
        let mut lines = String::with_capacity(good.len() * 2);
        let mut data = data.as_str();
        let mut length = 2;
        while !data.is_empty() {
            let (line, more) = data.split_at(length.min(data.len()));
            lines.push_str(line);
            lines.push_str("\r\n");
            (data, length) = (more, 5 - length);
        }
        format!("{before}-----\r\n\r\n{lines}={after}").into_bytes()
    }),
    ("parts-of-one-octet", |size| in_parts(1, size)),
    ("parts-of-512-octets", |size| in_parts(512, size)),
    ("cipher-text", |size| armor_of(64, size)),
];

/// A good message with this field again and again.
fn in_header(field: &str, size: usize) -> Vec<u8> {
    let fields = field.repeat(size / field.len());
    let good = good();
    good.replacen("Subject:", &format!("{fields}Subject:"), 1)
        .into_bytes()
}

/// Cipher text in armor lines of this length, about `size` bytes of base64.
fn armor_of(line: usize, size: usize) -> Vec<u8> {
    let head = session_key().len() + packet(18, &seipd_v2(0)).len();
    // Whole groups of three: padding may not begin a line.
    let length = (head + size / 4 * 3).next_multiple_of(3) - head;
    let data = [session_key(), packet(18, &seipd_v2(length))].concat();
    around(&armored_with(&data, line, true)).into_bytes()
}

/// Cipher text in parts of this many octets, a power of two, behind the first one.
fn in_parts(part: usize, size: usize) -> Vec<u8> {
    let first = seipd_v2(508);
    let octets = random(size / 4 * 3 * part / (part + 1));
    let mut data = [session_key(), vec![0xD2, 0xE9], first].concat();
    let parts = octets.chunks_exact(part);
    let length = 0xE0 | part.trailing_zeros() as u8;
    for part in parts {
        data.push(length);
        data.extend_from_slice(part);
    }
    data.push(40);
    data.extend(random(40));
    around(&armored_with(&data, 64, true)).into_bytes()
}

fn judge(direction: Direction, message: &[u8]) -> Verdict {
    let mut reader = MessageReader::new(direction);
    for chunk in message.chunks(CHUNK) {
        reader.push(chunk);
    }
    reader.finish()
}

/// Milliseconds of processor time to judge a message.
fn median_time(rounds: usize, direction: Direction, message: &[u8]) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begun = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        std::hint::black_box(judge(direction, message));
        let ended = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        times.push(Duration::from(ended - begun));
    }
    Ok(Sample::milliseconds(times).median())
}

/// The most heap in KiB that judging takes on top of what is there before.
fn heap(direction: Direction, message: &[u8]) -> (f64, Verdict) {
    let heap = PeakAlloc;
    let before = heap.current_usage();
    heap.reset_peak_usage();
    let verdict = judge(direction, message);
    let most = heap.peak_usage().saturating_sub(before);
    (most as f64 / 1024.0, verdict)
}
