//! Clients of a dict socket that wait for each answer, and a server that answers without thinking.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use tempfile::TempDir;

/// What Dovecot 2.3.19 opens a connection with.
const HELLO: &[u8] = b"H3\t2\t0\t\tauth\n";

/// A connection to a dict.
pub(in crate::bench) struct Connection {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Connection {
    /// Connects and says hello.
    ///
    /// # Errors
    /// Nobody listens.
    pub(in crate::bench) fn open(socket: &Path) -> anyhow::Result<Self> {
        let mut stream = UnixStream::connect(socket)
            .with_context(|| format!("connecting to {}", socket.display()))?;
        stream.write_all(HELLO)?;
        let answers = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, answers })
    }

    /// Sends a request and gives the line that it is answered with.
    ///
    /// # Errors
    /// The connection is gone.
    pub(in crate::bench) fn exchange(&mut self, request: &str) -> anyhow::Result<String> {
        self.stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer)
    }

    /// Asks for a login with a line, which may create the account, and gives the answer's line.
    ///
    /// # Errors
    /// The answer is anything but an account with a password.
    pub(super) fn ask(&mut self, request: &str) -> anyhow::Result<String> {
        let answer = self.exchange(request)?;
        let found = answer.starts_with("O{") && answer.contains("{SHA512-CRYPT}");
        ensure!(
            found && answer.ends_with('\n'),
            "not an account: {answer:?}"
        );
        Ok(answer)
    }
}

/// Lets so many connections ask one request after the other for some time; gives the time that each
/// answer took.
///
/// # Errors
/// Any answer is wrong.
pub(in crate::bench) fn round(
    socket: &Path,
    requests: &[String],
    connections: usize,
    duration: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let clients = (0..connections)
        .map(|_| Connection::open(socket))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let end = Instant::now() + duration;
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(index, client)| {
                // Each starts elsewhere, so that together they ask for everybody.
                let start = requests.len() / connections * index;
                let requests = requests.iter().cycle().skip(start);
                scope.spawn(move || ask_until(end, client, requests))
            })
            .collect();
        let mut times = Vec::new();
        for client in threads {
            let joined = client.join().map_err(|_| anyhow!("a client panicked"))?;
            times.append(&mut joined?);
        }
        Ok(times)
    })
}

fn ask_until<'a>(
    end: Instant,
    mut client: Connection,
    requests: impl Iterator<Item = &'a String>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(1 << 16);
    let mut begun = Instant::now();
    for request in requests {
        if begun >= end {
            break;
        }
        client.ask(request)?;
        let answered = Instant::now();
        times.push(answered - begun);
        begun = answered;
    }
    Ok(times)
}

/// A server that gives every request the same answer, on a thread for each connection.
pub(super) struct Echo {
    folder: TempDir,
}

impl Echo {
    /// Listens until the process ends; a connection ends with its client.
    ///
    /// # Errors
    /// The socket cannot be had.
    pub(super) fn start(answer: String) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let echo = Self { folder };
        let listener = UnixListener::bind(echo.socket())?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = answer.clone();
                thread::spawn(move || answer_all(&stream, answer.as_bytes()));
            }
        });
        Ok(echo)
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("echo")
    }
}

/// An error here ends the client's connection, which is an error there.
fn answer_all(mut stream: &UnixStream, answer: &[u8]) {
    let mut lines = BufReader::new(stream).lines();
    // The first line is the greeting, which has no answer.
    lines.next();
    for _ in lines.map_while(Result::ok) {
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_and_checked() {
        let requests: Vec<String> = (0..3).map(|number| format!("L{number}\n")).collect();
        let echo = Echo::start("O{\"password\":\"{SHA512-CRYPT}x\"}\n".to_owned()).unwrap();
        let duration = Duration::from_millis(50);
        let times = round(&echo.socket(), &requests, 2, duration).unwrap();
        assert!(times.len() > 2, "{}", times.len());

        let wrong = Echo::start("N\n".to_owned()).unwrap();
        let error = round(&wrong.socket(), &requests, 2, duration).unwrap_err();
        assert_eq!(error.to_string(), "not an account: \"N\\n\"");
    }
}
