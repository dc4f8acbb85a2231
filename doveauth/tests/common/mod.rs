//! A doveauth in this process, on sockets in a temporary directory.

pub(crate) mod log;
pub(crate) mod questions;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use chatmail::Config;
use doveauth::{Daemon, Drained};
use postgres_server::Server;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a test waits for what should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Where accounts and small tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// In mailbox directories and a file.
    Files,
    /// In PostgreSQL.
    Postgres,
}

/// The running daemon.
pub(crate) struct Relay {
    dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Drained>,
}

impl Relay {
    /// Starts it for the domain `x.org`, with these lines added to `chatmail.ini`.
    pub(crate) fn start(settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings)
    }

    /// The same with what is in this folder.
    pub(crate) fn start_in(dir: TempDir, settings: &str) -> Self {
        let path = |name: &str| dir.path().join(name).display().to_string();
        // However busy the machine is.
        let patience = match settings.contains("database_timeout") {
            true => "",
            false => "database_timeout = 100\n",
        };
        let text = format!(
            "[params]\nmail_domain = x.org\nmailboxes_dir = {}\ndoveauth_socket = {}\n\
             lastlogin_socket = {}\nmetadata_socket = {}\npolicy_socket = {}\nblocks_socket = {}\nnocreate_file = {}\ndoveauth_metrics =\n\
             max_load_1m = 0\nmin_available_memory = 0\nmin_free_disk_space = 0\n\
             username_min_length = 3\nturn_socket_path = {}\nnew_messages_file = {}\nnotification_queue_path = {}\n\
             mail_user = {}\ndatabase_path = {}\n{patience}{settings}\n",
            path("mail"),
            path("auth"),
            path("last-login"),
            path("metadata"),
            path("policy"),
            path("blocks"),
            path("nocreate"),
            path("turn"),
            path("new-messages"),
            path("tables/notifications.sqlite"),
            nix::unistd::User::from_uid(nix::unistd::geteuid())
                .unwrap()
                .unwrap()
                .name,
            path("tables/chatmail.sqlite"),
        );
        std::fs::write(dir.path().join("chatmail.ini"), &text).unwrap();
        let (config, warnings) = Config::parse(&text, Path::new("chatmail.ini")).unwrap();
        assert_eq!(warnings, []);
        let daemon = Daemon::bind(&config).unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let running = tokio::spawn(daemon.run(stopped, PATIENCE));
        Self {
            dir,
            stop: Some(stop),
            running,
        }
    }

    /// The same with this store; a database is a new one.
    pub(crate) fn on(store: Store, settings: &str) -> Self {
        match store {
            Store::Files => Self::start(settings),
            Store::Postgres => {
                let url = Server::shared().database();
                Self::start(&format!(
                    "database_url = {url}\nbackend_name = here\n{settings}"
                ))
            }
        }
    }

    /// Asks the database behind the daemon's back.
    pub(crate) fn sql(&self, statement: &str) -> String {
        let settings = std::fs::read_to_string(self.path("chatmail.ini")).unwrap();
        let mut lines = settings.lines();
        let url = lines.find_map(|line| line.strip_prefix("database_url = "));
        Server::shared().sql(Server::name(url.unwrap()), statement)
    }

    /// Whether there is no account, nor what looks like the beginning of one.
    pub(crate) async fn is_empty(&self) -> bool {
        let names = std::fs::read_dir(self.path("mail")).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let listed = self.ask("auth", b"I0\t0\tshared/userdb/\t\n").await;
        names.all(|name| !name.contains('@')) && listed == "\n"
    }

    /// The operator's command with these arguments and nothing to read.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doveauth"));
        command
            .arg("--config")
            .arg(self.path("chatmail.ini"))
            .args(arguments)
            // Diagnostics belong to whoever called, not into a journal.
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null());
        command
    }

    /// What that command says (both its outputs), and how it ends.
    pub(crate) fn operator(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(text).unwrap(),
        )
    }

    /// A file of an account, or a socket: relative to the temporary directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A connection to the socket of this name.
    pub(crate) async fn connect(&self, socket: &str) -> Connection {
        Connection {
            stream: UnixStream::connect(self.path(socket)).await.unwrap(),
        }
    }

    /// What all these bytes are answered with, up to the end of the connection.
    pub(crate) async fn ask(&self, socket: &str, request: &[u8]) -> String {
        let mut connection = self.connect(socket).await;
        connection.send(request).await;
        connection.rest().await
    }

    /// Tells it to stop.
    pub(crate) fn begin_stop(&mut self) {
        self.stop.take();
    }

    /// Tells it to stop and waits until it has.
    pub(crate) async fn stop(self) -> Drained {
        self.stop_and_keep().await.0
    }

    /// The same, and gives its folder.
    pub(crate) async fn stop_and_keep(mut self) -> (Drained, TempDir) {
        self.begin_stop();
        let stopped = tokio::time::timeout(PATIENCE, self.running).await;
        (stopped.unwrap().unwrap(), self.dir)
    }
}

/// A client.
pub(crate) struct Connection {
    stream: UnixStream,
}

impl Connection {
    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The daemon may close before it has read all of what it refuses.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends a line and reads the answer, without their newlines.
    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n").as_bytes()).await;
        self.line().await
    }

    /// The next line.
    pub(crate) async fn line(&mut self) -> String {
        let read = async {
            let mut line = Vec::new();
            loop {
                match self.stream.read_u8().await.unwrap() {
                    b'\n' => return String::from_utf8(line).unwrap(),
                    byte => line.push(byte),
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap()
    }

    /// Closes our side, and reads up to the end.
    pub(crate) async fn rest(mut self) -> String {
        let _ = self.stream.shutdown().await;
        self.until_closed().await
    }

    /// Reads until the daemon closes.
    pub(crate) async fn until_closed(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.stream.read_to_end(&mut bytes);
        // A reset after the answer is a closed connection too.
        let _ = tokio::time::timeout(PATIENCE, read).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
}
