//! JSON-RPC with `deltachat-rpc-server`: one JSON object per line in each direction.
//!
//! One task owns the program, the calls that wait for their results, and the way to each account's
//! events. An event is the result of `get_next_event`, which the task therefore always has outstanding.
//! (Several at once are the result of a method that older cores do not have.)

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a call may take. Logging in is the longest: it tries every server twice.
const CALL_PATIENCE: Duration = Duration::from_secs(120);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The core says no, in its own words.
    #[error("{method}: {message}")]
    Refused {
        /// The called method.
        method: String,
        /// The core's error message.
        message: String,
    },
    /// No result came in time.
    #[error("{method}: no result after {after:?}")]
    Timeout {
        /// The called method.
        method: String,
        /// How long it was awaited.
        after: Duration,
    },
    /// The program is not running any more.
    #[error("{method}: deltachat-rpc-server has ended; see deltachat-rpc-server.log")]
    Ended {
        /// The called method.
        method: String,
    },
}

/// Something that happened in an account.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// The event's name: `IncomingMsg`, `ImapInboxIdle`, …
    pub kind: String,
    /// What belongs to it.
    #[serde(flatten)]
    pub details: HashMap<String, Value>,
}

impl Event {
    /// A number that belongs to the event: `chatId`, `progress`.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.details.get(name)?.as_u64()?.try_into().ok()
    }

    /// The text of an `Info`, `Warning` or `Error`.
    pub fn message(&self) -> Option<&str> {
        self.details.get("msg")?.as_str()
    }
}

/// The way to the program; clones share it, and it ends with the last one.
#[derive(Clone)]
pub(super) struct Rpc {
    requests: mpsc::UnboundedSender<Request>,
}

enum Request {
    Call {
        method: String,
        params: Value,
        result: oneshot::Sender<Result<Value, String>>,
    },
    Events {
        account: u32,
        events: mpsc::UnboundedSender<Event>,
    },
}

impl Rpc {
    /// Starts the program, whatever it takes to do so, with its data and its log below a folder.
    pub(super) fn start(
        mut program: Command,
        folder: &Path,
        spawn: impl FnOnce(&mut Command) -> anyhow::Result<Child>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let log = std::fs::File::create(folder.join("deltachat-rpc-server.log"))
            .with_context(|| format!("writing to {}", folder.display()))?;
        program
            .env("DC_ACCOUNTS_PATH", folder.join("accounts"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = spawn(&mut program).with_context(|| {
            let name = program.as_std().get_program();
            format!("starting {}", name.display())
        })?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let (requests, incoming) = mpsc::unbounded_channel();
        let driver = Driver {
            _child: child,
            input,
            waiting: HashMap::new(),
            accounts: HashMap::new(),
            calls: 0,
            events_call: 0,
        };
        tokio::spawn(driver.run(output, incoming));
        Ok(Self { requests })
    }

    /// Calls a method; `params` is the array of its arguments.
    pub(super) async fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let (result, answer) = oneshot::channel();
        let method = method.to_owned();
        let request = Request::Call {
            method: method.clone(),
            params,
            result,
        };
        if self.requests.send(request).is_err() {
            return Err(RpcError::Ended { method });
        }
        match timeout(CALL_PATIENCE, answer).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(message))) => Err(RpcError::Refused { method, message }),
            Ok(Err(_)) => Err(RpcError::Ended { method }),
            Err(_) => Err(RpcError::Timeout {
                method,
                after: CALL_PATIENCE,
            }),
        }
    }

    /// All events of an account from now on.
    pub(super) fn events(&self, account: u32) -> mpsc::UnboundedReceiver<Event> {
        let (events, receiver) = mpsc::unbounded_channel();
        // When the program has ended, the receiver sees the end at once.
        let _ = self.requests.send(Request::Events { account, events });
        receiver
    }
}

struct Driver {
    /// Held so that the program ends with this task.
    _child: Child,
    input: ChildStdin,
    waiting: HashMap<u64, oneshot::Sender<Result<Value, String>>>,
    accounts: HashMap<u32, mpsc::UnboundedSender<Event>>,
    calls: u64,
    events_call: u64,
}

/// A line from the program.
#[derive(Deserialize)]
struct Response {
    id: u64,
    result: Option<Value>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountEvent {
    context_id: u32,
    event: Event,
}

impl Driver {
    /// Runs until nobody holds the [`Rpc`] any more or the program ends.
    async fn run(mut self, output: ChildStdout, mut incoming: mpsc::UnboundedReceiver<Request>) {
        let mut lines = BufReader::new(output).lines();
        let outcome: anyhow::Result<()> = async {
            self.events_call = self.send("get_next_event", json!([])).await?;
            loop {
                tokio::select! {
                    request = incoming.recv() => match request {
                        Some(request) => self.request(request).await?,
                        None => return Ok(()),
                    },
                    line = lines.next_line() => match line? {
                        Some(line) => self.response(&line).await?,
                        None => anyhow::bail!("its output has ended"),
                    },
                }
            }
        }
        .await;
        if let Err(error) = outcome {
            tracing::warn!("deltachat-rpc-server: {error:#}");
        }
    }

    async fn request(&mut self, request: Request) -> anyhow::Result<()> {
        match request {
            Request::Call {
                method,
                params,
                result,
            } => {
                let id = self.send(&method, params).await?;
                self.waiting.insert(id, result);
            }
            Request::Events { account, events } => {
                self.accounts.insert(account, events);
            }
        }
        Ok(())
    }

    async fn send(&mut self, method: &str, params: Value) -> anyhow::Result<u64> {
        self.calls += 1;
        let call =
            json!({ "jsonrpc": "2.0", "id": self.calls, "method": method, "params": params });
        self.input.write_all(format!("{call}\n").as_bytes()).await?;
        Ok(self.calls)
    }

    async fn response(&mut self, line: &str) -> anyhow::Result<()> {
        let response: Response = serde_json::from_str(line)
            .with_context(|| format!("no JSON-RPC response: {line:.200}"))?;
        let result = match response.error {
            None => Ok(response.result.unwrap_or(Value::Null)),
            Some(failure) => Err(failure.message),
        };
        if response.id == self.events_call {
            let next = result.map_err(anyhow::Error::msg)?;
            let AccountEvent { context_id, event } = serde_json::from_value(next)?;
            if let Some(account) = self.accounts.get(&context_id) {
                // An account that was dropped has nobody who waits.
                let _ = account.send(event);
            }
            self.events_call = self.send("get_next_event", json!([])).await?;
        } else if let Some(waiting) = self.waiting.remove(&response.id) {
            // A caller that has given up has nobody who waits.
            let _ = waiting.send(result);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that answers every line with the same text, but `get_next_event` never.
    fn answering(folder: &Path, answer: &str) -> Rpc {
        use std::os::unix::fs::PermissionsExt as _;
        let program = folder.join("program");
        let script = format!(
            "#!/bin/sh\nwhile read -r line; do case $line in *get_next_event*) ;; *) {answer};; esac; done\n"
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Rpc::start(
            Command::new(program),
            folder,
            |program| Ok(program.spawn()?),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn results_and_refusals_reach_the_caller() {
        let folder = tempfile::tempdir().unwrap();
        let rpc = answering(
            folder.path(),
            r#"echo '{"jsonrpc":"2.0","id":2,"result":[7]}'"#,
        );
        assert_eq!(rpc.call("x", json!([])).await.unwrap(), json!([7]));

        let folder = tempfile::tempdir().unwrap();
        let refusal = r#"echo '{"id":2,"error":{"code":-1,"message":"no such thing"}}'"#;
        let rpc = answering(folder.path(), refusal);
        assert_eq!(
            rpc.call("x", json!([])).await.unwrap_err().to_string(),
            "x: no such thing"
        );
    }

    #[tokio::test]
    async fn a_program_that_ends_ends_its_calls() {
        let folder = tempfile::tempdir().unwrap();
        let rpc = answering(folder.path(), "exit 1");
        assert!(matches!(
            rpc.call("x", json!([])).await,
            Err(RpcError::Ended { .. })
        ));
        assert!(matches!(
            rpc.call("x", json!([])).await,
            Err(RpcError::Ended { .. })
        ));
    }
}
