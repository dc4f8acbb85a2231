//! A relay on a server that has mail of its own: that stays as it is, but for the lines that the operator adds.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use testbed::machine::{Lan, Playbooks, changes};
use testbed::package::{Compression, build};

use crate::people::Person;

/// Postfix, Dovecot and nginx come first.
const INSTALLING: Duration = Duration::from_secs(600);

/// It vouches for itself, so that no authority is needed.
const DOMAIN: &str = "_one.test";

/// A server with mail of its own, on loopback: the machine's address is left to the relay.
const SET_UP: &str = r"
set -e
apt-get update --quiet
apt-get install --yes --quiet --no-install-recommends postfix dovecot-core dovecot-imapd nginx
sed -i 's/^#*listen = .*/listen = 127.0.0.1/' /etc/dovecot/dovecot.conf
grep -q '^listen = 127.0.0.1' /etc/dovecot/dovecot.conf
printf 'compatibility_level = 3.6\nmyhostname = mail.own.test\nmydestination = own.test\nalias_maps =\nalias_database =\n' \
    >/etc/postfix/main.cf
sed -i 's/^smtp  *inet/127.0.0.1:smtp inet/' /etc/postfix/master.cf
adduser --quiet --disabled-password --gecos '' owner
echo owner:secret | chpasswd
systemctl enable --quiet postfix dovecot nginx
systemctl restart postfix dovecot nginx
";

/// What the playbook must not change.
const LISTING: &str = "find /etc/postfix/main.cf /etc/postfix/master.cf /etc/dovecot/dovecot.conf /etc/dovecot/conf.d \
    /etc/nginx/nginx.conf /etc/nginx/sites-available/default /etc/hostname /etc/resolv.conf -type f -exec md5sum {} + | sort";

/// The operator does what the playbook asks for.
const BY_HAND: &str = r#"
set -e
sed -n 's/^    \([a-z_]* = .*\)/\1/p' /etc/chatmail/manual-lines.txt | sed 's/\.\.\., //; s/, \.\.\.$//' |
    grep -E '^(virtual_mailbox_domains|transport_maps|non_smtpd_milters|internal_mail_filter_classes) ' |
    while read -r line; do postconf -e "$line"; done
cat /etc/postfix/chatmail/master.cf.lines >>/etc/postfix/master.cf
postfix check
systemctl restart postfix
"#;

/// Logs in to the server's own Dovecot as the user that the system knows.
const OWN_LOGIN: &str = "import imaplib, ssl\n\
    context = ssl._create_unverified_context()\n\
    imaplib.IMAP4_SSL('127.0.0.1', 993, ssl_context=context).login('owner', 'secret')";

fn the_servers_own_is_as_it_was(suite: &'static str) -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine_with("one", lan.ip(11), suite)?;
    let done = one.run_for(INSTALLING, &["sh", "-c", SET_UP])?;
    ensure!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    one.run_ok(&["python3", "-c", OWN_LOGIN])?;
    let files = one.run_ok(&["sh", "-c", LISTING])?;

    let folder = tempfile::tempdir()?;
    let package = build("", Compression::Fast, folder.path())?;
    let playbooks = Playbooks::new(&lan)?;
    let address = one.address().to_string();
    let settings = json!({
        "suite_takeover": false,
        "dovecot_own_address": address,
        "postfix_own_address": address,
        "chatmail_ini": {"max_load_1m": 0},
    });
    playbooks.set(&one, DOMAIN, settings)?;
    playbooks.play("playbook.yml", &package, &[])?;
    // Further packages of Dovecot's add files.
    let now = one.run_ok(&["sh", "-c", LISTING])?;
    let changed: Vec<_> = files.lines().filter(|line| !now.contains(line)).collect();
    ensure!(
        changed.is_empty(),
        "its own files were changed: {changed:?}"
    );
    one.run_ok(&["python3", "-c", OWN_LOGIN])?;
    one.run_ok(&["sh", "-c", BY_HAND])?;
    let again = playbooks.play("playbook.yml", &package, &[])?;
    ensure!(
        changes(&again)? == [0],
        "a second run changes something: {again}"
    );

    let person = |address| Person {
        lan: &lan,
        machine: &one,
        address,
        password: "a long password",
    };
    let (alice, bob) = (person("alice0000@_one.test"), person("bob000000@_one.test"));
    ensure!(alice.logs_in()? && bob.logs_in()?);
    let written = alice.writes_to(bob.address)?;
    bob.has_exactly(&[written])?;
    one.reboot()?;
    one.run_ok(&["python3", "-c", OWN_LOGIN])?;
    ensure!(alice.logs_in()?);
    let failed = one.failed_units()?;
    ensure!(failed.is_empty(), "{failed}");
    Ok(())
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn a_relay_beside_other_mail_on_debian_12() -> anyhow::Result<()> {
    the_servers_own_is_as_it_was("bookworm")
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn a_relay_beside_other_mail_on_debian_13() -> anyhow::Result<()> {
    the_servers_own_is_as_it_was("trixie")
}
