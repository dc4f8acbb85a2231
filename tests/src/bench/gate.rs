//! The gate alone, in this process and on one thread: speed beside a bare base64 decode, and heap.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64_simd::{AsOut as _, STANDARD};
use chatmail::Address;
use filtermail::gate::{Class, Direction, Gate};
use nix::time::{ClockId, clock_gettime};
use peak_alloc::PeakAlloc;

use super::interleave::interleaved;
use super::stats::Sample;
use super::{Figure, Goal, Report, runtime};
use crate::mail::{self, Message};

const MIB: usize = 1 << 20;

/// The largest body chunk that Postfix hands to a milter, in bytes.
const CHUNK: usize = 65_535;

/// Passes over the message.
const ROUNDS: usize = 21;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let small = Mail::of(30 * MIB)?;
    runtime()?.block_on(speed(&small, report))?;
    for (name, goal, mail) in [
        ("gate/heap-30MiB", Goal::AtMost(256.0), small),
        (
            "gate/heap-300MiB",
            Goal::AtMost(256.0),
            Mail::of(300 * MIB)?,
        ),
    ] {
        report.figure(Figure::new(name, heap(&mail)?, "KiB", None, goal));
    }
    Ok(())
}

/// A message as a milter gets it.
struct Mail {
    fields: Vec<(String, String)>,
    message: Message,
}

impl Mail {
    fn of(size: usize) -> anyhow::Result<Self> {
        let [sender, recipient] =
            ["sender@chat.test", "recipient@chat.test"].map(str::parse::<Address>);
        let message = mail::encrypted(&sender?, &recipient?, size)?;
        let fields = message.headers.iter();
        let fields = fields.map(|(name, value)| (name.clone(), format!(" {value}")));
        Ok(Self {
            fields: fields.collect(),
            message,
        })
    }

    /// Fails when the gate takes the message for anything but encrypted.
    fn judge(&self) -> anyhow::Result<()> {
        let mut gate = Gate::new(Direction::Outgoing);
        for (name, value) in &self.fields {
            gate.header(name.as_bytes(), value.as_bytes());
        }
        gate.end_of_headers();
        for chunk in self.message.body.chunks(CHUNK) {
            gate.body(chunk);
        }
        let class = gate.finish().class;
        ensure!(class == Class::Encrypted, "the gate says {class:?}");
        Ok(())
    }

    /// The armored text without its line ends.
    fn base64(&self) -> anyhow::Result<Vec<u8>> {
        let text = std::str::from_utf8(&self.message.body)?;
        let (_, armor) = text
            .split_once("-----BEGIN PGP MESSAGE-----\r\n\r\n")
            .context("the message has no armor")?;
        let lines = armor
            .split("\r\n")
            .take_while(|line| !line.starts_with(['=', '-']));
        Ok(lines.flat_map(str::bytes).collect())
    }
}

async fn speed(mail: &Mail, report: &mut Report) -> anyhow::Result<()> {
    let base64 = mail.base64()?;
    let mut decoded = vec![0; base64.len()];
    let rounds = interleaved(
        ROUNDS,
        async || {
            let (taken, judged) = cpu_time(|| mail.judge())?;
            judged?;
            Ok(gigabytes_per_second(mail.message.size(), taken))
        },
        async || {
            let (taken, decoded) =
                cpu_time(|| STANDARD.decode(&base64, decoded.as_mut_slice().as_out()))?;
            let length = decoded.context("decoding the armor")?.len();
            ensure!(length > base64.len() / 4 * 3 - 3, "decoded {length} bytes");
            Ok(gigabytes_per_second(base64.len(), taken))
        },
    )
    .await?;
    let [gate, flat] = [rounds.measured, rounds.reference].map(Sample::from_iter);
    report.figure(Figure::new(
        "gate/30MiB",
        gate.median(),
        "GB/s",
        Some(flat.median()),
        Goal::AtLeastOrRatio(1.5, 0.1),
    ));
    Ok(())
}

/// Processor time of this thread: what "on one core" means, whatever else the machine does.
fn cpu_time<T>(work: impl FnOnce() -> T) -> nix::Result<(Duration, T)> {
    let begun = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    let result = work();
    let ended = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok((Duration::from(ended - begun), result))
}

fn gigabytes_per_second(bytes: usize, taken: Duration) -> f64 {
    bytes as f64 / 1e9 / taken.as_secs_f64()
}

/// The most heap in KiB that judging takes on top of what is there before.
fn heap(mail: &Mail) -> anyhow::Result<f64> {
    let heap = PeakAlloc;
    let before = heap.current_usage();
    ensure!(
        before > mail.message.body.len(),
        "this program does not count its heap"
    );
    heap.reset_peak_usage();
    mail.judge()?;
    Ok(heap.peak_usage().saturating_sub(before) as f64 / 1024.0)
}
