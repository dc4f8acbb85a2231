//! A full queue for dead peers: 20 000 messages to 200 domains, half of which refuse connections and
//! half of which take them and say nothing, then a flush.
//!
//! Postfix holds the messages back until all are there, and until then the peers live: so the bridge is
//! asked to deliver when the queue is flushed, and finds out that they are dead by trying.

use std::fs;
use std::net::{IpAddr, SocketAddr};
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
use crate::authority::Certificate;
use crate::dns::{Data, Dns};
use crate::host::addresses::Port;
use crate::mail;
use crate::peers::{Answer, Behaviour, Manner, Peer};
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
const LONGEST: Duration = Duration::from_secs(150);

/// How long Postfix may take to read its settings again.
const RELOAD: Duration = Duration::from_secs(5);

/// Looks in a row that find Postfix idle before it counts as that.
const IDLE_LOOKS: usize = 30;

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
        let peers = Peers::new(&relay.target, relay.dns()?).await?;
        let queue = Queue::new(&relay);
        queue.hold(true)?;
        fill(&relay.target).await?;
        queue.filled().await?;
        let _dead = peers.die().await?;
        queue.hold(false)?;
        // The queue manager that holds mail back makes room for another one.
        sleep(RELOAD).await;
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
        figure(
            "messages-through-the-bridge",
            seen.messages as f64,
            "",
            Some(MESSAGES as f64),
            Goal::None,
        ),
        figure("time", settled.as_secs_f64(), "s", None, Goal::None),
    ]);
    relay.stop()
}

/// Two hosts for all the domains, alive at first: so the bridge expects them to be.
struct Peers([Peer; 2]);

/// The same two hosts later. One is gone, the other one takes connections and says nothing.
struct Dead {
    _silent: [TcpListener; 2],
}

impl Peers {
    async fn new(relay: &Target, dns: &Dns) -> anyhow::Result<Self> {
        let manner = || Manner {
            https: Some(Behaviour::always(Answer::take("250 OK", ""))),
            certificate: Certificate::Right,
            smtp: true,
        };
        let peers = [
            Peer::start(relay, "gone.test", manner()).await?,
            Peer::start(relay, "silent.test", manner()).await?,
        ];
        let hosts = peers.each_ref().map(|peer| peer.socket(Port::Mx).ip());
        dns.change(|zone| {
            for (number, ip) in (0..PEERS).zip(hosts.into_iter().cycle()) {
                if let IpAddr::V4(ip) = ip {
                    zone.set(&domain(number), 3600, &[Data::A(ip)])?;
                }
            }
            Ok(())
        })?;
        Ok(Self(peers))
    }

    async fn die(self) -> anyhow::Result<Dead> {
        let [gone, silent] = self.0;
        let sockets = [Port::Https, Port::Mx].map(|port| silent.socket(port));
        ensure!(
            gone.posts() + silent.posts() == 0,
            "the queue did not hold mail back"
        );
        drop(gone);
        drop(silent);
        let [https, smtp] = sockets;
        Ok(Dead {
            _silent: [bind(https).await?, bind(smtp).await?],
        })
    }
}

/// Listens in the place of a server that is on its way out.
async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => ensure!(begun.elapsed() < SETTLING, "{address}: {error}"),
        }
        sleep(PAUSE).await;
    }
}

/// Peers whose certificate nobody asks about, since all share one.
fn domain(number: usize) -> String {
    format!("_peer{number:03}.test")
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
    /// Messages that Postfix brought to it.
    messages: usize,
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

    /// What `postqueue -f` tells the queue manager; it also wants a pickup(8), which the testbed has not:
    /// forget who did not answer, look at all, look at what was deferred.
    fn flush(&self) -> anyhow::Result<()> {
        let etc = self.layout.postfix_etc();
        let mut postkick = Command::new("postkick");
        let postkick = postkick.arg("-c").arg(etc).args(["public", "qmgr", "FAD"]);
        ensure!(
            postkick.status().context("running postkick")?.success(),
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
        let mut idle = 0;
        while begun.elapsed() < LONGEST && idle < IDLE_LOOKS {
            let open = fs::read_dir(format!("/proc/{bridge}/fd"))?.count();
            seen.descriptors = seen.descriptors.max(open);
            let busy = self.count("active")? + self.count("incoming")? > 0;
            idle = if busy { 0 } else { idle + 1 };
            sleep(PAUSE).await;
        }
        let log = fs::read_to_string(self.relay.log("postfix"))?;
        let through = |line: &&str| line.contains("/mxdeliv/") && line.contains("status=");
        seen.messages = log.lines().filter(through).count();
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
