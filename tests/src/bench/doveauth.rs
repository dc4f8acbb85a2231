//! doveauth on tmpfs, where a file that is on disk costs nothing: lookups, creations, memory.

pub(super) mod load;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chatmail::Config;
use sha_crypt::{PasswordHasher as _, ShaCrypt};

use super::interleave::interleaved;
use super::process_memory::ProcessMemory;
use super::stats::Sample;
use super::{Figure, Goal, Report, runtime};
use crate::host::users::{MAIL_USER, Owner};
use crate::relay::RelayOptions;
use crate::test_relay::TestRelay;
use load::{Connection, Echo};

/// The folder of a file system in memory.
const TMPFS: &str = "/dev/shm/chatmail-testbed";

/// Accounts that are there before doveauth is asked.
const ACCOUNTS: usize = 10_000;

/// The password of all of them.
const PASSWORD: &str = "a good password";

/// What crypt(3) takes: 12 bytes are 16 characters.
const SALT: &[u8; 12] = b"012345678901";

/// How long each round of lookups goes on, and how many rounds there are.
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 7;

/// Accounts that are created.
const CREATIONS: usize = 400;

const MIB: f64 = 1_048_576.0;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let relay = TestRelay::start(RelayOptions {
        state_root: Some(TMPFS.into()),
        ..RelayOptions::default()
    })?;
    let (config, _) = Config::load(&relay.target.chatmail_ini)?;
    let accounts = Accounts {
        mailboxes: config.mailboxes_dir.clone(),
        domain: relay.target.domain.clone(),
    };
    accounts.write()?;
    runtime()?.block_on(async {
        for (connections, goals) in [
            (8, [Goal::AtLeast(60_000.0), Goal::None]),
            (30, [Goal::None, Goal::AtMost(0.5)]),
        ] {
            lookups(
                &config.doveauth_socket,
                &accounts,
                connections,
                goals,
                report,
            )
            .await?;
        }
        creations(&config.doveauth_socket, &accounts, report).await
    })?;
    let memory = ProcessMemory::of(relay.pid("doveauth")?)?;
    report.figure(Figure::new(
        format!("doveauth/peak-memory-{ACCOUNTS}-accounts"),
        memory.peak as f64 / MIB,
        "MiB",
        None,
        Goal::AtMost(12.0),
    ));
    relay.stop()
}

/// The accounts that exist.
struct Accounts {
    mailboxes: PathBuf,
    domain: String,
}

impl Accounts {
    /// Writes them as doveauth would, but for hashing the same password once.
    fn write(&self) -> anyhow::Result<()> {
        let hash = format!("{{SHA512-CRYPT}}{}", hash()?);
        let owner = Owner::of(MAIL_USER)?;
        for number in 0..ACCOUNTS {
            let home = self.mailboxes.join(self.address(number));
            let file = home.join("password");
            fs::create_dir(&home).with_context(|| home.display().to_string())?;
            fs::write(&file, &hash).with_context(|| file.display().to_string())?;
            for path in [&home, &file] {
                chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
            }
        }
        Ok(())
    }

    fn address(&self, number: usize) -> String {
        format!("{number:09}@{}", self.domain)
    }

    /// What Dovecot asks at a login.
    fn lookup(&self, number: usize) -> String {
        let address = self.address(number);
        format!("Lshared/passdb/{PASSWORD}\"{address}\t{address}\n")
    }
}

/// A hash with the work and the form of crypt(3)'s.
fn hash() -> anyhow::Result<String> {
    ShaCrypt::SHA512
        .hash_password_with_salt(PASSWORD.as_bytes(), SALT)
        .map(|hash| hash.to_string())
        .map_err(|error| anyhow::anyhow!("hashing a password: {error}"))
}

/// Lookups of existing accounts, one at a time on each connection, beside a server that answers the
/// same bytes without looking: what this machine's sockets and scheduler take by themselves.
async fn lookups(
    socket: &Path,
    accounts: &Accounts,
    connections: usize,
    [rate_goal, p99_goal]: [Goal; 2],
    report: &mut Report,
) -> anyhow::Result<()> {
    let requests: Vec<String> = (0..ACCOUNTS)
        .map(|number| accounts.lookup(number))
        .collect();
    let answer = Connection::open(socket)?.ask(&accounts.lookup(0))?;
    let echo = Echo::start(answer)?;
    let rounds = interleaved(
        ROUNDS,
        async || load::round(socket, &requests, connections, ROUND),
        async || load::round(&echo.socket(), &requests, connections, ROUND),
    )
    .await?;
    let rate = |rounds: &[Vec<Duration>]| {
        let rates = rounds.iter();
        let rates = rates.map(|times| times.len() as f64 / ROUND.as_secs_f64());
        rates.collect::<Sample>().median()
    };
    report.figure(Figure::new(
        format!("doveauth/lookups-{connections}-connections"),
        rate(&rounds.measured),
        "1/s",
        Some(rate(&rounds.reference)),
        rate_goal,
    ));
    let p99 = |rounds: &[Vec<Duration>]| {
        let rounds = rounds.iter();
        let rounds = rounds.map(|times| Sample::milliseconds(times.iter().copied()).percentile(99));
        rounds.collect::<Sample>().median()
    };
    report.figure(Figure::new(
        format!("doveauth/lookup-p99-{connections}-connections"),
        p99(&rounds.measured),
        "ms",
        Some(p99(&rounds.reference)),
        p99_goal,
    ));
    Ok(())
}

/// First logins, one after the other, beside the hash that each of them needs.
async fn creations(socket: &Path, accounts: &Accounts, report: &mut Report) -> anyhow::Result<()> {
    let mut connection = Connection::open(socket)?;
    let mut newcomers = ACCOUNTS..;
    let rounds = interleaved(
        CREATIONS,
        async || {
            let number = newcomers.next().context("no more numbers")?;
            let request = accounts.lookup(number);
            let begun = Instant::now();
            connection.ask(&request)?;
            Ok(begun.elapsed())
        },
        async || {
            let begun = Instant::now();
            hash()?;
            Ok(begun.elapsed())
        },
    )
    .await?;
    let [value, reference] = [rounds.measured, rounds.reference].map(Sample::milliseconds);
    report.figure(Figure::new(
        "doveauth/creation",
        value.median(),
        "ms",
        Some(reference.median()),
        Goal::RatioAtMost(1.5),
    ));
    Ok(())
}
