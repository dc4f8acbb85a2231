//! What Dovecot has delivered: its push script appends a line to a file for each message, the address of the account.
//!
//! So a delivery waits for nobody, and what is delivered while we are away is told when we are back. The file lies in
//! memory (`/run`). A line that was appended survives our death; it is gone when what it asks for is queued. Only a
//! death in between has an app woken up twice.
//!
//! 1. The file is renamed, so that whoever comes from now on begins a new one.
//! 2. What it holds is queued, each account once, and then the name is removed.
//! 3. It stays open for some seconds: somebody may have opened it before it was renamed, and write only now.
//!
//! The kernel says when there is something (inotify(7)). Where it cannot, the file is looked for again and again.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chatmail::Address;
use chatmail::log_limit::LogLimit;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Push;
use crate::metadata::file::TokenStore;
use crate::metrics::Metrics;

/// The file is taken this often at most. A message that comes alone waits for nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a file that was taken stays open for those who had it open.
const KEPT_OPEN: Duration = Duration::from_secs(5);

/// How often a file is looked for that the kernel does not tell of.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often it is looked for although the kernel should tell: somebody may have made the folder anew.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);

/// The longest line that is one: an address has 254 octets at most.
const LINE_MAX: usize = 512;

/// Accounts whose messages are queued together.
const TOGETHER_MAX: usize = 256;

/// Takes what the push script writes. See the module's page.
#[derive(Debug)]
pub struct Arrivals {
    file: PathBuf,
    /// The name of the file while what it holds is being queued.
    taken: PathBuf,
    /// Files that were taken, and since when.
    open: Vec<(BufReader<File>, Instant)>,
    teller: Teller,
}

/// Tells apps of messages.
#[derive(Debug)]
struct Teller {
    push: Option<Push>,
    tokens: Arc<TokenStore>,
    metrics: Metrics,
    trouble: Arc<LogLimit>,
}

impl Arrivals {
    /// Takes what is written to this file. Without `push` nobody is told of it.
    pub fn new(file: &Path, push: Option<Push>, tokens: Arc<TokenStore>, metrics: Metrics) -> Self {
        Self {
            file: file.into(),
            taken: file.with_added_extension("taken"),
            open: Vec::new(),
            teller: Teller {
                push,
                tokens,
                metrics,
                trouble: Arc::new(LogLimit::new()),
            },
        }
    }

    /// Goes on until told to stop, and then takes what there is.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let watch = self.watch();
        loop {
            self.take().await;
            let pause = sleep(PAUSE);
            let again = match &watch {
                Some(_) if self.open.is_empty() => LOOK_ANYWAY,
                Some(_) => KEPT_OPEN,
                None => LOOK_EVERY,
            };
            let woken = async {
                changed(watch.as_ref(), again).await;
                pause.await;
            };
            tokio::select! {
                _ = stop.wait_for(|&stop| stop) => break,
                () = woken => {}
            }
        }
        self.take().await;
    }

    fn watch(&self) -> Option<Receiver> {
        match watch(&self.file) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(
                    "new messages are looked for every {LOOK_EVERY:?}, since the kernel does not tell of {} \
                     (new_messages_file): {error}; fs.inotify.max_user_instances may be too low",
                    self.file.display()
                );
                None
            }
        }
    }

    /// Queues what is there.
    async fn take(&mut self) {
        if let Err(error) = self.try_take().await {
            self.complain(&error);
        }
    }

    async fn try_take(&mut self) -> io::Result<()> {
        for (file, _) in &mut self.open {
            self.teller.queue(file).await?;
        }
        self.open.retain(|(_, since)| since.elapsed() < KEPT_OPEN);
        // What an earlier run has not come to the end of.
        self.take_one().await?;
        match fs::rename(&self.file, &self.taken) {
            Ok(()) => self.take_one().await,
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn take_one(&mut self) -> io::Result<()> {
        let file = match File::open(&self.taken) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut file = BufReader::new(file);
        self.teller.queue(&mut file).await?;
        fs::remove_file(&self.taken)?;
        self.open.push((file, Instant::now()));
        Ok(())
    }

    fn complain(&self, error: &io::Error) {
        if let Some(suppressed) = self.teller.trouble.allow() {
            let file = self.file.display();
            tracing::error!(
                suppressed,
                "new messages: {file} (new_messages_file): {error}"
            );
        }
    }
}

impl Teller {
    /// Tells of what stands between here and the file's end.
    async fn queue(&self, file: &mut BufReader<File>) -> io::Result<()> {
        loop {
            let mut addresses = HashSet::new();
            let mut lines = 0;
            while addresses.len() < TOGETHER_MAX
                && let Some(line) = next_line(file)?
            {
                lines += 1;
                addresses.extend(Address::try_from(line.as_slice()));
            }
            if lines == 0 {
                return Ok(());
            }
            self.metrics.count_deliveries(lines);
            let Some(push) = &self.push else { continue };
            let mut telling = JoinSet::new();
            for address in addresses {
                let (push, tokens) = (push.clone(), Arc::clone(&self.tokens));
                let trouble = Arc::clone(&self.trouble);
                telling.spawn(async move {
                    if let Err(error) = tell(&push, &tokens, &address).await
                        && let Some(suppressed) = trouble.allow()
                    {
                        tracing::error!(suppressed, "a new message is told to nobody: {error}");
                    }
                });
            }
            while telling.join_next().await.is_some() {}
        }
    }
}

/// Queues a notification for each device of an account.
///
/// # Errors
/// The tokens cannot be read, or the queue takes none. The text names no address.
pub(crate) async fn tell(
    push: &Push,
    tokens: &TokenStore,
    address: &Address,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let tokens = tokens.tokens(address).await?;
    if tokens.is_empty() {
        return Ok(());
    }
    Ok(push.new_message(address, tokens).await?)
}

/// The next line that is whole, without its end; none at the end of the file. What is longer than any address is cut.
fn next_line(file: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut read = 0;
    loop {
        let part = file.fill_buf()?;
        if part.is_empty() {
            // A line without an end, which a full disk has left: what follows belongs to somebody else.
            return Ok((read > 0).then_some(line));
        }
        let (end, used) = match part.iter().position(|&octet| octet == b'\n') {
            Some(end) => (true, end + 1),
            None => (false, part.len()),
        };
        let room = LINE_MAX.saturating_sub(line.len());
        let content = &part[..used - usize::from(end)];
        line.extend_from_slice(&content[..content.len().min(room)]);
        file.consume(used);
        read += used;
        if end {
            return Ok(Some(line));
        }
    }
}

/// Has the kernel tell when somebody has written to a file in the folder of this one. What it says is read as from a
/// pipe.
fn watch(file: &Path) -> io::Result<Receiver> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(folder, AddWatchFlags::IN_CLOSE_WRITE)?;
    Receiver::from_owned_fd_unchecked(inotify.into())
}

/// Returns when something was written, after this time at the latest.
async fn changed(watch: Option<&Receiver>, within: Duration) {
    let told = async {
        let Some(watch) = watch else {
            return std::future::pending().await;
        };
        // What was written does not matter: that something was is enough.
        let mut events = [0; 4096];
        let mut told = false;
        while !told {
            if watch.readable().await.is_err() {
                return std::future::pending().await;
            }
            while watch.try_read(&mut events).is_ok_and(|read| read > 0) {
                told = true;
            }
        }
    };
    tokio::select! {
        () = sleep(within) => {}
        () = told => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", &[])]
    #[case("a\n", &["a"])]
    #[case("a\n\nb\n", &["a", "", "b"])]
    #[case("a\nhalf", &["a", "half"])]
    fn lines_are_read(#[case] text: &str, #[case] expected: &[&str]) {
        let mut text = text.as_bytes();
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut text).unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_line_takes_no_more_memory_than_an_address() {
        let text = [vec![b'x'; 1 << 20], b"\nb\n".to_vec()].concat();
        let mut text = BufReader::with_capacity(1000, text.as_slice());
        assert_eq!(next_line(&mut text).unwrap().unwrap().len(), LINE_MAX);
        assert_eq!(next_line(&mut text).unwrap().unwrap(), b"b");
        assert_eq!(next_line(&mut text).unwrap(), None);
    }
}
