//! A client that asks the testbed's DNS, and no other, on the network where that is.
//!
//! Programs ask whoever `/etc/resolv.conf` names; so this one sees another file there.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, anyhow};
use nix::mount::{MsFlags, mount};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::dns::Dns;
use crate::host::mounts;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Starts a program; `folder` holds the file that it sees.
pub(super) fn spawn(program: &mut Command, folder: &Path, dns: &Dns) -> anyhow::Result<Child> {
    fs::create_dir_all(folder)?;
    let file = folder.join("resolv.conf");
    // Without a port: there is only the usual one.
    fs::write(&file, format!("nameserver {}\n", dns.server.ip()))
        .with_context(|| format!("writing {}", file.display()))?;
    let runtime = Handle::current();
    // What a thread mounts for itself is seen by what it starts, and gone with them.
    let starting = thread::scope(|scope| {
        let start = || {
            let _entered = runtime.enter();
            mounts::of_this_thread()?;
            let none = None::<&str>;
            mount(Some(&file), RESOLV_CONF, none, MsFlags::MS_BIND, none)
                .with_context(|| format!("mounting {RESOLV_CONF}"))?;
            Ok(program.spawn()?)
        };
        let thread = scope.spawn(|| dns.network.enter(start)?);
        thread.join()
    });
    starting.map_err(|_| anyhow!("the thread that starts it panicked"))?
}
