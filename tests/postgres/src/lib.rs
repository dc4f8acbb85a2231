//! A private PostgreSQL server on a unix socket, for tests: Debian's programs, a folder of its own, and nothing of
//! the machine's servers.
//!
//! It lives as long as whoever has started it: a shell between us and the server waits for the end of a pipe, and then
//! ends the server and removes the folder, also when we are killed.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid};

/// The package that has the server.
pub const PACKAGE: &str = "postgresql";

/// Where Debian keeps the programs of each version.
const PROGRAMS: &str = "/usr/lib/postgresql";

/// Whom the server runs as when we are root, which it refuses to be: Debian's, else anybody.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Databases of all servers get different names.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Runs the server until our end closes, then ends it, quickly, and removes the folder. `$1` is the folder, the others
/// are the server's command.
const KEEPER: &str = r#"
folder=$1
shift
"$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
trap '' INT TERM HUP
while read -r word; do
    case $word in
        stop) kill -QUIT "$server"; wait "$server"; echo stopped ;;
        start) "$@" </dev/null >>"$folder/log" 2>&1 & server=$! ;;
    esac
done
kill -QUIT "$server"
wait "$server"
rm -rf "$folder"
"#;

/// A server that runs.
pub struct Server {
    programs: PathBuf,
    folder: PathBuf,
    user: User,
    keeper: Child,
    /// Closed, it ends the server.
    pipe: Option<ChildStdin>,
    said: Option<io::BufReader<std::process::ChildStdout>>,
}

impl Server {
    /// One that all tests of a program share, each with a database of its own.
    ///
    /// # Panics
    /// There is none to be had.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A new one, with these settings (`name=value`) beside those for tests: what it writes is not made safe.
    ///
    /// # Panics
    /// There is none to be had.
    pub fn start(settings: &[&str]) -> Self {
        let programs = programs();
        let user = user();
        let folder = tempfile::Builder::new()
            .prefix("postgres-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .expect("a folder for PostgreSQL")
            .keep();
        let owner = (user.uid.as_raw(), user.gid.as_raw());
        chown(&folder, Some(owner.0), Some(owner.1)).expect("giving the folder away");
        let data = folder.join("data");
        let init = [
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--pgdata",
        ];
        let made = as_user(&user, &programs.join("initdb"))
            .args(init)
            .arg(&data)
            .output();
        succeeded("initdb", &made.expect("initdb"));
        let mut command = as_user(&user, Path::new("sh"));
        command.args(["-c", KEEPER, "keeper"]).arg(&folder);
        command.arg(programs.join("postgres")).arg("-D").arg(&data);
        command.arg("-k").arg(&folder);
        let defaults = ["listen_addresses=", "fsync=off", "max_connections=200"];
        for setting in defaults.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().expect("a shell that keeps PostgreSQL");
        let server = Self {
            programs,
            folder,
            user,
            pipe: keeper.stdin.take(),
            said: keeper.stdout.take().map(io::BufReader::new),
            keeper,
        };
        server.wait();
        server
    }

    /// A new, empty database: its `database_url`.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn database(&self) -> String {
        let name = format!("test{}", NUMBER.fetch_add(1, Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The `database_url` of a database.
    pub fn url(&self, name: &str) -> String {
        format!("host={} user=postgres dbname={name}", self.folder.display())
    }

    /// The name of the database that a `database_url` of ours leads to.
    pub fn name(url: &str) -> &str {
        url.rsplit_once('=').map_or(url, |(_, name)| name)
    }

    /// What `psql` says to a statement, without headings.
    ///
    /// # Panics
    /// The statement fails.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let asked = as_user(&self.user, &self.programs.join("psql"))
            .args(["-AtqX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
            .arg(&self.folder)
            .args(["-c", statement, database])
            .output();
        succeeded("psql", &asked.expect("psql"))
    }

    /// The process that is above all of the server's.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.keeper.id()).unwrap_or_default()
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// The folder of the socket.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the server as if it had crashed, and returns when it is gone.
    ///
    /// # Panics
    /// It cannot be ended.
    pub fn stop(&mut self) {
        use std::io::BufRead as _;

        self.tell("stop\n");
        let mut line = String::new();
        let said = self.said.as_mut().expect("the keeper's output");
        said.read_line(&mut line).expect("the keeper's answer");
        assert_eq!(line, "stopped\n");
    }

    /// Starts it again.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self) {
        self.tell("start\n");
        self.wait();
    }

    fn tell(&mut self, words: &str) {
        use std::io::Write as _;

        let pipe = self.pipe.as_mut().expect("the keeper's input");
        pipe.write_all(words.as_bytes())
            .expect("telling the keeper");
    }

    fn wait(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.join("log"));
                panic!("PostgreSQL does not start: {}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        let ready = as_user(&self.user, &self.programs.join("pg_isready"))
            .args(["-q", "-h"])
            .arg(&self.folder)
            .status();
        UnixStream::connect(self.socket()).is_ok() && ready.is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.keeper.wait();
    }
}

/// The newest version's programs.
fn programs() -> PathBuf {
    let Ok(versions) = fs::read_dir(PROGRAMS) else {
        missing()
    };
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(version);
    match newest {
        Some(path) => path.join("bin"),
        None => missing(),
    }
}

fn missing() -> ! {
    panic!("PostgreSQL is not installed: apt-get install --no-install-recommends {PACKAGE}")
}

fn user() -> User {
    if !geteuid().is_root() {
        let me = User::from_uid(geteuid()).ok().flatten();
        return me.expect("the user that we are");
    }
    let found = USERS
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten());
    found.expect("a user who is not root")
}

/// A program that runs as this user, in English.
fn as_user(user: &User, program: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;

    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    if geteuid().is_root() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn succeeded(what: &str, output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if !output.status.success() {
        let mut why = format!("{what}: {}", output.status);
        let _ = write!(why, ": {}{}", text(&output.stdout), text(&output.stderr));
        panic!("{why}");
    }
    text(&output.stdout)
}
