//! The dict of Dovecot's IMAP METADATA (`mail_attribute_dict`).
//!
//! | entry of IMAP | what |
//! |---|---|
//! | `/private/devicetoken` of a mailbox | tokens of the account's devices: each `SETMETADATA` adds one or, separated by a blank, several; `NIL` removes all; they come back separated by a blank |
//! | `/shared/vendor/deltachat/irohrelay` | `iroh_relay` of `chatmail.ini` |
//! | `/shared/vendor/deltachat/turn` | the TURN server with credentials, see [`turn`] |
//! | `/shared/vendor/deltachat/maxsmtprecipients` | the most recipients that Postfix takes for a message |
//! | `/shared/vendor/deltachat/appversions` | the content of `appversions_file` |
//!
//! When an account moves to another host Dovecot asks for all keys of a mailbox (`doveadm sync`), is told of the tokens,
//! and sets them there, all at once.
//!
//! Push scripts of classic relays set `/private/messagenew` when a message was delivered; see [`crate::push`]. Nothing
//! else can be set, and nothing else is there.

pub mod file;
pub mod key;
pub mod tokens;
pub mod turn;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chatmail::dict::codec::Iterate;
use chatmail::dict::server::Rows;
use chatmail::dict::{Change, ChangeSet, Failure, Handler};
use chatmail::{Address, Config};
use tokio::io::AsyncReadExt as _;

use crate::metrics::{Metrics, Outcome};
use crate::push::Push;
use crate::push::arrivals::tell;
use crate::trouble::Trouble;
use file::{MetadataError, TokenChange, TokenStore};
use key::MetadataKey;
use tokens::Token;
use turn::Turn;

/// The name under which this dict's requests are counted and logged.
const NAME: &str = "metadata";

/// The most recipients that Postfix takes for a message unless it is told otherwise
/// (`smtpd_recipient_limit`).
const POSTFIX_RECIPIENTS: u32 = 1000;

/// Longest `appversions_file`, in bytes: less than a dict's line.
const APP_VERSIONS_MAX: u64 = 32 * 1024;

/// Answers Dovecot's imap and lmtp processes.
#[derive(Debug)]
pub struct MetadataDict {
    tokens: Arc<TokenStore>,
    push: Option<Push>,
    iroh_relay: String,
    turn: Turn,
    max_recipients: u32,
    app_versions: Option<PathBuf>,
    metrics: Metrics,
    trouble: Arc<Trouble>,
}

/// What a commit asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    tokens: Vec<TokenChange>,
    new_message: bool,
}

impl MetadataDict {
    /// The dict that a configuration describes, over these tokens. Without `push` nobody is told of new
    /// messages.
    pub fn new(
        config: &Config,
        tokens: Arc<TokenStore>,
        push: Option<Push>,
        metrics: Metrics,
    ) -> Self {
        // Whoever addresses more at once runs into the sending rate.
        let rate = config.max_user_recipients_per_minute.get();
        Self {
            tokens,
            push,
            iroh_relay: config.iroh_relay.clone(),
            turn: Turn::from_config(config),
            max_recipients: rate.min(POSTFIX_RECIPIENTS),
            app_versions: config.appversions_file.clone(),
            metrics,
            trouble: Arc::new(Trouble::new(NAME)),
        }
    }

    async fn value(&self, key: &[u8], user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(match MetadataKey::parse(key) {
            Some(MetadataKey::DeviceToken) => {
                let told = device_tokens(&self.tokens, user).await;
                Some(told.map_err(|error| self.trouble.failure(&error))?)
            }
            Some(MetadataKey::IrohRelay) => Some(self.iroh_relay.clone()),
            // Without credentials a client makes its calls without our server: no reason to fail.
            Some(MetadataKey::Turn) => self.turn.answer().await.unwrap_or_else(|error| {
                self.trouble.failure(&error);
                None
            }),
            Some(MetadataKey::MaxSmtpRecipients) => Some(self.max_recipients.to_string()),
            Some(MetadataKey::AppVersions) => self.app_versions().await,
            Some(MetadataKey::MessageNew) | None => None,
        }
        .filter(|value| !value.is_empty())
        .map(String::into_bytes))
    }

    async fn app_versions(&self) -> Option<String> {
        match app_versions(self.app_versions.as_deref()?).await {
            Ok(versions) => Some(versions),
            Err(error) => {
                self.trouble.failure(&error);
                None
            }
        }
    }

    async fn change(&self, changes: &ChangeSet) -> Result<(), Failure> {
        let wanted = wanted(&changes.changes)?;
        let address = Address::try_from(changes.user.as_slice())
            .map_err(|_| Failure("the user is not an address".into()))?;
        if !wanted.tokens.is_empty() {
            let changed = self.tokens.change(&address, wanted.tokens).await;
            changed.map_err(|error| self.trouble.failure(&error))?;
        }
        match &self.push {
            Some(push) if wanted.new_message => self.tell(push, &address).await,
            _ => Ok(()),
        }
    }

    async fn tell(&self, push: &Push, address: &Address) -> Result<(), Failure> {
        let told = tell(push, &self.tokens, address).await;
        told.map_err(|error| self.trouble.failure(error.as_ref()))
    }
}

impl Handler for MetadataDict {
    async fn lookup(&self, key: &[u8], user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let value = self.value(key, user).await;
        self.metrics.count(NAME, Outcome::of(&value));
        value
    }

    fn iterate(&self, request: &Iterate) -> Rows {
        let key = [request.path.as_slice(), b"devicetoken"].concat();
        if !request.path.ends_with(b"/")
            || MetadataKey::parse(&key) != Some(MetadataKey::DeviceToken)
        {
            return Box::new(std::iter::empty());
        }
        let (tokens, user) = (Arc::clone(&self.tokens), request.user.clone());
        // Rows are gone through on a thread that may wait.
        let runtime = tokio::runtime::Handle::current();
        let trouble = Arc::clone(&self.trouble);
        let row = std::iter::once_with(move || {
            let told = runtime.block_on(device_tokens(&tokens, &user));
            told.map_err(|error| trouble.failure(&error))
        });
        Box::new(row.filter_map(move |told| match told {
            Ok(told) if told.is_empty() => None,
            Ok(told) => Some(Ok((key.clone(), told.into_bytes()))),
            Err(failure) => Some(Err(failure)),
        }))
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), Failure> {
        let changed = self.change(&changes).await;
        let outcome = Outcome::of(&changed.as_ref().map(Some));
        self.metrics.count(NAME, outcome);
        changed
    }
}

/// The tokens of an account, separated by a blank.
async fn device_tokens(tokens: &TokenStore, user: &[u8]) -> Result<String, MetadataError> {
    let Ok(address) = Address::try_from(user) else {
        return Ok(String::new());
    };
    let tokens = tokens.tokens(&address).await?;
    let tokens: Vec<_> = tokens.iter().map(Token::as_str).collect();
    Ok(tokens.join(" "))
}

/// What changes ask for: all of them are of a kind that there is, or none is made.
fn wanted(changes: &[Change]) -> Result<Wanted, Failure> {
    let mut wanted = Wanted::default();
    for change in changes {
        let (Change::Set { key, .. } | Change::Unset { key } | Change::Increment { key, .. }) =
            change;
        match (MetadataKey::parse(key), change) {
            (Some(MetadataKey::DeviceToken), Change::Set { value, .. }) => {
                for word in value.split(|byte| *byte == b' ') {
                    let token = Token::parse(word).ok_or_else(|| Failure("not a token".into()))?;
                    wanted.tokens.push(TokenChange::Set(token));
                }
            }
            (Some(MetadataKey::DeviceToken), Change::Unset { .. }) => {
                wanted.tokens.push(TokenChange::Clear);
            }
            (Some(MetadataKey::MessageNew), Change::Set { .. }) => wanted.new_message = true,
            (Some(MetadataKey::MessageNew), Change::Unset { .. }) => {}
            _ => return Err(Failure("this cannot be set".into())),
        }
    }
    Ok(wanted)
}

/// Why there are no app versions.
#[derive(Debug, thiserror::Error)]
enum AppVersionsError {
    #[error("cannot read appversions_file: {0}")]
    Unreadable(#[from] io::Error),
    #[error("appversions_file is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("appversions_file has over {APP_VERSIONS_MAX} bytes")]
    TooLarge,
}

/// The JSON of a file, in one line. Read each time, so that a new version holds at once.
async fn app_versions(path: &Path) -> Result<String, AppVersionsError> {
    let mut content = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    let read = file
        .take(APP_VERSIONS_MAX + 1)
        .read_to_end(&mut content)
        .await?;
    if u64::try_from(read).is_ok_and(|length| length > APP_VERSIONS_MAX) {
        return Err(AppVersionsError::TooLarge);
    }
    let versions: serde_json::Value = serde_json::from_slice(&content)?;
    Ok(versions.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn set(key: &str, value: &str) -> Change {
        let (key, value) = (key.into(), value.into());
        Change::Set { key, value }
    }

    fn unset(key: &str) -> Change {
        Change::Unset { key: key.into() }
    }

    #[test]
    fn what_can_be_set() {
        let token = |text: &str| TokenChange::Set(Token::parse(text.as_bytes()).unwrap());
        let changes = [
            set("priv/g/devicetoken", "a"),
            set("priv/g/devicetoken", "c d"),
            unset("priv/g/devicetoken"),
            set("priv/h/devicetoken", "b"),
            set("priv/g/messagenew", ""),
            unset("priv/g/messagenew"),
        ];
        let expected = Wanted {
            tokens: vec![
                token("a"),
                token("c"),
                token("d"),
                TokenChange::Clear,
                token("b"),
            ],
            new_message: true,
        };
        assert_eq!(wanted(&changes), Ok(expected));
    }

    #[rstest]
    #[case(set("priv/g/devicetoken", "two  blanks"))]
    #[case(set("priv/g/devicetoken", ""))]
    #[case(set("priv/g/comment", "x"))]
    #[case(unset("priv/g/comment"))]
    #[case(set("shared/g/vendor/vendor.dovecot/pvt/server/vendor/deltachat/turn", "x"))]
    #[case(unset("shared/g/vendor/vendor.dovecot/pvt/server/vendor/deltachat/turn"))]
    #[case(Change::Increment { key: b"priv/g/devicetoken".to_vec(), by: 1 })]
    fn what_cannot(#[case] change: Change) {
        assert!(wanted(std::slice::from_ref(&change)).is_err());
        assert!(wanted(&[set("priv/g/messagenew", ""), change]).is_err());
    }

    #[tokio::test]
    async fn app_versions_are_the_json_of_a_file_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("appversions.json");
        assert!(app_versions(&path).await.is_err());
        std::fs::write(&path, "{\n  \"clients\": [ ]\n}\n").unwrap();
        assert_eq!(app_versions(&path).await.unwrap(), r#"{"clients":[]}"#);
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(
            app_versions(&path).await,
            Err(AppVersionsError::NotJson(_))
        ));
        std::fs::write(&path, format!("\"{}\"", "x".repeat(40_000))).unwrap();
        assert!(matches!(
            app_versions(&path).await,
            Err(AppVersionsError::TooLarge)
        ));
    }
}
