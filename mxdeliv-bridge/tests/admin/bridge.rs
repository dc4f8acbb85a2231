//! A bridge in a folder of its own, and its commands.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long a test waits for what should come soon.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running bridge of `chat.example`.
pub struct Bridge {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Bridge {
    /// Starts it with these lines added to `chatmail.ini`.
    pub fn start(keys: &str) -> Self {
        let mut bridge = Self::away(keys);
        bridge.restart();
        bridge
    }

    /// Starts it with these lines; it trusts whom this certificate, in PEM, vouches for.
    pub fn trusting(certificate: &str, keys: &str) -> Self {
        let mut bridge = Self::configured(certificate, keys);
        bridge.restart();
        bridge
    }

    /// Its configuration, without the daemon.
    pub fn away(keys: &str) -> Self {
        let authority = rcgen::generate_simple_self_signed(["authority.example".to_owned()]);
        Self::configured(&authority.unwrap().cert.pem(), keys)
    }

    fn configured(certificate: &str, keys: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        fs::write(at("authorities.pem"), certificate).unwrap();
        let mut text = "[params]\nmail_domain = chat.example\nmxdeliv_metrics =\n".to_owned();
        for (key, name) in [
            ("mxdeliv_lmtp_socket", "queue/lmtp.sock"),
            ("mxdeliv_return_socket", "queue/return.sock"),
            ("mxdeliv_route_socket", "queue/route.sock"),
            ("mxdeliv_admin_socket", "admin.sock"),
            ("mxdeliv_report_socket", "report.sock"),
            ("mxdeliv_database_path", "peers.sqlite"),
            ("dovecot_lmtp_socket", "dovecot.sock"),
            ("policy_socket", "policy.sock"),
            ("blocks_socket", "blocks.sock"),
            ("postfix_config_dir", "postfix"),
            ("postfix_log", "mail.log"),
            ("mxdeliv_authorities", "authorities.pem"),
        ] {
            text.push_str(&format!("{key} = {}\n", at(name)));
        }
        text.push_str(&format!("mxdeliv_listen = unix:{}\n", at("http.sock")));
        if !keys.contains("dns_servers") {
            // Nobody listens there.
            text.push_str("dns_servers = 127.0.0.1:1\n");
        }
        text.push_str(keys);
        fs::write(at("chatmail.ini"), text).unwrap();
        for folder in ["queue", "postfix", "bin"] {
            fs::create_dir(at(folder)).unwrap();
        }
        let bridge = Self { dir, daemon: None };
        bridge.set_queue("exit 0");
        bridge
    }

    /// What a stand-in for `postqueue` does, as a shell script.
    pub fn set_queue(&self, script: &str) {
        let path = self.path("bin/postqueue");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts the daemon, after it has ended.
    pub fn restart(&mut self) {
        self.stop();
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_mxdeliv-bridge"))
            .arg("--config")
            .arg(self.path("chatmail.ini"))
            .arg("serve")
            .env_remove("JOURNAL_STREAM")
            .env("PATH", path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(daemon.stderr.take().unwrap());
        self.daemon = Some(daemon);
        let mut all = String::new();
        while !all.contains("following Postfix's log") {
            assert!(log.read_line(&mut all).unwrap() > 0, "{all}");
        }
        // The rest is read, so that the daemon never waits for that.
        std::thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
    }

    /// Tells the daemon to stop and waits for its end.
    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
            kill(pid, Signal::SIGTERM).unwrap();
            assert!(daemon.wait().unwrap().success());
        }
    }

    /// A file or socket of its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mxdeliv-bridge"));
        command
            .arg("--config")
            .arg(self.path("chatmail.ini"))
            .args(arguments)
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null());
        command
    }

    /// What a command prints and complains of; it must end with this status.
    pub fn run(&self, status: i32, arguments: &[&str]) -> (String, String) {
        ended(status, &self.command(arguments).output().unwrap())
    }

    /// What a command prints with `--json`, line by line.
    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let (out, _) = self.run(0, &[arguments, &["--json"]].concat());
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        out.lines().map(parse).collect()
    }

    /// What a command prints with `--json`, as soon as that is what is waited for.
    pub fn json_when(&self, arguments: &[&str], is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let rows = self.json(arguments);
            if is_there(&rows) {
                return rows;
            }
            assert!(began.elapsed() < PATIENCE, "{rows:?}");
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn ended(status: i32, output: &Output) -> (String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}{err}");
    (out, err)
}
