//! Where the trees are: a file system of their own, in a file on the disk.
//!
//! It is ext4 as Debian makes and mounts it. So it does not matter how the machine's own is mounted,
//! whether it has a journal, and how old it is; and however many files there are, it is gone at once.
//! Only we see it mounted. The mount ends with the thread that made it and with what that has
//! started, and nobody has to clear it up.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::mount::{MntFlags, umount2};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::statvfs::statvfs;

use crate::host::mounts;
use crate::host::state::{StateDir, default_root};
use crate::host::users::Owner;

/// Its name among the testbeds: if we cannot remove the file, the next one of them does.
const NAME: &str = "bench-expiry";

/// How large the file system is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// In bytes.
    pub(super) space: u64,
    /// Files and folders that it has room for.
    pub(super) inodes: u64,
}

/// A file system, gone when this is dropped.
#[derive(Debug)]
pub(super) struct Ground {
    owner: Owner,
    // Before the folder that holds its file.
    mount: Mount,
    state: StateDir,
}

impl Ground {
    /// Makes the file system. From now on this thread, and the threads and programs that it starts,
    /// have a table of mounts of their own.
    ///
    /// # Errors
    /// The file would be in memory, or there is not enough room on the disk; nothing may be mounted
    /// here; or the bench runs already.
    pub(super) fn new(owner: Owner, room: Room) -> anyhow::Result<Self> {
        let state = StateDir::create(&default_root(), NAME)?;
        check(state.path(), room.space)?;
        let image = state.path().join("image");
        File::create(&image)?.set_len(room.space)?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m0", "-N", &room.inodes.to_string()])
            // Nothing is left for the kernel to do later, while something is measured.
            .args(["-E", "lazy_itable_init=0,lazy_journal_init=0"])
            .arg(&image))?;
        let mount = Mount::new(&image, state.path().join("mount"))?;
        Ok(Self {
            owner,
            mount,
            state,
        })
    }

    /// Makes a folder in the file system, which belongs to the owner of the mailboxes.
    ///
    /// # Errors
    /// It is there already, or nothing can be written.
    pub(super) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.mount.0.join(name);
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        self.owner.own(&path)?;
        Ok(path)
    }

    /// The path of a file outside of the file system, which belongs to us.
    pub(super) fn outside(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }
}

/// Where a file system is mounted.
#[derive(Debug)]
struct Mount(PathBuf);

impl Mount {
    fn new(image: &Path, at: PathBuf) -> anyhow::Result<Self> {
        mounts::of_this_thread()?;
        fs::create_dir(&at)?;
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(image)
            .arg(&at))?;
        let this = Self(at);
        this.read_and_write_directly(image)?;
        Ok(this)
    }

    /// Else there is a second cache below the one of the file system.
    fn read_and_write_directly(&self, image: &Path) -> anyhow::Result<()> {
        let list = Command::new("losetup")
            .args(["--noheadings", "--output", "NAME", "--associated"])
            .arg(image)
            .output()
            .context("running losetup")?;
        let device = String::from_utf8(list.stdout)?;
        run(Command::new("losetup").args(["--direct-io=on", device.trim()]))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Also when a program that was interrupted is not gone yet.
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("warning: {} stays mounted: {error}", self.0.display());
        }
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("running {name}"))?;
    ensure!(
        output.status.success(),
        "a file system of our own cannot be had: {name}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn check(folder: &Path, space: u64) -> anyhow::Result<()> {
    let shown = folder.display();
    let kind = statfs(folder).with_context(|| format!("looking at {shown}"))?;
    ensure!(
        kind.filesystem_type() != TMPFS_MAGIC,
        "{shown} is in memory; set TMPDIR to a folder on a disk"
    );
    let there = statvfs(folder).with_context(|| format!("looking at {shown}"))?;
    let available = there.blocks_available() * there.fragment_size();
    ensure!(
        available >= space,
        "{shown} has {} MiB left, and {} MiB are needed; set TMPDIR to a folder on another disk",
        available >> 20,
        space >> 20
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_and_memory_are_refused() {
        let complaint = |folder: &str, space| {
            let checked = check(Path::new(folder), space);
            format!("{:#}", checked.unwrap_err())
        };
        let disk = env!("CARGO_MANIFEST_DIR");
        let space = complaint(disk, u64::MAX);
        assert!(space.contains("MiB are needed"), "{space}");
        let memory = complaint("/dev/shm", 1);
        assert!(memory.contains("is in memory"), "{memory}");
        check(Path::new(disk), 1).unwrap();
    }
}
