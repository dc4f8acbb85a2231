//! Measures a doveauth binary on accounts in a temporary directory: lookups of existing accounts
//! per second and their latency, the time to create an account against that of its hash alone,
//! and resident memory.
//!
//! `cargo run --release -p doveauth --example dict_load -- DOVEAUTH [DIRECTORY]`; the directory
//! should be on tmpfs, so that fsync costs nothing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Context as _;

const ACCOUNTS: usize = 10_000;
const HASH: &str = "{SHA512-CRYPT}$6$0123456789abcdef$\
    4kGJ0KQm9sVQvY6W1bY9nJtq0f0aGxk0pY1wZ2mC3dS4fR5gT6hU7jI8kO9lP0qA1sW2eD3rF4tG5yH6uJ7iK/";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let binary = PathBuf::from(
        arguments
            .next()
            .context("usage: dict_load DOVEAUTH [DIRECTORY]")?,
    );
    let base = arguments
        .next()
        .map_or_else(|| "/dev/shm".into(), PathBuf::from);
    let dir = tempfile::tempdir_in(base)?;
    let daemon = Daemon::start(&binary, dir.path())?;

    for (connections, batch) in [(8, 1), (30, 1), (8, 16)] {
        let load = lookups(&daemon.socket, connections, batch, Duration::from_secs(3))?;
        println!("{connections:3} connections, {batch:2} at a time: {load}");
    }
    println!(
        "resident: {} KiB with {ACCOUNTS} accounts",
        daemon.resident()?
    );
    creations(&daemon.socket)?;
    Ok(())
}

/// A running doveauth; killed when dropped.
struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(binary: &Path, dir: &Path) -> anyhow::Result<Self> {
        let mailboxes = dir.join("mailboxes");
        for number in 0..ACCOUNTS {
            let home = mailboxes.join(address(number));
            std::fs::create_dir_all(&home)?;
            std::fs::write(home.join("password"), HASH)?;
        }
        let (socket, config) = (dir.join("auth"), dir.join("chatmail.ini"));
        let text = format!(
            "[params]\nmail_domain = x.org\nmailboxes_dir = {}\ndoveauth_socket = {}\n\
             lastlogin_socket = {}\npolicy_socket = {}\ndoveauth_metrics =\nmax_load_1m = 0\n\
             max_creations_per_minute = 0\n",
            mailboxes.display(),
            socket.display(),
            dir.join("last-login").display(),
            dir.join("policy").display(),
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(binary);
        // Thousands of lines about created accounts would be measured as well.
        let child = command
            .arg("--config")
            .arg(&config)
            .env("RUST_LOG", "warn")
            .spawn()?;
        let daemon = Self { child, socket };
        let begun = Instant::now();
        while UnixStream::connect(&daemon.socket).is_err() {
            anyhow::ensure!(
                begun.elapsed() < Duration::from_secs(10),
                "doveauth does not start"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }

    /// Resident memory in KiB.
    fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line
            .context("no VmRSS")?
            .trim()
            .trim_end_matches(" kB")
            .parse()?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn address(number: usize) -> String {
    format!("a{number:08}@x.org")
}

/// What a run of lookups found.
struct Load {
    per_second: f64,
    median: Duration,
    p99: Duration,
}

impl std::fmt::Display for Load {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{:.0}/s, median {:?}, p99 {:?}",
            self.per_second, self.median, self.p99
        )
    }
}

/// Looks up existing accounts over so many connections, so many at a time on each.
fn lookups(
    socket: &Path,
    connections: usize,
    batch: usize,
    time: Duration,
) -> anyhow::Result<Load> {
    let begun = Instant::now();
    let times = std::thread::scope(|scope| {
        let client = |seed| scope.spawn(move || lookups_on_one(socket, seed, batch, begun + time));
        let clients: Vec<_> = (0..connections).map(client).collect();
        let join = |client: std::thread::ScopedJoinHandle<'_, anyhow::Result<Vec<_>>>| {
            client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))?
        };
        clients
            .into_iter()
            .map(join)
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let elapsed = begun.elapsed();
    let mut times = times.concat();
    times.sort_unstable();
    let count = times.len();
    anyhow::ensure!(count > 0, "no lookups");
    Ok(Load {
        per_second: (count * batch) as f64 / elapsed.as_secs_f64(),
        median: times[count / 2],
        p99: times[count * 99 / 100],
    })
}

fn lookups_on_one(
    socket: &Path,
    seed: usize,
    batch: usize,
    until: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = UnixStream::connect(socket)?;
    let mut replies = BufReader::new(stream.try_clone()?);
    stream.write_all(b"H3\t2\t0\t\tauth\n")?;
    let (mut times, mut number, mut line) = (Vec::new(), seed, String::new());
    while Instant::now() < until {
        let mut request = String::new();
        for _ in 0..batch {
            number = (number * 31 + 7) % ACCOUNTS;
            let address = address(number);
            request += &format!("Lshared/passdb/a good password\"{address}\t{address}\n");
        }
        let asked = Instant::now();
        stream.write_all(request.as_bytes())?;
        for _ in 0..batch {
            line.clear();
            replies.read_line(&mut line)?;
            anyhow::ensure!(line.starts_with("O{"), "unexpected reply {line:?}");
        }
        times.push(asked.elapsed());
    }
    Ok(times)
}

/// Creates accounts one after the other, each beside a bare hash.
fn creations(socket: &Path) -> anyhow::Result<()> {
    use sha_crypt::{PasswordHasher as _, ShaCrypt};
    let mut stream = UnixStream::connect(socket)?;
    let mut replies = BufReader::new(stream.try_clone()?);
    let (mut bare, mut created, mut line) = (Vec::new(), Vec::new(), String::new());
    for number in 0..500 {
        let begun = Instant::now();
        let hashed = ShaCrypt::SHA512.hash_password_with_salt(b"a good password", b"012345678901");
        bare.push(begun.elapsed());
        anyhow::ensure!(hashed.is_ok(), "cannot hash");
        let request = format!("Lshared/passdb/a good password\"b{number:08}@x.org\n");
        let begun = Instant::now();
        stream.write_all(request.as_bytes())?;
        line.clear();
        replies.read_line(&mut line)?;
        created.push(begun.elapsed());
        anyhow::ensure!(line.starts_with("O{"), "not created: {line:?}");
    }
    bare.sort_unstable();
    created.sort_unstable();
    let (bare, created) = (bare[bare.len() / 2], created[created.len() / 2]);
    let ratio = created.as_secs_f64() / bare.as_secs_f64();
    println!("creation: median {created:?}, bare hash {bare:?}, ratio {ratio:.2}");
    Ok(())
}
