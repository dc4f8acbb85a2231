//! A full queue for dead peers: 20 000 messages to 200 domains, half of which refuse connections and
//! half of which take them and say nothing, then a flush.
//!
//! Postfix holds the messages back until all are there, so that the bridge gets every one of them when
//! the queue is flushed, as after a long night without network.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chatmail::Address;
use nix::sys::signal::Signal;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::process_memory::ProcessMemory;
use super::submission::{Sender, Wire, unlimited};
use super::{Figure, Goal, Report, runtime};
use crate::dns::{Data, Dns};
use crate::host::addresses::{LoopbackAddress, Port};
use crate::mail;
use crate::relay::{Layout, RelayOptions};
use crate::target::Target;
use crate::test_relay::TestRelay;

const MESSAGES: usize = 20_000;
const PEERS: usize = 200;

/// Sessions that fill the queue.
const SESSIONS: usize = 8;

/// The size of a message in bytes.
const SIZE: usize = 3_000;

/// How long is looked at most.
const LONGEST: Duration = Duration::from_secs(300);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

const BRIDGE: &str = "mxdeliv-bridge";

const MIB: f64 = 1_048_576.0;

/// What keeps Postfix from delivering.
const HOLD: &str = "\ndefer_transports = mxdeliv, smtp\n";

/// Settings of a public relay in place of the testbed's: with pauses of seconds the queue would never
/// come to rest.
const PAUSES: [(&str, &str); 3] = [
    ("queue_run_delay = 2s", "queue_run_delay = 300s"),
    ("minimal_backoff_time = 2s", "minimal_backoff_time = 300s"),
    ("maximal_backoff_time = 30s", "maximal_backoff_time = 4000s"),
];

/// How long the last messages may take to be put aside.
const SETTLING: Duration = Duration::from_secs(60);

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let relay = TestRelay::start(unlimited(RelayOptions::default()))?;
    let pid = relay.pid(BRIDGE)?;
    let before = ProcessMemory::of(pid)?;
    let (seen, settled) = runtime()?.block_on(async {
        let _dead = Dead::new(relay.dns()?).await?;
        let queue = Queue::new(&relay);
        queue.hold(true)?;
        fill(&relay.target).await?;
        queue.filled().await?;
        queue.hold(false)?;
        queue.flush()?;
        queue.watch(pid).await
    })?;
    ensure!(relay.pid(BRIDGE)? == pid, "the bridge has died");
    let after = ProcessMemory::of(pid)?;
    let figure = |name: &str, value, unit, reference, goal| {
        Figure::new(
            format!("federation-flush/{name}"),
            value,
            unit,
            reference,
            goal,
        )
    };
    report.figures([
        figure(
            "memory",
            after.peak as f64 / MIB,
            "MiB",
            Some(before.resident as f64 / MIB),
            Goal::AtMost(128.0),
        ),
        figure(
            "descriptors",
            seen.descriptors as f64,
            "",
            Some(seen.allowed as f64),
            Goal::RatioAtMost(0.5),
        ),
        figure("time", settled.as_secs_f64(), "s", None, Goal::None),
    ]);
    relay.stop()
}

/// Two hosts for all the domains.
struct Dead {
    _addresses: [LoopbackAddress; 2],
    _silent: [TcpListener; 2],
}

impl Dead {
    async fn new(dns: &Dns) -> anyhow::Result<Self> {
        let ports = [Port::Https, Port::Mx].map(Port::number);
        let addresses = [
            LoopbackAddress::take(&ports)?,
            LoopbackAddress::take(&ports)?,
        ];
        let [refusing, silent] = addresses.each_ref().map(LoopbackAddress::ip);
        dns.change(|zone| {
            for number in 0..PEERS {
                let ip = if number % 2 == 0 { refusing } else { silent };
                zone.set(&domain(number), 3600, &[Data::A(ip)])?;
            }
            Ok(())
        })?;
        let [https, smtp] = ports;
        let silent = [
            TcpListener::bind((silent, https)).await?,
            TcpListener::bind((silent, smtp)).await?,
        ];
        Ok(Self {
            _addresses: addresses,
            _silent: silent,
        })
    }
}

fn domain(number: usize) -> String {
    format!("dead{number:03}.test")
}

/// Puts all messages into the queue.
async fn fill(relay: &Target) -> anyhow::Result<()> {
    let mut sending = JoinSet::new();
    for number in 0..SESSIONS {
        let sender: Address = format!("writer{number:03}@{}", relay.domain).parse()?;
        let recipients = (0..PEERS).map(|peer| format!("reader@{}", domain(peer)).parse());
        let recipients: Vec<Address> = recipients.collect::<Result<_, _>>()?;
        let first = recipients.first().context("nobody to write to")?;
        let wire = Wire::new(&mail::encrypted(&sender, first, SIZE)?)?;
        let mut session = Sender::login_with_tls(relay, &sender, first, wire).await?;
        sending.spawn(async move {
            let recipients = recipients.iter().cycle();
            for recipient in recipients.take(MESSAGES / SESSIONS) {
                session.address(&sender, recipient);
                session.send().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.context("a session")??;
    }
    Ok(())
}

/// A relay's Postfix.
struct Queue<'a> {
    relay: &'a TestRelay,
    layout: Layout,
}

/// What was seen of the bridge.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The most that were open at a time.
    descriptors: usize,
    /// How many it may open.
    allowed: usize,
}

impl<'a> Queue<'a> {
    fn new(relay: &'a TestRelay) -> Self {
        let layout = Layout::new(relay.target.state_dir.clone());
        Self { relay, layout }
    }

    /// Has Postfix hold mail for others back, or no more.
    fn hold(&self, hold: bool) -> anyhow::Result<()> {
        let main = self.layout.postfix_etc().join("main.cf");
        let mut text = fs::read_to_string(&main)?;
        for (ours, usual) in PAUSES {
            text = text.replace(ours, usual);
        }
        text = match hold {
            true => text + HOLD,
            false => text.replace(HOLD, ""),
        };
        fs::write(&main, text)?;
        self.relay.signal("postfix", Signal::SIGHUP)?;
        Ok(())
    }

    /// Waits until every message was put aside.
    async fn filled(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.count("deferred")? != MESSAGES {
            ensure!(
                begun.elapsed() < SETTLING,
                "{} of {MESSAGES} messages wait in the queue",
                self.count("deferred")?
            );
            sleep(PAUSE).await;
        }
        Ok(())
    }

    fn flush(&self) -> anyhow::Result<()> {
        let etc = self.layout.postfix_etc();
        let mut postqueue = Command::new("postqueue");
        let status = postqueue.arg("-c").arg(etc).arg("-f").status();
        ensure!(
            status.context("running postqueue")?.success(),
            "the queue cannot be flushed"
        );
        Ok(())
    }

    /// Messages in one of Postfix's queues.
    fn count(&self, name: &str) -> anyhow::Result<usize> {
        let mut count = 0;
        let mut folders = vec![self.layout.queue().join(name)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else {
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// Looks at the bridge until Postfix has tried every message; gives how long that took.
    async fn watch(&self, bridge: i32) -> anyhow::Result<(Seen, Duration)> {
        let begun = Instant::now();
        let mut seen = Seen {
            allowed: descriptors_allowed(bridge)?,
            ..Seen::default()
        };
        // The flush is a word to the queue manager, which it may take a moment to hear.
        let mut waiting = true;
        while begun.elapsed() < LONGEST {
            let open = fs::read_dir(format!("/proc/{bridge}/fd"))?.count();
            seen.descriptors = seen.descriptors.max(open);
            let busy = self.count("active")? + self.count("incoming")? > 0;
            if !busy && !waiting {
                break;
            }
            waiting &= !busy;
            sleep(PAUSE).await;
        }
        Ok((seen, begun.elapsed()))
    }
}

fn descriptors_allowed(pid: i32) -> anyhow::Result<usize> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    Ok(soft.context("no limit of open files")?.parse()?)
}
