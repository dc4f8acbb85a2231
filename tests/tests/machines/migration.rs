//! A relay moves to another machine while people write, and no message is lost.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, ensure};
use testbed::machine::{Lan, Machine};

use crate::classic::{AWAY, DOMAIN, lay_out};
use crate::operator::Operator;
use crate::people::Person;

/// What moves it.
const MOVE: [&str; 4] = ["-e", "migrate_from=old", "-e", "migrate_to=new"];

/// Writes to Bob until it is told to stop, and tries again whenever the relay is away, as Delta Chat does.
fn keeps_writing(alice: &Person, bob: &str, stop: &AtomicBool) -> Vec<String> {
    let mut taken = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        taken.extend(alice.writes_to(bob));
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    taken
}

fn queue(machine: &Machine) -> anyhow::Result<String> {
    machine.run_ok(&["postqueue", "-j"])
}

/// The public half of the key that a machine signs mail with.
fn dkim_key(machine: &Machine) -> anyhow::Result<String> {
    let key = "/etc/dkimkeys/opendkim.private";
    machine.run_ok(&["openssl", "rsa", "-in", key, "-pubout"])
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn a_relay_moves_to_another_machine_while_people_write() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    // Classic relays are on Debian 12; whoever moves takes the newest.
    let old = lan.machine_with("old", lan.ip(11), "bookworm")?;
    let new = lan.machine_with("new", lan.ip(12), "trixie")?;
    lay_out(&lan, &old)?;
    let operator = Operator::new(&lan, &[&old, &new], DOMAIN)?;
    let person = |machine, address, password| Person {
        lan: &lan,
        machine,
        address,
        password,
    };
    let (alices, bobs) = ("alice0000@old.test", "bob000000@old.test");
    let alice = person(&old, alices, "alice's password");
    let bob = person(&old, bobs, "bob's password");
    ensure!(alice.logs_in()? && bob.logs_in()?);
    bob.sets_token("token-of-bob")?;
    let mut ids = vec![alice.writes_to(bobs)?];
    alice.writes_to(AWAY)?;
    let record = dkim_key(&old)?;

    let stop = AtomicBool::new(false);
    let (moved, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| keeps_writing(&alice, bobs, &stop));
        let moved = operator.plays("playbook-migrate.yml", &MOVE);
        // She still writes to the old address, where the other machine answers now.
        let after = moved.is_ok().then(|| alice.writes_to(bobs));
        stop.store(true, Ordering::Relaxed);
        let mut written = writer.join().unwrap_or_default();
        written.extend(after.transpose().ok().flatten());
        (moved, written)
    });
    moved?;
    ensure!(written.len() > 1, "nobody wrote meanwhile");
    ids.extend(written);

    for machine in [&new, &old] {
        let bob = person(machine, bobs, "bob's password");
        bob.has_exactly(&ids)?;
        assert_eq!(bob.tokens()?, "token-of-bob");
        ensure!(person(machine, alices, "alice's password").logs_in()?);
        ensure!(!person(machine, alices, "somebody's guess").logs_in()?);
    }
    let keys = dkim_key(&new)?;
    assert_eq!(keys, record);
    // What was on its way goes on from the new machine, and the old one has no part in it.
    let waiting = queue(&new)?;
    assert_eq!(waiting.matches(AWAY).count(), 1, "{waiting}");
    for unit in ["postfix", "dovecot", "doveauth", "filtermail"] {
        let state = old.run(&["systemctl", "is-enabled", unit])?;
        ensure!(!state.status.success(), "{unit} starts on the old machine");
    }
    let newcomer = person(&new, "newcomer0@old.test", "newcomer's password");
    ensure!(newcomer.logs_in()?, "nobody can register any more");

    // Again: nothing is copied over what is new.
    ids.push(newcomer.writes_to(bobs)?);
    operator.plays("playbook-migrate.yml", &MOVE)?;
    old.reboot()?;
    new.reboot()?;
    let bob = person(&old, bobs, "bob's password");
    let messages = bob.has_exactly(&ids)?;
    messages.last().context("a message")?;
    let waiting = queue(&new)?;
    assert_eq!(waiting.matches(AWAY).count(), 1, "{waiting}");
    Ok(())
}
