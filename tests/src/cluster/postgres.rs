//! Private PostgreSQL servers of Debian's package: a primary, and a standby that follows it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::host::command::succeed;
use crate::host::network::Network;
use crate::host::users::Owner;
use crate::supervisor::{Program, Stage};

/// The user of Debian's package.
const USER: &str = "postgres";

/// Where Debian's packages have the programs, by version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The role and the database of our daemons, and the role's password.
const APPLICATION: &str = "chatmail";

/// How long a server may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that changes.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts the server, unless and until it is to be away.
const WHEN_WANTED: &str = r#"while [ -e "$1" ]; do sleep 0.05; done; shift; "$@" & server=$!
    trap 'kill -INT "$server"; wait "$server"; exit' TERM; wait "$server""#;

/// A PostgreSQL server of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Postgres {
    /// Its host.
    pub host: String,
    ip: Ipv4Addr,
    folder: PathBuf,
    programs: PathBuf,
}

impl Postgres {
    /// A server that does not exist yet.
    ///
    /// # Errors
    /// PostgreSQL is not installed.
    pub(super) fn plan(host: &str, ip: Ipv4Addr, folder: PathBuf) -> anyhow::Result<Self> {
        let versions = fs::read_dir(VERSIONS).with_context(|| format!("reading {VERSIONS}"))?;
        let mut versions: Vec<_> = versions
            .filter_map(|version| Some(version.ok()?.path().join("bin")))
            .filter(|programs| programs.join("postgres").exists())
            .collect();
        versions.sort();
        let programs = versions.pop().context("no PostgreSQL server")?;
        Ok(Self {
            host: host.to_owned(),
            ip,
            folder,
            programs,
        })
    }

    /// Makes an empty primary.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn make_primary(&self) -> anyhow::Result<()> {
        self.make_folders()?;
        succeed(
            self.program("initdb")
                .args([
                    "--no-sync",
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--no-locale",
                    "--pgdata",
                ])
                .arg(self.data()),
        )?;
        let settings = format!(
            "listen_addresses = '{}'\nunix_socket_directories = '{}'\nwal_level = replica\nhot_standby = on\n\
             # A primary and its standby that cannot reach each other notice it (testbed: soon).\n\
             wal_sender_timeout = 5s\nwal_receiver_timeout = 5s\nwal_retrieve_retry_interval = 200ms\n",
            self.ip,
            self.run().display()
        );
        self.add_to("postgresql.conf", &settings)?;
        let access = format!(
            "local all all trust\nhost {APPLICATION} {APPLICATION} 10.79.0.0/24 scram-sha-256\n\
             host replication {USER} 10.79.0.0/24 trust\n"
        );
        fs::write(self.data().join("pg_hba.conf"), access)?;
        Ok(())
    }

    /// Makes the database and the role of our daemons on a primary that runs.
    ///
    /// # Errors
    /// It refuses.
    pub(super) fn make_database(&self) -> anyhow::Result<()> {
        self.sql_in(
            USER,
            &format!("CREATE ROLE {APPLICATION} LOGIN PASSWORD '{APPLICATION}'"),
        )?;
        self.sql_in(
            USER,
            &format!("CREATE DATABASE {APPLICATION} OWNER {APPLICATION}"),
        )?;
        Ok(())
    }

    /// Makes a standby of a primary that runs.
    ///
    /// # Errors
    /// The primary does not answer.
    pub(super) fn make_standby(&self, primary: &Self) -> anyhow::Result<()> {
        self.make_folders()?;
        let connection = format!(
            "host={} user={USER} application_name={}",
            primary.ip, self.host
        );
        succeed(
            self.program("pg_basebackup")
                .args(["--no-sync", "--checkpoint=fast", "--wal-method=stream"])
                .args(["--write-recovery-conf", "--dbname", &connection, "--pgdata"])
                .arg(self.data()),
        )?;
        let settings = format!(
            "listen_addresses = '{}'\nunix_socket_directories = '{}'\n",
            self.ip,
            self.run().display()
        );
        self.add_to("postgresql.conf", &settings)
    }

    /// From now on nothing is acknowledged that the standby does not have.
    ///
    /// # Errors
    /// The standby does not follow.
    pub(super) fn wait_for_standby(&self, standby: &Self) -> anyhow::Result<()> {
        self.setting("synchronous_standby_names", &standby.host)?;
        let followed = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        self.eventually("its standby follows", || {
            Ok(self.sql_in(USER, followed)? == "1")
        })
    }

    /// The server, which is started again when it ends.
    pub(super) fn server(&self, network: &Network) -> Program {
        let wanted = ["sh", "-c", WHEN_WANTED, "postgres"];
        let mut command: Vec<_> = wanted.map(Into::into).to_vec();
        command.push(self.away().into());
        command.push(self.programs.join("postgres").into());
        command.extend(["-D".into(), self.data().into()]);
        Program {
            name: "postgres",
            stage: Stage::Daemons,
            command,
            user: Some(USER),
            low_ports: false,
            network: network.clone(),
            environment: Vec::new(),
            sockets: Vec::new(),
            log: self.folder.join("postgres.log"),
            pidfile: Some(self.folder.join("postgres.pid")),
            restart: true,
        }
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// It does not in time.
    pub(super) fn wait(&self) -> anyhow::Result<()> {
        let socket = self.run();
        self.eventually("it answers", || {
            let mut ready = self.program("pg_isready");
            let output = ready.arg("--host").arg(&socket).output()?;
            Ok(output.status.success())
        })
    }

    /// Where our daemons find the servers, the one that takes writes.
    pub(super) fn url(servers: &[Self]) -> String {
        let hosts: Vec<_> = servers
            .iter()
            .map(|server| format!("{}:5432", server.ip))
            .collect();
        format!(
            "postgresql://{APPLICATION}:{APPLICATION}@{}/{APPLICATION}?target_session_attrs=read-write&\
             sslmode=disable",
            hosts.join(",")
        )
    }

    /// Runs a statement in the daemons' database as its superuser, and gives what it returns: fields divided by `|`.
    ///
    /// # Errors
    /// The server is away, or refuses.
    pub fn sql(&self, statement: &str) -> anyhow::Result<String> {
        self.sql_in(APPLICATION, statement)
    }

    /// Lets the daemons have no connection, as when others have them all.
    ///
    /// # Errors
    /// The server is away.
    pub fn refuse_connections(&self) -> anyhow::Result<()> {
        self.sql_in(
            USER,
            &format!("ALTER ROLE {APPLICATION} CONNECTION LIMIT 0"),
        )?;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ";
        self.sql_in(USER, &format!("{end}'{APPLICATION}'"))
            .map(drop)
    }

    /// Ends what [`Postgres::refuse_connections`] began.
    ///
    /// # Errors
    /// The server is away.
    pub fn accept_connections(&self) -> anyhow::Result<()> {
        self.sql_in(
            USER,
            &format!("ALTER ROLE {APPLICATION} CONNECTION LIMIT -1"),
        )
        .map(drop)
    }

    /// Ends the server as an operator would, and keeps it away; connections end with it.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.end(Signal::SIGINT)
    }

    /// Kills the server, and keeps it away.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self) -> anyhow::Result<()> {
        // The postmaster's children notice its end by themselves.
        self.end(Signal::SIGKILL)
    }

    /// Brings the server back.
    ///
    /// # Errors
    /// It does not answer in time.
    pub fn start(&self) -> anyhow::Result<()> {
        fs::remove_file(self.away()).context("it is not away")?;
        self.wait()
    }

    /// Makes the standby the primary. It has nobody to wait for.
    ///
    /// # Errors
    /// It is no standby, or does not become one.
    pub fn promote(&self) -> anyhow::Result<()> {
        succeed(
            self.program("pg_ctl")
                .args(["promote", "--wait", "--pgdata"])
                .arg(self.data()),
        )?;
        self.setting("synchronous_standby_names", "")
    }

    fn end(&self, signal: Signal) -> anyhow::Result<()> {
        fs::write(self.away(), "")?;
        let pid = self.pid()?;
        kill(pid, signal).context("ending PostgreSQL")?;
        self.eventually("it ends", || {
            Ok(!Path::new(&format!("/proc/{pid}")).exists())
        })?;
        // The sockets of its children end with them.
        let lock = self.data().join("postmaster.pid");
        if signal == Signal::SIGKILL && lock.exists() {
            fs::remove_file(lock)?;
        }
        Ok(())
    }

    /// The server's first process.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> anyhow::Result<Pid> {
        let file = self.data().join("postmaster.pid");
        let text = fs::read_to_string(&file).context("PostgreSQL does not run")?;
        let pid = text.lines().next().context("an empty pid file")?;
        Ok(Pid::from_raw(pid.trim().parse()?))
    }

    fn setting(&self, name: &str, value: &str) -> anyhow::Result<()> {
        self.sql_in(USER, &format!("ALTER SYSTEM SET {name} = '{value}'"))?;
        self.sql_in(USER, "SELECT pg_reload_conf()").map(drop)
    }

    fn sql_in(&self, database: &str, statement: &str) -> anyhow::Result<String> {
        let output = succeed(
            self.program("psql")
                .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"])
                .args(["--set", "ON_ERROR_STOP=1", "--host"])
                .arg(self.run())
                .args(["--dbname", database, "--command", statement]),
        )?;
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// One of PostgreSQL's programs, as its user.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", USER, "--regid", USER, "--init-groups", "--"])
            .arg(self.programs.join(name))
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/");
        command
    }

    fn make_folders(&self) -> anyhow::Result<()> {
        let owner = Owner::of(USER)?;
        fs::create_dir_all(&self.folder)?;
        for folder in [self.folder.clone(), self.run()] {
            fs::create_dir_all(&folder)?;
            owner.own(&folder)?;
        }
        Ok(())
    }

    fn add_to(&self, file: &str, settings: &str) -> anyhow::Result<()> {
        use std::io::Write as _;

        let path = self.data().join(file);
        let mut file = fs::File::options().append(true).open(&path)?;
        file.write_all(settings.as_bytes())
            .with_context(|| format!("writing {}", path.display()))
    }

    fn eventually(
        &self,
        what: &str,
        mut is_so: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so()? {
            ensure!(
                Instant::now() < deadline,
                "PostgreSQL of {}, not in time: {what}; see {}",
                self.host,
                self.folder.join("postgres.log").display()
            );
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The file that keeps the server away.
    fn away(&self) -> PathBuf {
        self.folder.join("away")
    }
}
