//! A classic relay is taken over in place and given back, with accounts, passwords, tokens and mail.

use anyhow::{Context as _, ensure};
use serde_json::json;
use testbed::machine::{Lan, Machine, changes};

use crate::classic::{AWAY, CERTIFICATE, DOMAIN, MAILBOXES, lay_out};
use crate::operator::Operator;
use crate::patched::{built_elsewhere, fetch_debians};
use crate::people::Person;

/// Units of a classic relay, as the stand-ins have them.
const CLASSIC: [&str; 6] = [
    "doveauth.service",
    "chatmail-metadata.service",
    "lastlogin.service",
    "filtermail.service",
    "filtermail-incoming.service",
    "opendkim.service",
];

/// Units of ours that a classic relay has no namesake of.
const OURS: [&str; 9] = [
    "doveauth.socket",
    "doveauth-policy.socket",
    "doveauth-blocks.socket",
    "filtermail.socket",
    "mxdeliv-bridge.socket",
    "mxdeliv-bridge-postfix.socket",
    "mxdeliv-bridge-admin.socket",
    "mxdeliv-bridge.service",
    "expiry-cron.timer",
];

/// Everything that the playbook has to put back: what the files say, whose they are, and where links lead.
const LISTING: &str = "find /etc/postfix /etc/dovecot /etc/nginx /etc/opendkim.conf /etc/systemd/system/*.service \
     /etc/resolv.conf /etc/hostname /etc/hosts /etc/dkimkeys -printf '%p %M %u:%g %l\\n' -type f -exec md5sum {} \\; | sort";

/// What apt and systemd would still do about the patched Dovecot.
const OF_DOVECOT_BUILD: &str = "find /etc/apt /etc/systemd /etc/dovecot -name '*chatmail-dovecot*' -o -name chatmail-hibernation.conf";

fn state(machine: &Machine, unit: &str) -> anyhow::Result<String> {
    let shown = machine.run(&["systemctl", "is-active", unit])?;
    Ok(String::from_utf8_lossy(&shown.stdout).trim().to_owned())
}

fn the_classic_relay_runs(old: &Machine) -> anyhow::Result<()> {
    for unit in CLASSIC {
        let state = state(old, unit)?;
        ensure!(state == "active", "{unit} is {state}\n{}", old.journal()?);
        old.run_ok(&["systemctl", "is-enabled", unit])?;
    }
    for unit in OURS {
        assert_eq!(state(old, unit)?, "inactive", "{unit}");
        ensure!(
            !old.run(&["systemctl", "is-enabled", unit])?
                .status
                .success(),
            "{unit} is enabled"
        );
    }
    let ours = "/usr/bin/(doveauth|filtermail|mxdeliv-bridge|expiry-cron)";
    let found = old.run(&["pgrep", "--full", ours])?;
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    Ok(())
}

fn ours_runs(old: &Machine) -> anyhow::Result<()> {
    for unit in OURS
        .into_iter()
        .chain(["doveauth.service", "filtermail.service"])
    {
        let state = state(old, unit)?;
        ensure!(state == "active", "{unit} is {state}\n{}", old.journal()?);
    }
    for unit in [
        "chatmail-metadata",
        "lastlogin",
        "filtermail-incoming",
        "opendkim",
    ] {
        assert_eq!(state(old, unit)?, "inactive", "{unit}");
    }
    let program = old.run_ok(&["systemctl", "show", "--property=ExecStart", "doveauth"])?;
    ensure!(program.contains("/usr/bin/doveauth"), "{program}");
    let served = old.run_ok(&[
        "sh",
        "-c",
        "openssl s_client -connect 127.0.0.1:993 </dev/null | openssl x509",
    ])?;
    let chain = old.read_file(&format!("{CERTIFICATE}/fullchain"))?;
    ensure!(
        String::from_utf8_lossy(&chain).contains(served.trim()),
        "another certificate"
    );
    Ok(())
}

/// The public key that is in DNS, without the quotes and blanks of a zone file.
fn public_key(record: &str) -> String {
    let start = record.find("p=").unwrap_or_default();
    let end = record.find(')').unwrap_or(record.len());
    record[start..end]
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '"')
        .collect()
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn a_classic_relay_is_taken_over_and_given_back() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    // Classic relays are on no other.
    let old = lan.machine_with("old", lan.ip(11), "bookworm")?;
    // Before apt is told to leave Dovecot alone.
    let debian = fetch_debians(&old, "bookworm")?;
    lay_out(&lan, &old)?;
    let operator = Operator::new(&lan, &[&old], DOMAIN)?;
    let person = |address, password| Person {
        lan: &lan,
        machine: &old,
        address,
        password,
    };
    let alice = person("alice0000@old.test", "alice's password");
    let bob = person("bob000000@old.test", "bob's password");
    let carol = person("carol0000@old.test", "carol's password");

    // As it was.
    the_classic_relay_runs(&old)?;
    ensure!(alice.logs_in()? && bob.logs_in()?);
    bob.sets_token("token-of-bob")?;
    let mut ids = vec![alice.writes_to(bob.address)?];
    let messages = bob.has_exactly(&ids)?;
    ensure!(messages[0].contains("DKIM-Signature:"), "{}", messages[0]);
    let compressed = format!("head --quiet --bytes=2 {MAILBOXES}/bob*/???/* | od -An -tx1");
    assert_eq!(old.run_ok(&["sh", "-c", &compressed])?, " 1f 8b\n");
    let files = old.run_ok(&["sh", "-c", LISTING])?;
    let record = old.read_file("/etc/dkimkeys/opendkim.txt")?;
    let record = String::from_utf8_lossy(&record).into_owned();
    // Somebody's mail is on its way out, to a relay that is away.
    alice.writes_to(AWAY)?;
    // A run that was killed has left this.
    old.write_file(
        "/etc/chatmail/classic.new/files/etc/postfix/main.cf",
        b"half",
        0o644,
    )?;

    let folder = tempfile::tempdir()?;
    built_elsewhere(&old, &debian, folder.path())?;
    let patched = json!({ "dovecot_patched": true, "dovecot_packages_folder": folder.path() });
    let patched = patched.to_string();
    let plays = |arguments: &[&str]| {
        operator.plays("playbook.yml", &[&["-e", &patched], arguments].concat())
    };

    // A run that ends in the middle, when nothing runs any more.
    let broken = plays(&["-e", "dovecot_imap_processes=many"]);
    let broken = broken.err().context("a broken configuration is taken")?;
    let broken = format!("{broken:#}");
    ensure!(broken.contains("Invalid number many"), "{broken}");
    assert_eq!(state(&old, "postfix@-.service")?, "inactive");
    // The next one goes on.
    plays(&[])?;
    ours_runs(&old)?;
    old.run_ok(&["chatmail-dovecot", "status"])?;
    ensure!(alice.logs_in()? && bob.logs_in()?);
    ensure!(!person(bob.address, "somebody's guess").logs_in()?);
    assert_eq!(bob.tokens()?, "token-of-bob");
    bob.has_exactly(&ids)?;
    ids.push(alice.writes_to(bob.address)?);
    ensure!(carol.logs_in()?);
    ids.push(carol.writes_to(bob.address)?);
    let carols = [bob.writes_to(carol.address)?];
    bob.has_exactly(&ids)?;
    carol.has_exactly(&carols)?;
    carol.sets_token("token-of-carol")?;
    let ours = old.run_ok(&["filtermail", "dkim", "show-record"])?;
    assert_eq!(public_key(&ours), public_key(&record));
    in_the_queue(&old, AWAY)?;
    let again = plays(&[])?;
    assert_eq!(changes(&again)?.last(), Some(&0), "{again}");
    old.reboot()?;
    ours_runs(&old)?;
    // A run of expiry-cron was killed when it was about to delete her account.
    let carols_home = format!("{MAILBOXES}/{}", carol.address);
    old.run_ok(&[
        "mv",
        &format!("{carols_home}/password"),
        &format!("{carols_home}/password.expiring"),
    ])?;

    // And back.
    operator.plays("playbook-classic.yml", &[])?;
    the_classic_relay_runs(&old)?;
    assert_eq!(old.run_ok(&["sh", "-c", LISTING])?, files);
    assert_eq!(old.run_ok(&["sh", "-c", OF_DOVECOT_BUILD])?, "");
    ensure!(alice.logs_in()? && bob.logs_in()? && carol.logs_in()?);
    ensure!(!person(carol.address, "somebody's guess").logs_in()?);
    bob.has_exactly(&ids)?;
    carol.has_exactly(&carols)?;
    assert_eq!(bob.tokens()?, "token-of-bob");
    assert_eq!(carol.tokens()?, "token-of-carol");
    ids.push(carol.writes_to(bob.address)?);
    let messages = bob.has_exactly(&ids)?;
    let last = messages.last().context("a message")?;
    ensure!(last.contains("DKIM-Signature:"), "{last}");
    in_the_queue(&old, AWAY)?;
    let again = operator.plays("playbook-classic.yml", &[])?;
    assert_eq!(changes(&again)?.last(), Some(&0), "{again}");
    old.reboot()?;
    the_classic_relay_runs(&old)?;

    // Whoever went back can come again.
    plays(&[])?;
    ours_runs(&old)?;
    bob.has_exactly(&ids)?;
    ensure!(carol.logs_in()?);
    Ok(())
}

fn in_the_queue(machine: &Machine, recipient: &str) -> anyhow::Result<()> {
    let queue = machine.run_ok(&["postqueue", "-j"])?;
    ensure!(queue.contains(recipient), "{queue}");
    Ok(())
}
