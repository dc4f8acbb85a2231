//! IMAP METADATA of a real Dovecot: push tokens, and what the relay tells its clients.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testbed::client::imap::Argument;
use testbed::client::{ImapClient, ImapError};
use testbed::{RelayOptions, TestRelay};

use crate::fixture::{Person, eventually, shared_relay};

pub(crate) const TOKEN: &str = "/private/devicetoken";
const SERVER: &str = "/shared/vendor/deltachat/";

/// The value of an entry of a mailbox; `None` when there is none.
pub(crate) async fn get(
    imap: &mut ImapClient,
    mailbox: &str,
    entry: &str,
) -> anyhow::Result<Option<String>> {
    let command = format!("GETMETADATA {mailbox} ({entry})");
    let answer = imap.command(&command).await?;
    for response in &answer.untagged {
        let text = response.text().into_owned();
        let Some(listed) = text.strip_prefix("METADATA ") else {
            continue;
        };
        if let Some(literal) = response.literal() {
            return Ok(Some(String::from_utf8(literal.to_vec())?));
        }
        let (_, value) = listed
            .split_once(&format!("{entry} "))
            .context("another entry")?;
        let value = value.strip_suffix(')').context("no list")?;
        let quoted = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        return Ok(quoted.map(str::to_owned));
    }
    Ok(None)
}

/// Sets an entry as Delta Chat does, with a literal.
pub(crate) async fn set(
    imap: &mut ImapClient,
    mailbox: &str,
    entry: &str,
    value: &str,
) -> Result<(), ImapError> {
    let arguments = [
        Argument::Text(format!("SETMETADATA {mailbox} ({entry}")),
        Argument::Literal(Bytes::copy_from_slice(value.as_bytes())),
        Argument::Text(")".into()),
    ];
    imap.compose(&arguments).await.map(drop)
}

/// An error unless the server said NO.
fn refused(outcome: Result<(), ImapError>) -> anyhow::Result<()> {
    match outcome {
        Err(ImapError::Refused { .. }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => anyhow::bail!("the server has taken it"),
    }
}

#[tokio::test]
async fn device_tokens_are_set_shown_and_deleted() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let bob = Person::new(&relay.target)?;
    let mut imap = bob.inbox(&relay.target).await?;
    let capabilities = imap.capabilities().await?;
    for wanted in ["METADATA", "XDELTAPUSH", "XCHATMAIL"] {
        ensure!(capabilities.iter().any(|one| one == wanted), "no {wanted}");
    }
    ensure!(get(&mut imap, "INBOX", TOKEN).await?.is_none());
    set(&mut imap, "INBOX", TOKEN, "fcm-chat.delta:first").await?;
    // Another device of the account, later.
    let mut second = bob.log_in(&relay.target).await?;
    set(&mut second, "INBOX", TOKEN, "openpgp:second+/=").await?;
    set(&mut second, "INBOX", TOKEN, "openpgp:second+/=").await?;
    let tokens = get(&mut imap, "INBOX", TOKEN).await?.context("no tokens")?;
    let mut tokens: Vec<_> = tokens.split(' ').collect();
    tokens.sort_unstable();
    ensure!(
        tokens == ["fcm-chat.delta:first", "openpgp:second+/="],
        "{tokens:?}"
    );

    let file = relay.target.mailboxes_dir.join(bob.address.to_string());
    let file = fs::read_to_string(file.join("metadata.json"))?;
    let file: Value = serde_json::from_str(&file)?;
    ensure!(
        file["devicetoken"]["fcm-chat.delta:first"].is_u64(),
        "{file}"
    );

    imap.command(&format!("SETMETADATA INBOX ({TOKEN} NIL)"))
        .await?;
    ensure!(get(&mut second, "INBOX", TOKEN).await?.is_none());
    // Those of one account are nobody else's.
    set(&mut imap, "INBOX", TOKEN, "third").await?;
    let mut other = Person::new(&relay.target)?.log_in(&relay.target).await?;
    ensure!(get(&mut other, "INBOX", TOKEN).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn nothing_else_can_be_set() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let bob = Person::new(&relay.target)?;
    let mut imap = bob.inbox(&relay.target).await?;
    for (mailbox, entry) in [
        ("INBOX", "/private/comment"),
        ("INBOX", "/shared/comment"),
        ("INBOX", "/shared/devicetoken"),
        ("\"\"", "/private/devicetoken"),
        ("\"\"", "/shared/vendor/deltachat/turn"),
        ("\"\"", "/shared/vendor/deltachat/irohrelay"),
    ] {
        refused(set(&mut imap, mailbox, entry, "x").await)
            .with_context(|| format!("{entry} of {mailbox}"))?;
        if !entry.starts_with(SERVER) {
            ensure!(get(&mut imap, mailbox, entry).await?.is_none());
        }
    }
    let too_long = "x".repeat(5000);
    for no_token in ["", &too_long] {
        refused(set(&mut imap, "INBOX", TOKEN, no_token).await).context("no token")?;
    }
    ensure!(get(&mut imap, "INBOX", TOKEN).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn clients_are_told_what_the_relay_offers() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (secret, versions) = (folder.path().join("secret"), folder.path().join("versions"));
    fs::write(&secret, "a shared secret\n")?;
    fs::write(&versions, json!({"clients": []}).to_string())?;
    let open =
        |path| fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755));
    open(folder.path())?;
    let relay = TestRelay::start(
        RelayOptions::default()
            .with("turn_secret_file", secret.display())
            .with("turn_server", "turn.test:3479")
            .with("appversions_file", versions.display()),
    )?;
    let domain = &relay.target.domain;
    let mut imap = Person::new(&relay.target)?.log_in(&relay.target).await?;
    // In one command, as Delta Chat asks.
    let names = ["irohrelay", "turn", "maxsmtprecipients", "appversions"];
    let entries = names.map(|name| format!("{SERVER}{name}")).join(" ");
    let command = format!("GETMETADATA \"\" (/shared/comment /shared/admin {entries})");
    imap.command(&command).await?;
    let mut values = Vec::new();
    for name in names {
        values.push(get(&mut imap, "\"\"", &format!("{SERVER}{name}")).await?);
    }
    let values: Vec<_> = values.iter().map(Option::as_deref).collect();
    ensure!(
        values[0] == Some(&format!("https://{domain}")),
        "{values:?}"
    );
    let turn: Vec<_> = values[1]
        .context("no TURN server")?
        .splitn(4, ':')
        .collect();
    ensure!(
        turn[..2] == ["turn.test", "3479"] && turn.len() == 4,
        "{turn:?}"
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    ensure!(turn[2].parse::<u64>()? > now + 24 * 60 * 60, "{turn:?}");
    ensure!(values[2] == Some("1000"), "{values:?}");
    ensure!(values[3] == Some(r#"{"clients":[]}"#), "{values:?}");
    let nothing = get(&mut imap, "\"\"", &format!("{SERVER}unknown")).await?;
    ensure!(nothing.is_none(), "{nothing:?}");
    relay.stop()
}

#[tokio::test]
async fn a_classic_turn_service_is_asked() -> anyhow::Result<()> {
    let relay = TestRelay::start(RelayOptions::default().with("iroh_relay", ""))?;
    let mut imap = Person::new(&relay.target)?.log_in(&relay.target).await?;
    ensure!(
        get(&mut imap, "\"\"", &format!("{SERVER}turn"))
            .await?
            .is_none()
    );
    ensure!(
        get(&mut imap, "\"\"", &format!("{SERVER}irohrelay"))
            .await?
            .is_none()
    );
    ensure!(
        get(&mut imap, "\"\"", &format!("{SERVER}appversions"))
            .await?
            .is_none()
    );
    let socket = crate::fixture::config(&relay.target)?.turn_socket_path;
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    let service = std::thread::spawn(move || {
        let (mut client, _) = listener.accept()?;
        std::io::Write::write_all(&mut client, b"1758650868:cGFzc3dvcmQ=\n")
    });
    let turn = get(&mut imap, "\"\"", &format!("{SERVER}turn")).await?;
    let expected = format!("{}:3478:1758650868:cGFzc3dvcmQ=", relay.target.domain);
    ensure!(turn.as_deref() == Some(&expected), "{turn:?}");
    service
        .join()
        .map_err(|_| anyhow::anyhow!("the service panicked"))??;
    relay.stop()
}

#[tokio::test]
async fn tokens_outlive_doveauth() -> anyhow::Result<()> {
    let relay = TestRelay::start(RelayOptions::default())?;
    let bob = Person::new(&relay.target)?;
    let mut imap = bob.inbox(&relay.target).await?;
    set(&mut imap, "INBOX", TOKEN, "a-token").await?;
    let before = relay.signal("doveauth", Signal::SIGKILL)?;
    eventually("the next process", || Ok(relay.pid("doveauth")? != before)).await?;
    let mut imap = bob.inbox(&relay.target).await?;
    let tokens = get(&mut imap, "INBOX", TOKEN).await?;
    ensure!(tokens.as_deref() == Some("a-token"), "{tokens:?}");
    relay.stop()
}
