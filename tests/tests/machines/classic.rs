//! A machine laid out as a classic relay: real Postfix, Dovecot, OpenDKIM and nginx, configured in the way of those
//! relays in words of our own, and stand-ins for their daemons.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use testbed::authority::Certificate;
use testbed::dns::Data;
use testbed::machine::{Lan, Machine};

/// Laying it out fetches Postfix, Dovecot, nginx and OpenDKIM.
const LAYING_OUT: Duration = Duration::from_secs(600);

const STAND_INS: &str = include_str!("switching/stand_ins.py");
const SET_UP: &str = include_str!("switching/set-up.sh");

/// The domain, which is the machine's name as well.
pub(crate) const DOMAIN: &str = "old.test";
/// Where its mailboxes are.
pub(crate) const MAILBOXES: &str = "/home/vmail/mail/old.test";
/// Where acmetool would have put its certificate.
pub(crate) const CERTIFICATE: &str = "/var/lib/acme/live/old.test";
/// An address at a relay that does not answer.
pub(crate) const AWAY: &str = "somebody@away.test";

/// Makes a classic relay of the machine `old`.
pub(crate) fn lay_out(lan: &Lan, old: &Machine) -> anyhow::Result<()> {
    lan.dns()
        .set(DOMAIN, 60, &[Data::Mx(10, DOMAIN.to_owned())])?;
    // Nobody is there.
    lan.dns().set("away.test", 60, &[Data::A(lan.ip(99))])?;
    let folder = tempfile::tempdir()?;
    let [chain, key] = ["fullchain", "privkey"].map(|name| folder.path().join(name));
    let names = vec![DOMAIN.to_owned()];
    lan.authority()
        .write(Certificate::Right, names, &chain, &key)?;
    for (file, mode) in [(&chain, 0o644), (&key, 0o600)] {
        let name = file.file_name().context("a name")?.to_string_lossy();
        let path = format!("{CERTIFICATE}/{name}");
        old.write_file(&path, &std::fs::read(file)?, mode)?;
    }
    old.write_file("/srv/stand_ins.py", STAND_INS.as_bytes(), 0o755)?;
    old.write_file("/srv/set-up.sh", SET_UP.as_bytes(), 0o755)?;
    let done = old.run_for(LAYING_OUT, &["/srv/set-up.sh"])?;
    ensure!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}
