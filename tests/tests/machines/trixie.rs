//! Debian 13, whose Dovecot 2.4 asks doveauth by a script of ours: accounts, devices and quota are as with 2.3.

use anyhow::{Context as _, ensure};
use testbed::client::ImapError;
use testbed::machine::{Lan, Machine, PATIENCE};

use crate::operator::Operator;
use crate::people::{Person, deliver};

/// It vouches for itself, so that no authority is needed.
const DOMAIN: &str = "_one.test";
const MAILBOXES: &str = "/home/vmail/mail/_one.test";

const ALICE: &str = "alice0000@_one.test";
/// Each of these means something in a key, in IMAP or in Lua.
const AWKWARD: &str = "it's \"a\" %1 \\ pass/word\u{fc}";

/// Two accounts for each network. Notifications have nobody who takes them, and wait.
const SETTINGS: &str = r#"{"chatmail_ini": {
    "max_load_1m": 0, "max_creations_per_network_per_hour": 2, "notification_url": "https://127.0.0.1:9/notify",
    "max_mailbox_size": "2M", "max_message_size": "300000"}}"#;

const METRICS: &str =
    "import urllib.request as r; print(r.urlopen('http://127.0.0.1:3906/metrics').read().decode())";

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn dovecot_2_4_asks_doveauth_as_2_3_does() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine_with("one", lan.ip(11), "trixie")?;
    let operator = Operator::new(&lan, &[&one], DOMAIN)?;
    let roles = "base,tls,suite,dovecot";
    operator.plays("playbook.yml", &["-e", SETTINGS, "--tags", roles])?;
    let version = one.run_ok(&["dovecot", "--version"])?;
    ensure!(version.starts_with("2.4."), "{version}");

    let person = |address, password| Person {
        lan: &lan,
        machine: &one,
        address,
        password,
    };
    let alice = person(ALICE, AWKWARD);
    accounts_are_made_and_kept(&one, &alice, person)?;
    devices_are_told(&one, &alice)?;
    a_full_mailbox_makes_room(&one)?;
    trouble_is_temporary(&one, &alice)
}

fn accounts_are_made_and_kept<'a>(
    one: &Machine,
    alice: &Person,
    person: impl Fn(&'static str, &'static str) -> Person<'a>,
) -> anyhow::Result<()> {
    ensure!(!person("x@_one.test", "long-enough").logs_in()?);
    ensure!(alice.logs_in()? && alice.logs_in()?);
    ensure!(!person(ALICE, "long-enough").logs_in()?, "a wrong password");
    ensure!(person("bob000000@_one.test", "long-enough").logs_in()?);
    // Rates go by the client's network, which the script has to pass on.
    ensure!(!person("carol0000@_one.test", "long-enough").logs_in()?);
    let users = one.run_ok(&["doveadm", "user", "*"])?;
    let mut users: Vec<_> = users.lines().collect();
    users.sort_unstable();
    ensure!(users == [ALICE, "bob000000@_one.test"], "{users:?}");

    one.run_ok(&["doveauth", "accounts", "block", ALICE])?;
    ensure!(!alice.logs_in()?, "a blocked account");
    ensure!(deliver(one, ALICE, 1000)?.starts_with("550 5.1.1"));
    one.run_ok(&["doveauth", "accounts", "unblock", ALICE])?;
    ensure!(alice.logs_in()?);
    let password = format!("{MAILBOXES}/{ALICE}/password");
    one.run_ok(&["test", "-s", &password])?;
    // Last logins are dict, with 2.4 too.
    one.run_ok(&["touch", "--date=@0", &password])?;
    ensure!(alice.logs_in()?);
    let day = |file: &str| one.run_ok(&["stat", "--format=%Y", file]);
    one.wait_for("the last login is noted", PATIENCE, |_| {
        Ok(day(&password)?.trim() != "0")
    })
}

fn devices_are_told(one: &Machine, alice: &Person) -> anyhow::Result<()> {
    let pending = |number: u32| -> anyhow::Result<()> {
        let metrics = one.run_ok(&["python3", "-c", METRICS])?;
        let line = format!("doveauth_pending_pushes {number}");
        ensure!(metrics.lines().any(|has| has == line), "{metrics}");
        Ok(())
    };
    alice.sets_token("token-of-alice")?;
    let tokens = alice.tokens()?;
    ensure!(tokens == "token-of-alice", "{tokens}");
    pending(0)?;
    let delivered = deliver(one, ALICE, 1000)?;
    ensure!(delivered.starts_with("250"), "{delivered}");
    pending(1)
}

/// At 90 % of two mebibytes it is trimmed to one; what came today stays, and then it is full.
fn a_full_mailbox_makes_room(one: &Machine) -> anyhow::Result<()> {
    let old = format!("{MAILBOXES}/{ALICE}/new/1000000000.M1P1.one,S=1200000");
    one.write_file(&old, &[b'x'; 1_200_000], 0o600)?;
    one.run_ok(&["chown", "vmail:vmail", &old])?;
    one.run_ok(&["rm", &format!("{MAILBOXES}/{ALICE}/maildirsize")])?;
    for _ in 0..4 {
        let delivered = deliver(one, ALICE, 200_000)?;
        ensure!(delivered.starts_with("250"), "{delivered}");
    }
    one.wait_for("old mail makes room", PATIENCE, |one| {
        Ok(!one.run(&["test", "-e", &old])?.status.success())
    })?;
    let mut replies = (0..12).map(|_| deliver(one, ALICE, 200_000));
    let refused = replies.find(|reply| !reply.as_ref().is_ok_and(|reply| reply.starts_with("250")));
    let refused = refused.context("a mailbox without an end")??;
    ensure!(refused.starts_with("552 5.2.2"), "{refused}");
    Ok(())
}

fn trouble_is_temporary(one: &Machine, alice: &Person) -> anyhow::Result<()> {
    // The socket stays; who asks meanwhile waits.
    one.run_ok(&["systemctl", "kill", "--signal=KILL", "doveauth.service"])?;
    ensure!(alice.logs_in()?);

    one.run_ok(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=KILL",
        "dovecot.service",
    ])?;
    one.wait_for("Dovecot is back", PATIENCE, |_| {
        Ok(alice.logs_in().unwrap_or(false))
    })?;

    let units = ["doveauth.socket", "doveauth.service"];
    one.run_ok(&[&["systemctl", "stop"], &units[..]].concat())?;
    let refused = alice.logs_in();
    let error = refused.err().context("logged in without doveauth")?;
    ensure!(
        matches!(error.downcast_ref(), Some(ImapError::Unavailable { .. })),
        "{error:#}"
    );
    let deferred = deliver(one, ALICE, 1000)?;
    ensure!(deferred.starts_with("451"), "{deferred}");
    one.run_ok(&[&["systemctl", "start"], &units[..]].concat())?;
    ensure!(alice.logs_in()?);

    // Whatever went wrong, no log has a password, nor a part of a key.
    let journal = one.journal()?;
    for secret in ["pass/word", "long-enough", "passdb/"] {
        ensure!(!journal.contains(secret), "{secret} in the journal");
    }
    ensure!(journal.contains("doveauth does not answer"), "{journal}");
    Ok(())
}
