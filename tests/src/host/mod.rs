//! What the testbed needs from the machine it runs on: packages, users, addresses, networks and a folder.

pub mod addresses;
pub mod command;
pub mod dovecot;
pub mod mounts;
pub mod network;
pub mod packages;
pub mod state;
pub mod users;

use anyhow::bail;

/// Makes the machine ready to run relays: packages, asking first unless `yes`, and users.
///
/// # Errors
/// Not root, or something is missing and cannot be had.
pub async fn prepare(yes: bool) -> anyhow::Result<()> {
    prepare_with(yes, &[]).await
}

/// As [`prepare`], with more packages.
///
/// # Errors
/// As [`prepare`].
pub async fn prepare_with(yes: bool, also: &[&'static str]) -> anyhow::Result<()> {
    require_root()?;
    packages::ensure_installed(yes, also).await?;
    users::ensure_exist()
}

/// Checks that the testbed may do what it is about to do.
///
/// # Errors
/// Not root. The message says why root is needed and what is missing from the machine.
pub fn require_root() -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let missing = match packages::missing(&[]) {
        Ok(missing) if missing.is_empty() => "All packages it needs are installed.".to_owned(),
        Ok(missing) => format!("It would also install: {}.", missing.join(" ")),
        Err(error) => format!("{error:#}."),
    };
    bail!(
        "the testbed must run as root: Postfix and Dovecot give up root's rights in favour of users of \
         their own, which only root can do. {missing} Run the same command in a root shell, or under \
         sudo with your PATH (`sudo --preserve-env=PATH cargo testbed …`)"
    )
}
