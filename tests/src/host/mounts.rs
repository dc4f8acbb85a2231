//! What is mounted for some programs only.

use anyhow::Context as _;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Gives this thread, and the threads and programs that it starts, a table of mounts of their own. It ends with
/// the last of them.
///
/// # Errors
/// Not root, or it may not be done here.
pub fn of_this_thread() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("getting a table of mounts of our own")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("keeping our mounts to ourselves")
}
