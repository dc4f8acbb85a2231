//! Push notifications: how fast they are sent, what they cost a delivery, and memory.
//!
//! The queue is on the disk. The mailboxes are on tmpfs: what is read of them is in memory anyway, and
//! making a hundred thousand of them takes long elsewhere. The notification server is played in this process.

mod lmtp;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use chatmail::{Address, Config};

use super::doveauth::load::Connection;
use super::interleave::interleaved;
use super::process_memory::ProcessMemory;
use super::stats::Sample;
use super::submission::unlimited;
use super::{Figure, Goal, Report, runtime};
use crate::host::users::{MAIL_USER, Owner};
use crate::mail;
use crate::notifications::{self, Answer, NotificationServer};
use crate::relay::RelayOptions;
use crate::test_relay::TestRelay;
use lmtp::Lmtp;

/// A file system in memory.
const TMPFS: &str = "/dev/shm";

/// Accounts that are there.
const ACCOUNTS: usize = 100_000;

/// Those of them with a device token.
const TOKENS: usize = 10_000;

/// The size of a token, in bytes: what Delta Chat makes has about as many.
const TOKEN_SIZE: usize = 900;

/// Who writes at the same time, as there are LMTP processes.
const WRITERS: usize = 8;

/// Messages that are told at a steady rate, and the rate in a second.
const STEADY: usize = 5_000;
const RATE: u32 = 1_000;

/// How long everything may take to be sent.
const PATIENCE: Duration = Duration::from_secs(120);

/// Deliveries with the push script and without.
const DELIVERIES: usize = 400;

const MIB: f64 = 1_048_576.0;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(TMPFS).context("a folder for mailboxes")?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let mailboxes = folder.path().join("mail");
    let options = RelayOptions::default().with("mailboxes_dir", mailboxes.display());
    let relay = TestRelay::start(options)?;
    let (config, _) = Config::load(&relay.target.chatmail_ini)?;
    let accounts = Accounts {
        mailboxes: config.mailboxes_dir.clone(),
        domain: relay.target.domain.clone(),
    };
    accounts.write()?;
    let played = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let server = played.block_on(notifications::play(&relay.target, |_| Answer::Status(200)))?;
    all_at_once(&config.new_messages_file, &accounts, &server, report)?;
    steadily(&config.new_messages_file, &accounts, &server, report)?;
    accounts.look_up_all(&config.doveauth_socket)?;
    let memory = ProcessMemory::of(relay.pid("doveauth")?)?;
    report.figure(Figure::new(
        format!("push/peak-memory-{ACCOUNTS}-accounts-{TOKENS}-tokens"),
        memory.peak as f64 / MIB,
        "MiB",
        None,
        Goal::AtMost(64.0),
    ));
    drop(server);
    relay.stop()?;
    deliveries(report)
}

/// The accounts that exist.
struct Accounts {
    mailboxes: PathBuf,
    domain: String,
}

impl Accounts {
    /// Writes them as doveauth would, but for hashes: nobody logs in.
    fn write(&self) -> anyhow::Result<()> {
        let owner = Owner::of(MAIL_USER)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        for number in 0..ACCOUNTS {
            let home = self.mailboxes.join(self.address(number));
            fs::create_dir(&home).with_context(|| home.display().to_string())?;
            let mut files = vec![(home.join("password"), "{PLAIN}nobody".to_owned())];
            if number < TOKENS {
                let content = format!("{{\"devicetoken\":{{\"{}\":{now}}}}}", token(number));
                files.push((home.join("metadata.json"), content));
            }
            for (path, content) in files {
                fs::write(&path, content).with_context(|| path.display().to_string())?;
                chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
            }
            chown(home, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
        }
        Ok(())
    }

    fn address(&self, number: usize) -> String {
        format!("{number:09}@{}", self.domain)
    }

    /// Writes what the push script writes when a message was delivered, as it does.
    fn message(&self, number: usize, file: &Path) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(file)?;
        file.write_all(format!("{}\n", self.address(number)).as_bytes())?;
        Ok(())
    }

    fn look_up_all(&self, socket: &Path) -> anyhow::Result<()> {
        let mut connection = Connection::open(socket)?;
        for number in 0..ACCOUNTS {
            let address = self.address(number);
            let answer = connection.exchange(&format!("Lshared/userdb/{address}\t{address}\n"))?;
            ensure!(answer.starts_with('O'), "an account is missing");
        }
        Ok(())
    }
}

fn token(number: usize) -> String {
    format!("openpgp:{number:0width$}", width = TOKEN_SIZE - 8)
}

/// A message for each token, as fast as they can be written.
fn all_at_once(
    file: &Path,
    accounts: &Accounts,
    server: &NotificationServer,
    report: &mut Report,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..WRITERS)
            .map(|first| {
                scope.spawn(move || -> anyhow::Result<()> {
                    for number in (first..TOKENS).step_by(WRITERS) {
                        accounts.message(number, file)?;
                    }
                    Ok(())
                })
            })
            .collect();
        join(clients)
    })?;
    let written = begun.elapsed();
    wait_for(server, TOKENS)?;
    let sent = begun.elapsed();
    // As many posts as tokens could also be one twice, and another one never.
    let posted: BTreeSet<_> = server.tokens().into_iter().collect();
    let expected: BTreeSet<_> = (0..TOKENS).map(token).collect();
    ensure!(posted == expected, "other tokens were posted");
    for (name, time) in [("push/written", written), ("push/written-and-sent", sent)] {
        report.figure(Figure::new(
            name,
            TOKENS as f64 / time.as_secs_f64(),
            "1/s",
            None,
            Goal::AtLeast(f64::from(RATE)),
        ));
    }
    report.figure(Figure::new(
        "push/connections-to-the-server",
        server.connections() as f64,
        "",
        None,
        Goal::AtMost(1.0),
    ));
    Ok(())
}

/// Messages at a steady rate while as many are sent: how long each takes to be written.
fn steadily(
    file: &Path,
    accounts: &Accounts,
    server: &NotificationServer,
    report: &mut Report,
) -> anyhow::Result<()> {
    let before = server.count();
    let begun = Instant::now();
    let times = thread::scope(|scope| {
        let clients: Vec<_> = (0..WRITERS)
            .map(|first| {
                scope.spawn(move || -> anyhow::Result<Vec<Duration>> {
                    let mut times = Vec::new();
                    for number in (first..STEADY).step_by(WRITERS) {
                        let due = Duration::from_secs(1) * u32::try_from(number)? / RATE;
                        thread::sleep(due.saturating_sub(begun.elapsed()));
                        let asked = Instant::now();
                        accounts.message(number, file)?;
                        times.push(asked.elapsed());
                    }
                    Ok(times)
                })
            })
            .collect();
        join(clients)
    })?;
    let told = begun.elapsed();
    wait_for(server, before + STEADY)?;
    let behind = begun.elapsed() - told;
    let times = Sample::milliseconds(times.into_iter().flatten());
    for (name, value, goal) in [
        (
            "push/written-at-1000-a-second",
            times.median(),
            Goal::AtMost(1.0),
        ),
        (
            "push/written-at-1000-a-second-p99",
            times.percentile(99),
            Goal::None,
        ),
        (
            "push/behind-at-1000-a-second",
            behind.as_secs_f64() * 1000.0,
            Goal::AtMost(1000.0),
        ),
    ] {
        report.figure(Figure::new(name, value, "ms", None, goal));
    }
    Ok(())
}

fn tell(connection: &mut Connection, message: &str) -> anyhow::Result<()> {
    let answer = connection.exchange(message)?;
    ensure!(answer.starts_with("O1"), "a message is not taken: {answer}");
    Ok(())
}

fn join<T>(
    clients: Vec<thread::ScopedJoinHandle<'_, anyhow::Result<T>>>,
) -> anyhow::Result<Vec<T>> {
    let joined = clients.into_iter().map(|client| {
        let outcome = client.join();
        outcome.unwrap_or_else(|_| anyhow::bail!("a client has panicked"))
    });
    joined.collect()
}

fn wait_for(server: &NotificationServer, count: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    while server.count() < count {
        ensure!(
            begun.elapsed() < PATIENCE,
            "{} of {count} posts",
            server.count()
        );
        thread::sleep(Duration::from_millis(1));
    }
    ensure!(server.count() == count, "some were posted twice");
    Ok(())
}

/// Deliveries to somebody with a device, with the push script and without it.
fn deliveries(report: &mut Report) -> anyhow::Result<()> {
    let with = Recipient::new(RelayOptions::default())?;
    let without = Recipient::new(RelayOptions {
        without_push: true,
        ..RelayOptions::default()
    })?;
    let (mut one, mut other) = (with.connect()?, without.connect()?);
    let played = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let server = played.block_on(notifications::play(&with.relay.target, |_| {
        Answer::Status(200)
    }))?;
    // The first delivery makes the mailbox.
    with.deliver(&mut one)?;
    without.deliver(&mut other)?;
    let rounds = runtime()?.block_on(interleaved(
        DELIVERIES,
        async || with.deliver(&mut one),
        async || without.deliver(&mut other),
    ))?;
    ensure!(server.count() > 0, "the push script does nothing");
    let [value, reference] = [rounds.measured, rounds.reference].map(Sample::milliseconds);
    report.figure(Figure::new(
        "push/lmtp-delivery",
        value.median(),
        "ms",
        Some(reference.median()),
        Goal::ExcessAtMost(1.0),
    ));
    report.figure(Figure::new(
        "push/lmtp-delivery-p99",
        value.percentile(99),
        "ms",
        Some(reference.percentile(99)),
        Goal::None,
    ));
    drop(server);
    with.relay.stop()?;
    without.relay.stop()
}

/// Somebody with a device, on a relay.
struct Recipient {
    relay: TestRelay,
    config: Config,
    sender: String,
    address: String,
    message: Vec<u8>,
}

impl Recipient {
    fn new(options: RelayOptions) -> anyhow::Result<Self> {
        let relay = TestRelay::start(unlimited(options))?;
        let (config, _) = Config::load(&relay.target.chatmail_ini)?;
        let sender: Address = format!("sender000@{}", relay.target.domain).parse()?;
        let address: Address = format!("recipient@{}", relay.target.domain).parse()?;
        let login = format!("Lshared/passdb/a good password\"{address}\t{address}\n");
        let answer = Connection::open(&config.doveauth_socket)?.exchange(&login)?;
        ensure!(answer.starts_with('O'), "no account: {answer}");
        let set = format!(
            "B1\t{address}\nS1\tpriv/0123456789abcdef/devicetoken\t{}\nC1\n",
            token(0)
        );
        tell(&mut Connection::open(&config.metadata_socket)?, &set)?;
        let message = mail::encrypted(&sender, &address, 4_000)?.to_bytes();
        Ok(Self {
            relay,
            config,
            sender: sender.to_string(),
            address: address.to_string(),
            message,
        })
    }

    fn connect(&self) -> anyhow::Result<Lmtp> {
        Lmtp::open(&self.config.dovecot_lmtp_socket)
    }

    fn deliver(&self, lmtp: &mut Lmtp) -> anyhow::Result<Duration> {
        lmtp.deliver(&self.sender, &self.address, &self.message)
    }
}
