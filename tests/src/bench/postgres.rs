//! Accounts in PostgreSQL beside accounts in mailbox directories: logins, creations, and a million accounts.
//!
//! Two doveauth run, each alone with a store, and a private PostgreSQL server that makes safe what it commits.
//! A login is what Dovecot does: the question, and the verification of the password against the hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use chatmail::accounts::PasswordHash;
use chatmail::postgres::{For, Made, PostgresAccounts};
use chatmail::{Address, Config};
use nix::unistd::{User, geteuid};
use postgres_server::Server;
use sha_crypt::{PasswordHasher as _, PasswordVerifier as _, ShaCrypt};
use tempfile::TempDir;

use super::doveauth::load::{self, Connection};
use super::interleave::interleaved;
use super::stats::Sample;
use super::{Figure, Goal, Report, process_time, runtime};
use crate::binaries;

/// Accounts of the comparison, and of the simulation.
const ACCOUNTS: usize = 10_000;
const MANY: usize = 1_000_000;

const PASSWORD: &str = "a good password";
const SALT: &[u8; 12] = b"012345678901";

/// How long each round goes on, how many there are, and clients at a time.
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const CLIENTS: usize = 8;

/// How long accounts are made.
const CREATING: Duration = Duration::from_secs(5);

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(&["fsync=on"]);
    let hash = format!("{{SHA512-CRYPT}}{}", hash()?);
    let url = server.database();
    let rows = Daemon::start(&format!(
        "database_url = {url}\nbackend_name = here\ndatabase_timeout = 60\n"
    ))?;
    let files = Daemon::start("")?;
    fill(&server, &url, &hash, 0, ACCOUNTS);
    for number in 0..ACCOUNTS {
        let home = files.folder.path().join("mail").join(address(number));
        fs::create_dir(&home)?;
        fs::write(home.join("password"), &hash)?;
    }
    runtime()?.block_on(async {
        compare(&rows, &files, report).await?;
        create(&rows, &hash, report).await
    })?;
    fill(&server, &url, &hash, ACCOUNTS, MANY);
    server.sql(Server::name(&url), "VACUUM ANALYZE accounts");
    simulate(&server, &url, &rows, report)
}

/// Logins with the verification that Dovecot does, and the questions alone.
async fn compare(rows: &Daemon, files: &Daemon, report: &mut Report) -> anyhow::Result<()> {
    let requests: Vec<String> = (0..ACCOUNTS).map(request).collect();
    for (name, goal) in [("logins", Goal::RatioAtLeast(0.7)), ("lookups", Goal::None)] {
        let round = async |daemon: &Daemon| {
            let socket = daemon.socket();
            match name {
                "logins" => logins(&socket, &requests),
                _ => Ok(load::round(&socket, &requests, CLIENTS, ROUND)?.len()),
            }
        };
        let rounds = interleaved(
            ROUNDS,
            async || round(rows).await,
            async || round(files).await,
        );
        let rounds = rounds.await?;
        let rate = |counts: Vec<usize>| {
            let rates = counts
                .into_iter()
                .map(|count| count as f64 / ROUND.as_secs_f64());
            rates.collect::<Sample>().median()
        };
        report.figure(Figure::new(
            format!("postgres/{name}-{CLIENTS}-clients"),
            rate(rounds.measured),
            "1/s",
            Some(rate(rounds.reference)),
            goal,
        ));
    }
    Ok(())
}

/// How many logins there are in a round.
fn logins(socket: &Path, requests: &[String]) -> anyhow::Result<usize> {
    let end = Instant::now() + ROUND;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut connection = Connection::open(socket)?;
                    let mut done = 0;
                    for request in requests.iter().cycle().skip(client * 1000) {
                        if Instant::now() >= end {
                            break;
                        }
                        verify(&connection.exchange(request)?)?;
                        done += 1;
                    }
                    anyhow::Ok(done)
                })
            })
            .collect();
        let mut all = 0;
        for client in clients {
            let done = client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))?;
            all += done?;
        }
        Ok(all)
    })
}

fn verify(answer: &str) -> anyhow::Result<()> {
    let fields = answer.strip_prefix('O').context("not an account")?;
    let fields: serde_json::Value = serde_json::from_str(fields)?;
    let hash = fields["password"].as_str().unwrap_or_default();
    let hash = hash
        .strip_prefix("{SHA512-CRYPT}")
        .context("another hash")?;
    let verified = ShaCrypt::SHA512.verify_password(PASSWORD.as_bytes(), hash);
    verified.map_err(|error| anyhow::anyhow!("another password: {error}"))
}

/// Accounts that are made in a second, with a hash that is there.
async fn create(rows: &Daemon, hash: &str, report: &mut Report) -> anyhow::Result<()> {
    let accounts = PostgresAccounts::from_config(&rows.config)?.context("no database_url")?;
    let hash = PasswordHash::parse(hash.as_bytes()).context("not a hash")?;
    let (accounts, hash) = (Arc::new(accounts), Arc::new(hash));
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (accounts, hash) = (Arc::clone(&accounts), Arc::clone(&hash));
            tokio::spawn(async move {
                let mut made = 0_usize;
                while begun.elapsed() < CREATING {
                    let address: Address = format!("new{client}.{made}@x.org").parse()?;
                    let now = SystemTime::now();
                    let created = accounts.create(&address, &hash, now, For::Anybody).await?;
                    ensure!(matches!(created, Made::Created(_)), "not created");
                    made += 1;
                }
                Ok(made)
            })
        })
        .collect();
    let mut all = 0;
    for client in clients {
        all += client.await??;
    }
    report.figure(Figure::new(
        "postgres/creations-without-hashing",
        all as f64 / begun.elapsed().as_secs_f64(),
        "1/s",
        None,
        Goal::AtLeast(500.0),
    ));
    Ok(())
}

/// A million accounts: what they take, and who works how much for a question.
fn simulate(server: &Server, url: &str, rows: &Daemon, report: &mut Report) -> anyhow::Result<()> {
    let ask = |select: &str| -> anyhow::Result<f64> {
        Ok(server.sql(Server::name(url), select).parse()?)
    };
    let mut figure = |name: &str, value: f64, unit: &'static str| {
        let name = format!("postgres/million/{name}");
        report.figure(Figure::new(name, value, unit, None, Goal::None));
    };
    figure("accounts", ask("SELECT count(*) FROM accounts")?, "rows");
    let bytes = "SELECT pg_total_relation_size('accounts')::float8 / count(*) FROM accounts";
    figure("bytes-per-account", ask(bytes)?, "B");
    // Spread over all, so that not the same pages are read again and again.
    let step = MANY / ACCOUNTS;
    let requests: Vec<String> = (0..ACCOUNTS).map(|number| request(number * step)).collect();
    let usage = || -> anyhow::Result<[Duration; 2]> {
        let database = process_time::of_tree(server.pid())?;
        Ok([database, process_time::of_tree(rows.pid()?)?])
    };
    let ([database, daemon], begun) = (usage()?, Instant::now());
    let lookups = load::round(&rows.socket(), &requests, 30, ROUND * 5)?.len() as f64;
    let seconds = begun.elapsed().as_secs_f64();
    let [database_after, daemon_after] = usage()?;
    figure("lookups-30-clients", lookups / seconds, "1/s");
    let share = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1e6 / lookups;
    figure(
        "database-time-per-lookup",
        share(database_after, database),
        "us",
    );
    figure(
        "doveauth-time-per-lookup",
        share(daemon_after, daemon),
        "us",
    );
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chatmail'";
    figure("connections", ask(connections)?, "");
    let begun = Instant::now();
    ask("SELECT count(*) FROM accounts WHERE last_login < 100 AND last_login > 0")?;
    figure(
        "search-for-inactive",
        begun.elapsed().as_secs_f64() * 1000.0,
        "ms",
    );
    Ok(())
}

/// Makes accounts in the database as fast as it can.
fn fill(server: &Server, url: &str, hash: &str, from: usize, to: usize) {
    let last = to - 1;
    let insert = format!(
        "INSERT INTO accounts (address, password, last_login) \
        SELECT lpad(number::text, 9, '0') || '@x.org', '{hash}', 20000 FROM generate_series({from}, {last}) AS number"
    );
    server.sql(Server::name(url), &insert);
}

fn address(number: usize) -> String {
    format!("{number:09}@x.org")
}

fn request(number: usize) -> String {
    let address = address(number);
    format!("Lshared/passdb/{PASSWORD}\"{address}\t{address}\n")
}

fn hash() -> anyhow::Result<String> {
    let hashed = ShaCrypt::SHA512.hash_password_with_salt(PASSWORD.as_bytes(), SALT);
    let hashed = hashed.map_err(|error| anyhow::anyhow!("hashing a password: {error}"))?;
    Ok(hashed.to_string())
}

/// A doveauth, alone.
struct Daemon {
    folder: TempDir,
    config: Config,
    child: Child,
}

impl Daemon {
    fn start(settings: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let me = User::from_uid(geteuid())?.context("who are we?")?.name;
        let text = format!(
            "[params]\nmail_domain = x.org\nmailboxes_dir = {}\ndoveauth_socket = {}\n\
            lastlogin_socket = {}\nmetadata_socket = {}\npolicy_socket = {}\nblocks_socket = {}\n\
            database_path = {}\nnotification_url =\ndoveauth_metrics =\nmail_user = {me}\n{settings}",
            at("mail"),
            at("auth"),
            at("last-login"),
            at("metadata"),
            at("policy"),
            at("blocks"),
            at("tables/chatmail.sqlite"),
        );
        let path = folder.path().join("chatmail.ini");
        fs::write(&path, &text)?;
        let (config, _) = Config::parse(&text, &path)?;
        let child = Command::new(binaries::release("doveauth")?)
            .arg("--config")
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting doveauth")?;
        let daemon = Self {
            folder,
            config,
            child,
        };
        daemon.wait()?;
        Ok(daemon)
    }

    /// Waits until it answers, and with it its store.
    fn wait(&self) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        let question = "Lshared/userdb/nobody@x.org\tnobody@x.org\n";
        loop {
            let answer = Connection::open(&self.socket())
                .and_then(|mut connection| connection.exchange(question));
            match answer {
                Ok(answer) if answer == "N\n" => return Ok(()),
                other => ensure!(Instant::now() < end, "doveauth does not answer: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("auth")
    }

    fn pid(&self) -> anyhow::Result<i32> {
        Ok(i32::try_from(self.child.id())?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
