//! The Chrome DevTools Protocol over pipes.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use command_fds::{CommandFdExt as _, FdMapping};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe::{self, Receiver, Sender};
use tokio::process::{Child, Command};

/// Where Chromium reads commands and writes answers.
const COMMANDS: i32 = 3;
const ANSWERS: i32 = 4;

/// A browser, and the pipes to it.
pub(super) struct Pipe {
    commands: Sender,
    answers: BufReader<Receiver>,
    last_id: u64,
    events: Vec<Value>,
    browser: Child,
}

impl Pipe {
    pub(super) fn start(program: &str, arguments: &[String]) -> anyhow::Result<Self> {
        let (commands, for_browser) = pipe::pipe()?;
        let (from_browser, answers) = pipe::pipe()?;
        let mapping = |parent_fd, child_fd| FdMapping {
            parent_fd,
            child_fd,
        };
        let mut command = Command::new(program);
        command
            .arg("--remote-debugging-pipe")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .fd_mappings(vec![
                mapping(for_browser.into_blocking_fd()?, COMMANDS),
                mapping(from_browser.into_blocking_fd()?, ANSWERS),
            ])?;
        let context = || format!("running {program} (Debian package: {program})");
        let browser = command.spawn().with_context(context)?;
        Ok(Self {
            commands,
            answers: BufReader::new(answers),
            last_id: 0,
            events: Vec::new(),
            browser,
        })
    }

    /// Calls a method, of a page's session or of the browser.
    pub(super) async fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> anyhow::Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        let mut octets = serde_json::to_vec(&command)?;
        octets.push(0);
        self.commands.write_all(&octets).await?;
        loop {
            let mut message = self.read().await?;
            if message["id"] != id {
                self.events.push(message);
            } else if let Some(error) = message.get("error") {
                bail!("{method}: {error}");
            } else {
                return Ok(message["result"].take());
            }
        }
    }

    /// Waits for an event, if it has not come.
    pub(super) async fn event(&mut self, method: &str) -> anyhow::Result<()> {
        while self.events(method).next().is_none() {
            let message = self.read().await?;
            self.events.push(message);
        }
        Ok(())
    }

    /// The parameters of all events of a kind that have come since they were forgotten.
    pub(super) fn events(&self, method: &str) -> impl Iterator<Item = &Value> {
        let events = self.events.iter();
        let wanted = events.filter(move |event| event["method"] == *method);
        wanted.map(|event| &event["params"])
    }

    pub(super) fn forget_events(&mut self) {
        self.events.clear();
    }

    /// Ends the browser and waits until it is gone.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        self.call(None, "Browser.close", json!({})).await?;
        self.browser.wait().await?;
        Ok(())
    }

    async fn read(&mut self) -> anyhow::Result<Value> {
        let mut octets = Vec::new();
        self.answers.read_until(0, &mut octets).await?;
        if octets.pop() != Some(0) {
            bail!("Chromium has ended");
        }
        serde_json::from_slice(&octets).context("Chromium does not speak JSON")
    }
}
