//! The `metadata.json` of each mailbox.
//!
//! A change is on disk before it is acknowledged: a temporary file, synced, renamed in place, the
//! directory synced. Changes of one file, also by other processes and by a classic relay's daemon, take turns
//! by its lock file, `metadata.json.lock`.
//!
//! What cannot be parsed, or is larger than any file of ours, counts as empty, so that mail is delivered and
//! pushes go on with the next token that is set; then the broken file is kept as `metadata.json.broken` for
//! whoever wants to know. What cannot be read or written is a temporary failure.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chatmail::Address;
use chatmail::accounts::Store;
use chatmail::log_limit::LogLimit;
use chatmail::pace::Pace;

use super::tokens::{Metadata, TOKEN_MAX, TOKENS_MAX, Token};

const NAME: &str = "metadata.json";
const LOCK: &str = "metadata.json.lock";
const TEMPORARY: &str = "metadata.json.tmp";
const BROKEN: &str = "metadata.json.broken";

/// The most that a file may hold, in bytes: the tokens, and room for what others keep in it.
const FILE_MAX: usize = 2 * TOKENS_MAX * TOKEN_MAX;

/// The tokens cannot be read or written. Temporary; the text names no address and no token.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The system says so.
    #[error("cannot {action}: {source}")]
    File {
        /// What was being done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// There is no mailbox of this name.
    #[error("no such mailbox")]
    NoMailbox,
    /// The thread that did it has died.
    #[error("the thread that writes tokens failed")]
    Worker,
}

/// A change of an account's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenChange {
    /// A device tells its token, for the first time or again.
    Set(Token),
    /// A token is of no use any more.
    Remove(Token),
    /// No device of the account is to be woken up any more.
    Clear,
}

/// All accounts' tokens.
#[derive(Debug)]
pub struct TokenStore {
    store: Store,
    pace: Arc<Pace>,
    broken: Arc<LogLimit>,
}

impl TokenStore {
    /// The tokens in these mailboxes.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            pace: Arc::default(),
            broken: Arc::default(),
        }
    }

    /// The tokens of an account; none if there is no such account.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub async fn tokens(&self, address: &Address) -> Result<Vec<Token>, MetadataError> {
        let Some(home) = self.store.home(address) else {
            return Ok(Vec::new());
        };
        let read = {
            let broken = Arc::clone(&self.broken);
            move || match read(&home.join(NAME))? {
                Content::Metadata(metadata) => Ok(metadata.tokens(now())),
                Content::Missing => Ok(Vec::new()),
                Content::Broken => {
                    if let Some(suppressed) = broken.allow() {
                        tracing::warn!(
                            suppressed,
                            "a {NAME} is broken: its account gets no pushes until its apps connect again"
                        );
                    }
                    Ok(Vec::new())
                }
            }
        };
        if self.pace.is_quick() {
            return self.pace.observe(read);
        }
        let pace = Arc::clone(&self.pace);
        let read = tokio::task::spawn_blocking(move || pace.observe(read));
        read.await.unwrap_or(Err(MetadataError::Worker))
    }

    /// Changes the tokens of an account. It is on disk when this returns. `true` when the file is not
    /// what it was.
    ///
    /// # Errors
    /// There is no such account, or the file cannot be read or written.
    pub async fn change(
        &self,
        address: &Address,
        changes: Vec<TokenChange>,
    ) -> Result<bool, MetadataError> {
        let home = self.store.home(address).ok_or(MetadataError::NoMailbox)?;
        let change = tokio::task::spawn_blocking(move || change(&home, &changes));
        change.await.unwrap_or(Err(MetadataError::Worker))
    }
}

/// What a file holds.
enum Content {
    Metadata(Metadata),
    Missing,
    Broken,
}

/// For `map_err`: what was being done.
fn cannot(action: &'static str) -> impl Fn(io::Error) -> MetadataError {
    move |source| MetadataError::File { action, source }
}

fn read(path: &Path) -> Result<Content, MetadataError> {
    // Without waiting for the other end, should it be a FIFO.
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Content::Missing),
        Err(error) => return Err(cannot("read a metadata file")(error)),
    };
    let mut content = Vec::new();
    let limit = u64::try_from(FILE_MAX + 1).unwrap_or(u64::MAX);
    let read = file.take(limit).read_to_end(&mut content);
    read.map_err(cannot("read a metadata file"))?;
    Ok(match Metadata::parse(&content) {
        Ok(metadata) if content.len() <= FILE_MAX => Content::Metadata(metadata),
        _ => Content::Broken,
    })
}

fn change(home: &Path, changes: &[TokenChange]) -> Result<bool, MetadataError> {
    let _lock = lock(home)?;
    let path = home.join(NAME);
    let before = match read(&path)? {
        Content::Metadata(metadata) => Some(metadata),
        Content::Missing => None,
        Content::Broken => {
            std::fs::rename(&path, home.join(BROKEN))
                .map_err(cannot("set a broken metadata file aside"))?;
            None
        }
    };
    let mut metadata = before.clone().unwrap_or_default();
    let now = now();
    for change in changes {
        match change {
            TokenChange::Set(token) => metadata.set(token, now),
            TokenChange::Remove(token) => {
                metadata.remove(token, now);
            }
            TokenChange::Clear => metadata.clear(),
        }
    }
    let changed = metadata != before.unwrap_or_default();
    if changed {
        write(home, &metadata.to_json()).map_err(cannot("write a metadata file"))?;
    }
    Ok(changed)
}

/// Waits until nobody else changes the file. Who dies gives the lock back.
fn lock(home: &Path) -> Result<File, MetadataError> {
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(home.join(LOCK));
    let file = opened.map_err(|error| match error.kind() {
        ErrorKind::NotFound => MetadataError::NoMailbox,
        _ => cannot("lock a metadata file")(error),
    })?;
    file.lock().map_err(cannot("lock a metadata file"))?;
    Ok(file)
}

fn write(home: &Path, content: &str) -> io::Result<()> {
    let temporary: PathBuf = home.join(TEMPORARY);
    // One that a process left behind that was killed is written over.
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, home.join(NAME))?;
    File::open(home)?.sync_all()
}

/// Unix seconds.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    struct Fixture {
        root: tempfile::TempDir,
        tokens: Arc<TokenStore>,
        bob: Address,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("bob@x.org")).unwrap();
            Self {
                tokens: Arc::new(TokenStore::new(Store::new(root.path()))),
                bob: "bob@x.org".parse().unwrap(),
                root,
            }
        }

        fn file(&self, name: &str) -> PathBuf {
            self.root.path().join("bob@x.org").join(name)
        }

        async fn change(&self, change: TokenChange) -> Result<bool, MetadataError> {
            self.tokens.change(&self.bob, vec![change]).await
        }

        async fn tokens(&self) -> Vec<Token> {
            self.tokens.tokens(&self.bob).await.unwrap()
        }
    }

    fn token(text: &str) -> Token {
        Token::parse(text.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn tokens_are_kept_in_a_file_for_the_mail_user_alone() {
        let fixture = Fixture::new();
        assert!(fixture.tokens().await.is_empty());
        assert!(fixture.change(TokenChange::Set(token("a"))).await.unwrap());
        assert!(!fixture.change(TokenChange::Set(token("a"))).await.unwrap());
        assert!(fixture.change(TokenChange::Set(token("b"))).await.unwrap());
        assert_eq!(fixture.tokens().await.len(), 2);
        let mode = std::fs::metadata(fixture.file(NAME)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(!fixture.file(TEMPORARY).exists());
        assert!(
            fixture
                .change(TokenChange::Remove(token("a")))
                .await
                .unwrap()
        );
        assert_eq!(fixture.tokens().await, [token("b")]);
        assert!(fixture.change(TokenChange::Clear).await.unwrap());
        assert!(fixture.tokens().await.is_empty());
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_no_obstacle() {
        let fixture = Fixture::new();
        std::fs::write(fixture.file(TEMPORARY), vec![b'x'; 100_000]).unwrap();
        std::fs::write(fixture.file(LOCK), "").unwrap();
        assert!(fixture.change(TokenChange::Set(token("a"))).await.unwrap());
        assert_eq!(fixture.tokens().await, [token("a")]);
    }

    #[tokio::test]
    async fn a_broken_file_is_empty_and_is_kept_aside_by_the_next_token() {
        let fixture = Fixture::new();
        for content in ["{\"devicetoken\":", &" ".repeat(FILE_MAX + 1)] {
            std::fs::write(fixture.file(NAME), content).unwrap();
            assert!(fixture.tokens().await.is_empty());
            assert!(!fixture.change(TokenChange::Clear).await.unwrap());
            std::fs::write(fixture.file(NAME), content).unwrap();
            assert!(fixture.change(TokenChange::Set(token("a"))).await.unwrap());
            assert_eq!(fixture.tokens().await, [token("a")]);
            let kept = std::fs::read_to_string(fixture.file(BROKEN)).unwrap();
            assert_eq!(kept, content);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_fails() {
        let fixture = Fixture::new();
        std::fs::create_dir(fixture.file(NAME)).unwrap();
        let error = fixture.tokens.tokens(&fixture.bob).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot read"), "{error}");
        assert!(fixture.change(TokenChange::Set(token("a"))).await.is_err());
    }

    #[tokio::test]
    async fn a_mailbox_that_is_not_there_has_no_tokens_and_takes_none() {
        let fixture = Fixture::new();
        let carol: Address = "carol@x.org".parse().unwrap();
        assert!(fixture.tokens.tokens(&carol).await.unwrap().is_empty());
        let set = vec![TokenChange::Set(token("a"))];
        let error = fixture.tokens.change(&carol, set).await.unwrap_err();
        assert_eq!(error.to_string(), "no such mailbox");
    }

    #[tokio::test]
    async fn changes_at_once_are_all_made() {
        let fixture = Fixture::new();
        let mut changes = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (tokens, bob) = (Arc::clone(&fixture.tokens), fixture.bob.clone());
            let set = vec![TokenChange::Set(token(&format!("t{number}")))];
            changes.spawn(async move { tokens.change(&bob, set).await });
        }
        for changed in changes.join_all().await {
            assert!(changed.unwrap());
        }
        assert_eq!(fixture.tokens().await.len(), 20);
    }
}
