//! The daemons' command lines: `filtermail check` on stored messages, and `check-config`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::Context as _;
use testbed::binaries;
use testbed::mail::{Message, Securejoin, cleartext, encrypted, securejoin_request};

use crate::fixture::{Correspondents, shared_relay};

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binaries::release(program)?);
    // Diagnostics belong to whoever called, not into a journal.
    command.env_remove("JOURNAL_STREAM");
    Ok(command.args(arguments).stdin(Stdio::null()).output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An error unless the program ended like this, with exactly these lines on standard output.
fn ended(output: &Output, status: i32, lines: &[String]) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}{err}");
    assert_eq!(out.lines().collect::<Vec<_>>(), lines, "{err}");
}

/// Messages of each kind, in files.
struct Stored {
    folder: tempfile::TempDir,
}

impl Stored {
    fn new() -> anyhow::Result<Self> {
        let [alice, bob] = ["alice@chat.test", "bob@chat.test"].map(str::parse);
        let (alice, bob) = (alice?, bob?);
        let stored = Self {
            folder: tempfile::tempdir()?,
        };
        stored.store("encrypted", &encrypted(&alice, &bob, 3000)?)?;
        let request = securejoin_request(&alice, &bob, Securejoin::Contact);
        stored.store("request", &request)?;
        stored.store("clear", &cleartext(&alice, &bob, "Read me."))?;
        Ok(stored)
    }

    fn store(&self, name: &str, message: &Message) -> anyhow::Result<()> {
        Ok(fs::write(self.path(name), message.to_bytes())?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

#[test]
fn check_tells_verdict_and_rule_of_each_file() -> anyhow::Result<()> {
    let stored = Stored::new()?;
    let [good, request, clear] = ["encrypted", "request", "clear"].map(|name| stored.name(name));
    let missing = stored.name("missing");
    let [passed, joins] = [
        format!("{good}: encrypted"),
        format!("{request}: securejoin"),
    ];
    let explained = "The Content-Type is not multipart/encrypted.";
    let refused = format!("{clear}: refused (not-encrypted): {explained}");

    let output = run("filtermail", &["check", &good, &request])?;
    ended(&output, 0, &[passed.clone(), joins.clone()]);
    let output = run("filtermail", &["check", &good, &clear, &request])?;
    ended(&output, 1, &[passed.clone(), refused.clone(), joins]);
    let output = run("filtermail", &["check", "--outgoing", &clear])?;
    ended(&output, 1, std::slice::from_ref(&refused));
    let output = run("filtermail", &["check", "--incoming", &good, &clear])?;
    ended(&output, 1, &[passed.clone(), refused.clone()]);
    let output = run("filtermail", &["check", &clear, &missing])?;
    let unreadable = "could not be judged: No such file or directory (os error 2)";
    ended(&output, 2, &[refused, format!("{missing}: {unreadable}")]);

    let alice = ["check", "--login", "alice@chat.test", &good];
    ended(&run("filtermail", &alice)?, 0, &[passed]);
    let bob = ["check", "--login", "bob@chat.test", &good];
    let other = "refused (from-is-not-login): From is alice@chat.test, not the login";
    ended(&run("filtermail", &bob)?, 1, &[format!("{good}: {other}")]);
    Ok(())
}

#[test]
fn check_reads_standard_input_and_writes_json() -> anyhow::Result<()> {
    let stored = Stored::new()?;
    let output = Command::new(binaries::release("filtermail")?)
        .args(["check", "--json", "-"])
        .stdin(fs::File::open(stored.path("clear"))?)
        .output()?;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let finding: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(finding["verdict"], "refused");
    assert_eq!(finding["rule"], "not-encrypted");
    assert_eq!(finding["file"], "-");
    Ok(())
}

#[test]
fn check_without_a_file_is_a_mistake_and_no_pass() -> anyhow::Result<()> {
    for arguments in [
        &["check"][..],
        &["check", "--login", "nobody", "x"],
        &["--nonsense"],
    ] {
        let output = run("filtermail", arguments)?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
    Ok(())
}

#[tokio::test]
async fn check_passes_what_dovecot_has_stored() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    people.send_good(0).await?;
    let home = target.mailboxes_dir.join(people.bob.address.to_string());
    // SELECT has moved it from new to cur.
    let files = fs::read_dir(home.join("cur"))?
        .map(|entry| Ok(entry?.path().display().to_string()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let file = files.first().context("no file in the Maildir")?;
    for direction in ["--outgoing", "--incoming"] {
        let output = run("filtermail", &["check", direction, file])?;
        ended(&output, 0, &[format!("{file}: encrypted")]);
    }
    Ok(())
}

fn ini(folder: &Path, lines: &str) -> anyhow::Result<String> {
    let path = folder.join("chatmail.ini");
    fs::write(&path, format!("[params]\nmail_domain = chat.test\n{lines}"))?;
    Ok(path.display().to_string())
}

#[test]
fn check_config_warns_of_unknown_keys_and_refuses_bad_values() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for program in ["filtermail", "doveauth"] {
        let path = ini(folder.path(), "max_mailbox_size = 1G\n")?;
        let output = run(program, &["--config", &path, "check-config"])?;
        ended(&output, 0, &[format!("{path}: ok, 0 warning(s)")]);
        assert_eq!(text(&output.stderr), "");

        let path = ini(folder.path(), "max_mailbox_sise = 1G\nflux = 7\n")?;
        let output = run(program, &["--config", &path, "check-config"])?;
        ended(&output, 0, &[format!("{path}: ok, 2 warning(s)")]);
        let similar = "unknown key `max_mailbox_sise` is ignored; did you mean `max_mailbox_size`?";
        let warnings = format!(
            "warning: {path}, line 3: {similar}\n\
             warning: {path}, line 4: unknown key `flux` is ignored\n"
        );
        assert_eq!(text(&output.stderr), warnings);

        let path = ini(folder.path(), "\nmax_mailbox_size = lots\n")?;
        for arguments in [
            &["--config", &path, "check-config"][..],
            &["check-config", "--config", &path],
        ] {
            let output = run(program, arguments)?;
            ended(&output, 78, &[]);
            let allowed = "a number of bytes, optionally with k, M, G or T (powers of 1024)";
            let error = format!(
                "error: {path}, line 4: `max_mailbox_size = lots` is not allowed; \
                 allowed: {allowed}\n"
            );
            assert_eq!(text(&output.stderr), error);
        }
        // The daemon itself does not start with it either.
        let output = run(program, &["--config", &path])?;
        ended(&output, 78, &[]);
        let missing = folder.path().join("missing.ini").display().to_string();
        let output = run(program, &["--config", &missing, "check-config"])?;
        ended(&output, 78, &[]);
        assert!(
            text(&output.stderr).contains(&missing),
            "{}",
            text(&output.stderr)
        );
    }
    Ok(())
}
