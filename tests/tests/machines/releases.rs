//! The playbook makes a relay of each Debian that it knows, and they send mail to each other.

use anyhow::ensure;
use serde_json::json;
use testbed::machine::{Machine, PATIENCE};
use testbed::package::{Compression, build};

use crate::people::Person;
use crate::relays::{NAMED, Relays, UNDERSCORE, by_https};

#[test]
fn one_machine_of_each_debian_federates_with_the_other() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let package = build("", Compression::Fast, folder.path())?;
    let relays = Relays::boot(&json!({ "base_upgrades": false }))?;
    relays.play(&package, &[])?;
    relays.publish()?;
    mail_goes_both_ways(&relays).map_err(|error| relays.told(error))
}

fn mail_goes_both_ways(relays: &Relays) -> anyhow::Result<()> {
    let addresses = [
        format!("alice0000@{NAMED}"),
        format!("bob000000@{UNDERSCORE}"),
    ];
    let machines = [&relays.one, &relays.two];
    let person = |index: usize| Person {
        lan: &relays.lan,
        machine: machines[index],
        address: &addresses[index],
        password: "a long password",
    };
    let (alice, bob) = (person(0), person(1));
    ensure!(alice.logs_in()? && bob.logs_in()?);
    let to_bob = alice.writes_to(bob.address)?;
    bob.has_exactly(&[to_bob])?;
    let to_alice = bob.writes_to(alice.address)?;
    alice.has_exactly(&[to_alice])?;
    by_https(&relays.one, UNDERSCORE)?;
    by_https(&relays.two, NAMED)?;
    for machine in machines {
        // As after a new certificate.
        let before = reloads(machine)?;
        machine.run_ok(&["/etc/chatmail/tls/reload"])?;
        machine.wait_for("Postfix hears of it", PATIENCE, |machine| {
            Ok(reloads(machine)? > before)
        })?;
        let failed = machine.failed_units()?;
        ensure!(failed.is_empty(), "{failed}");
    }
    Ok(())
}

/// How often Postfix has said that it reads its configuration again.
fn reloads(machine: &Machine) -> anyhow::Result<usize> {
    Ok(machine.journal()?.matches("reload -- version").count())
}
